package nano_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

func errorsIs(err, want error) bool { return errors.Is(err, want) }

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

// faulty fails the writes to some partitions, as a process that dies before them would.
type faulty struct {
	storage.DB
	fail func(partition string) bool
}

func (f *faulty) Update(ctx context.Context, partition string, fn func(storage.Tx) error) error {
	if f.fail != nil && f.fail(partition) {
		return fmt.Errorf("%w: cut off", storage.ErrUnavailable)
	}
	return f.DB.Update(ctx, partition, fn)
}

// gone is a database that cannot be reached.
type gone struct{ storage.DB }

var errGone = fmt.Errorf("%w: connection refused", storage.ErrUnavailable)

func (gone) View(context.Context, string, func(storage.Reader) error) error { return errGone }
func (gone) Update(context.Context, string, func(storage.Tx) error) error   { return errGone }
func (gone) Collect(context.Context, []string, string) ([][]byte, error)    { return nil, errGone }

// TestStoreDown: every method says that the database is unavailable, and in time.
func TestStoreDown(t *testing.T) {
	storeDown(t, nano.New(gone{}))
}

func storeDown(t *testing.T, s *nano.Store) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	dev, usr := request(mac).WithContext(ctx), request(user).WithContext(ctx)
	cert, key := pushPair(t, topic)
	errs := map[string]error{
		"StoreAuthenticate":        s.StoreAuthenticate(dev, &mdm.Authenticate{}),
		"StoreTokenUpdate":         s.StoreTokenUpdate(dev, tokenUpdate("m")),
		"StoreUserAuthenticate":    s.StoreUserAuthenticate(usr, &mdm.UserAuthenticate{}),
		"Disable":                  s.Disable(dev),
		"StoreBootstrapToken":      s.StoreBootstrapToken(dev, &mdm.SetBootstrapToken{}),
		"RetrieveBootstrapToken":   second(s.RetrieveBootstrapToken(dev, nil)),
		"RetrieveTokenUpdateTally": second(s.RetrieveTokenUpdateTally(ctx, mac)),
		"HasCertHash":              second(s.HasCertHash(dev, hash1)),
		"EnrollmentHasCertHash":    second(s.EnrollmentHasCertHash(dev, hash1)),
		"IsCertHashAssociated":     second(s.IsCertHashAssociated(dev, hash1)),
		"AssociateCertHash":        s.AssociateCertHash(dev, hash1),
		"EnrollmentFromHash":       second(s.EnrollmentFromHash(ctx, hash1)),
		"RetrievePushInfo":         second(s.RetrievePushInfo(ctx, []string{mac, user})),
		"IsPushCertStale":          second(s.IsPushCertStale(ctx, topic, "1")),
		"RetrievePushCert":         third(s.RetrievePushCert(ctx, topic)),
		"StorePushCert":            s.StorePushCert(ctx, cert, key),
		"PushCerts":                second(s.PushCerts(ctx)),
		"StoreCommandReport":       s.StoreCommandReport(dev, answer("u", "Acknowledged")),
		"RetrieveNextCommand":      second(s.RetrieveNextCommand(dev, false)),
		"ClearQueue":               s.ClearQueue(dev),
		"Enqueue":                  s.Enqueue(ctx, mac, command("u", "DeviceInformation")),
		"EnqueueDeclarative":       s.EnqueueDeclarative(ctx, mac, "u", []byte("raw")),
		"Queued":                   second(s.Queued(ctx, mac)),
		"Results":                  second(s.Results(ctx, mac, 1)),
		"SweepResults":             second(s.SweepResults(ctx, mac, time.Unix(0, 0))),
		"Forget":                   s.Forget(ctx, mac),
	}
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprintf("MAC-%d", i)
	}
	byID, err := s.EnqueueCommand(ctx, many, command("u", "DeviceInformation"))
	ok(t, err)
	if len(byID) != len(many) {
		t.Errorf("EnqueueCommand: %d of %d ids have an error", len(byID), len(many))
	}
	for id, err := range byID {
		errs["EnqueueCommand for "+id] = err
	}
	for name, err := range errs {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: got %v, want %v", name, err, storage.ErrUnavailable)
		}
	}
}
