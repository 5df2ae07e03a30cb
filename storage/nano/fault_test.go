package nano_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage"
	"plimsoll/storage/nano"
	"plimsoll/storage/storagetest"
)

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

// TestStoreDown: every method says that the database is unavailable, within its deadline, and the process lives on.
func TestStoreDown(t *testing.T) {
	t.Run("bolt is closed", func(t *testing.T) {
		db := newBolt(t)
		ok(t, db.Close())
		storeDown(t, nano.New(db))
	})
	t.Run("redis is killed, and comes back", func(t *testing.T) {
		server := storagetest.RedisServer(t, storagetest.AOF...)
		s := nano.New(openRedis(t, server.URL()))
		enrol(t, s, mac)
		server.Kill()
		storeDown(t, s)
		server.Restart()
		storagetest.Await(t, "the store takes commands again", func() error {
			return s.Enqueue(context.Background(), mac, command("u", "DeviceInformation"))
		})
		if got := next(t, s, mac, false); got != "u" {
			t.Errorf("command: got %q, want u", got)
		}
	})
	t.Run("redis hangs", func(t *testing.T) {
		server := storagetest.RedisServer(t)
		s := nano.New(openRedis(t, server.URL()))
		server.Freeze()
		storeDown(t, s)
		server.Thaw()
	})
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
		"Commands":                 third(s.Commands(ctx, mac, "", 1)),
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

// TestLostAnswers: a call whose commit is done and whose answer is lost is repeated by the Mac or by the caller, and
// then all is as if it had been called once.
func TestLostAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		f := storagetest.Faulty(db)
		s := nano.New(f)
		enrol(t, s, mac)
		lose := func(call func() error) {
			t.Helper()
			f.Set(storagetest.Fault{LoseAnswer: true})
			wantErr(t, call(), storage.ErrUnavailable)
			f.Set(storagetest.Fault{})
			ok(t, call())
		}
		lose(func() error { return s.Enqueue(ctx, mac, command("u", "DeviceInformation")) })
		lose(func() error { return s.EnqueueDeclarative(ctx, mac, "t", []byte("raw")) })
		if got := queued(t, s, mac); got != "u t" {
			t.Errorf("queued: got %q, want u t", got)
		}
		lose(func() error { return s.StoreCommandReport(request(mac), answer("u", "Acknowledged")) })
		results, err := answered(ctx, s, mac, 10)
		if len(results) != 1 || err != nil {
			t.Errorf("%d results, %v, want 1", len(results), err)
		}
		if got := queued(t, s, mac); got != "t" {
			t.Errorf("queued: got %q, want t", got)
		}
		lose(func() error { return s.AssociateCertHash(request(mac), hash2) })
		lose(func() error { return s.Forget(ctx, mac) })
		if got := keys(t, db, storage.MacPartition(mac)); got != nil {
			t.Errorf("the Mac's partition still holds %v", got)
		}
	})
}

// TestDamagedValue: what cannot be read is said, with its key, and not taken for something else.
func TestDamagedValue(t *testing.T) {
	db := newBolt(t)
	s := nano.New(db)
	ctx := context.Background()
	enrol(t, s, mac)
	ok(t, db.Update(ctx, storage.MacPartition(mac), func(tx storage.Tx) error {
		for _, key := range []string{"n/cert", "n/e", "n/q/-"} {
			tx.Set(key, []byte("{"))
		}
		return nil
	}))
	ok(t, db.Update(ctx, storage.MacPartition(other), func(tx storage.Tx) error {
		tx.Set("n/r/1793610001000/u", []byte("{"))
		return nil
	}))
	for key, err := range map[string]error{
		"n/cert":              second(s.IsCertHashAssociated(request(mac), hash1)),
		"n/e":                 s.StoreTokenUpdate(request(mac), tokenUpdate("m")),
		"n/q/-":               second(s.RetrieveNextCommand(request(mac), false)),
		"n/r/1793610001000/u": third(s.Commands(ctx, other, "", 1)),
	} {
		if err == nil || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), key+" is damaged") {
			t.Errorf("%s: got %v", key, err)
		}
	}
	ok(t, s.StoreAuthenticate(request(mac), &mdm.Authenticate{})) // a new life repairs what belongs to the old one
	ok(t, s.StoreTokenUpdate(request(mac), tokenUpdate("m")))
	if got := next(t, s, mac, false); got != "" {
		t.Errorf("command: got %q, want none", got)
	}
}
