package nano_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service/nanomdm"
	nanostorage "github.com/micromdm/nanomdm/storage"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

// pushable lists those of ids that a push can be sent to.
func pushable(t *testing.T, s *nano.Store, ids ...string) []string {
	t.Helper()
	found, err := s.RetrievePushInfo(context.Background(), ids)
	ok(t, err)
	var out []string
	for _, id := range ids {
		if found[id] != nil {
			out = append(out, id)
		}
	}
	return out
}

// TestUserChannelsAreDisabled: through NanoMDM's core, since that decides which methods a message calls.
func TestUserChannelsAreDisabled(t *testing.T) {
	users := []string{mac + ":alice", mac + ":bob/1%2F", mac + ":alice@example.com"}
	enrollment := mdm.Enrollment{UDID: mac}
	for _, tc := range []struct {
		name string
		send func(*nanomdm.Service) error
	}{
		{"Authenticate", func(svc *nanomdm.Service) error {
			return svc.Authenticate(request(mac), &mdm.Authenticate{Enrollment: enrollment})
		}},
		{"CheckOut", func(svc *nanomdm.Service) error {
			return svc.CheckOut(request(mac), &mdm.CheckOut{Enrollment: enrollment})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, db storage.DB) {
				s := nano.New(db)
				all := append([]string{mac, other}, users...)
				enrol(t, s, all...)
				if got := pushable(t, s, all...); !slices.Equal(got, all) {
					t.Fatalf("before: %v can be pushed to, want %v", got, all)
				}
				ok(t, tc.send(nanomdm.New(s)))
				if got, want := pushable(t, s, all...), []string{other}; !slices.Equal(got, want) {
					t.Errorf("after: %v can be pushed to, want %v", got, want)
				}
				for _, id := range append([]string{mac}, users...) {
					if n, err := s.RetrieveTokenUpdateTally(context.Background(), id); n != 0 || err != nil {
						t.Errorf("tally of %s: got %d, %v, want 0", id, n, err)
					}
				}
				enrol(t, s, mac, users[1])
				if got, want := pushable(t, s, all...), []string{mac, other, users[1]}; !slices.Equal(got, want) {
					t.Errorf("enrolled again: %v can be pushed to, want %v", got, want)
				}
			})
		})
	}
}

func TestDisableOfOneUser(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		enrol(t, s, mac, user, mac+":bob")
		ok(t, s.Disable(request(user)))
		if got, want := pushable(t, s, mac, user, mac+":bob"), []string{mac, mac + ":bob"}; !slices.Equal(got, want) {
			t.Errorf("%v can be pushed to, want %v", got, want)
		}
		ok(t, s.Disable(request(mac+":stranger")))
		ok(t, s.Disable(request(other)))
	})
}

func TestUserAuthenticate(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		enrol(t, s, mac)
		ok(t, s.StoreUserAuthenticate(request(user), &mdm.UserAuthenticate{}))
		if got := pushable(t, s, user); got != nil {
			t.Errorf("a user can be pushed to before the TokenUpdate")
		}
		ok(t, s.StoreTokenUpdate(request(user), tokenUpdate("m")))
		if got := pushable(t, s, user); got == nil {
			t.Errorf("a user cannot be pushed to after the TokenUpdate")
		}
		ok(t, s.StoreUserAuthenticate(request(user), &mdm.UserAuthenticate{DigestResponse: "d"}))
		if got := pushable(t, s, user); got != nil {
			t.Errorf("a user who authenticates again can be pushed to before the TokenUpdate")
		}
	})
}

func TestTokens(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		partition := storage.MacPartition(mac)
		bootstrap := func() []byte {
			t.Helper()
			got, err := s.RetrieveBootstrapToken(request(mac), nil)
			ok(t, err)
			if got == nil {
				return nil
			}
			return got.BootstrapToken
		}
		escrow := func(token string) {
			t.Helper()
			ok(t, s.StoreBootstrapToken(request(mac), &mdm.SetBootstrapToken{BootstrapToken: mdm.BootstrapToken{BootstrapToken: []byte(token)}}))
		}
		enrol(t, s, mac)
		if got := bootstrap(); got != nil {
			t.Errorf("bootstrap token before it was escrowed: %q", got)
		}
		escrow("one")
		escrow("two")
		if got := bootstrap(); string(got) != "two" {
			t.Errorf("bootstrap token: got %q, want two", got)
		}
		escrow("")
		if got := bootstrap(); got != nil {
			t.Errorf("bootstrap token after the Mac took it back: %q", got)
		}
		escrow("three")

		with := tokenUpdate("m")
		with.UnlockToken = []byte("unlock")
		ok(t, s.StoreTokenUpdate(request(mac), with))
		ok(t, s.StoreTokenUpdate(request(mac), tokenUpdate("m"))) // Apple: a later one may lack it
		if got := get(t, db, partition, "n/k"); got != "unlock" {
			t.Errorf("unlock token: got %q, want unlock", got)
		}
		if n, err := s.RetrieveTokenUpdateTally(context.Background(), mac); n != 3 || err != nil {
			t.Errorf("tally: got %d, %v, want 3", n, err)
		}

		enrol(t, s, mac)
		if got := bootstrap(); got != nil {
			t.Errorf("bootstrap token of the life before: %q", got)
		}
		if got := get(t, db, partition, "n/k"); got != "" {
			t.Errorf("unlock token of the life before: %q", got)
		}
	})
}

// TestRecord holds what an operator sees in the database.
func TestRecord(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		c := newClock()
		s := nano.New(db, nano.WithClock(c.now))
		ok(t, s.StoreAuthenticate(request(mac), &mdm.Authenticate{SerialNumber: "C02ABC"}))
		if got, want := get(t, db, storage.MacPartition(mac), "n/e"),
			`{"type":"Device","enabled":false,"serial":"C02ABC","authenticated_at":"2026-11-02T09:00:00Z"}`; got != want {
			t.Errorf("after Authenticate:\n got %s\nwant %s", got, want)
		}
		c.add(1e9)
		ok(t, s.StoreTokenUpdate(request(mac), tokenUpdate("magic")))
		c.add(1e9)
		ok(t, s.StoreTokenUpdate(request(mac), tokenUpdate("magic")))
		if got, want := get(t, db, storage.MacPartition(mac), "n/e"),
			`{"type":"Device","enabled":true,"tally":2,"serial":"C02ABC","topic":"`+topic+`","magic":"magic","token":"AQID",`+
				`"authenticated_at":"2026-11-02T09:00:00Z","enrolled_at":"2026-11-02T09:00:01Z","token_at":"2026-11-02T09:00:02Z"}`; got != want {
			t.Errorf("after two TokenUpdates:\n got %s\nwant %s", got, want)
		}
		ok(t, s.StoreTokenUpdate(request(user), tokenUpdate("magic")))
		want := []string{"n/e", "n/e:" + strings.TrimPrefix(user, mac+":")}
		if diff := cmp.Diff(want, keys(t, db, storage.MacPartition(mac))); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	})
}

func TestUnknownEnrolment(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		ctx := context.Background()
		cmd := command("u1", "DeviceInformation")
		for name, err := range map[string]error{
			"TokenUpdate":              s.StoreTokenUpdate(request(mac), tokenUpdate("m")),
			"TokenUpdate of a user":    s.StoreTokenUpdate(request(user), tokenUpdate("m")),
			"UserAuthenticate":         s.StoreUserAuthenticate(request(user), &mdm.UserAuthenticate{}),
			"SetBootstrapToken":        s.StoreBootstrapToken(request(mac), &mdm.SetBootstrapToken{}),
			"Enqueue":                  s.Enqueue(ctx, mac, cmd),
			"EnqueueDeclarative":       s.EnqueueDeclarative(ctx, mac, "u2", []byte("raw")),
			"push certificate":         second(s.IsPushCertStale(ctx, topic, "1")),
			"push certificate and key": third(s.RetrievePushCert(ctx, topic)),
		} {
			t.Run(name, func(t *testing.T) { wantErr(t, err, storage.ErrNotFound) })
		}
		for name, err := range map[string]error{
			"Disable":                s.Disable(request(mac)),
			"ClearQueue":             s.ClearQueue(request(mac)),
			"Idle":                   s.StoreCommandReport(request(mac), answer("", "Idle")),
			"answer":                 s.StoreCommandReport(request(mac), answer("u1", "Acknowledged")),
			"RetrieveNextCommand":    second(s.RetrieveNextCommand(request(mac), false)),
			"RetrieveBootstrapToken": second(s.RetrieveBootstrapToken(request(mac), nil)),
			"tally":                  second(s.RetrieveTokenUpdateTally(ctx, mac)),
			"RetrievePushInfo":       second(s.RetrievePushInfo(ctx, []string{mac, user, "not/an:id", ""})),
			"Queued":                 second(s.Queued(ctx, mac)),
			"Commands":               third(s.Commands(ctx, mac, "", 10)),
			"SweepResults":           second(s.SweepResults(ctx, mac, newClock().now())),
			"Forget":                 s.Forget(ctx, mac),
		} {
			t.Run(name, func(t *testing.T) { wantErr(t, err, nil) })
		}
		if got := keys(t, db, storage.MacPartition(mac)); got != nil {
			t.Errorf("a Mac that is not enrolled left %v", got)
		}
	})
}

// TestHostileIDs: what a Mac calls itself must not reach another Mac's partition.
func TestHostileIDs(t *testing.T) {
	device := func(id string) *mdm.Request {
		r := mdm.NewRequestWithContext(context.Background(), nil)
		r.EnrollID = &mdm.EnrollID{Type: mdm.Device, ID: id}
		return r
	}
	child := func(id, parent string) *mdm.Request {
		r := device(id)
		r.Type, r.ParentID = mdm.User, parent
		return r
	}
	for _, tc := range []struct {
		name string
		r    *mdm.Request
	}{
		{"no id", mdm.NewRequestWithContext(context.Background(), nil)},
		{"empty", device("")},
		{"a device that looks like a user of another", device(mac + ":x")},
		{"a user of such a device", child(mac+":x:y", mac+":x")},
		{"a user of another device", child(mac+":x", other)},
		{"a slash", device("a/b")},
		{"a hash tag", device("}{")},
		{"a zero byte", device("a\x00")},
		{"too long", device(strings.Repeat("A", 129))},
		{"a user with a line break", child(mac+":a\nb", mac)},
		{"a user that is not text", child(mac+":\xff", mac)},
		{"a user that is too long", child(mac+":"+strings.Repeat("a", 513), mac)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := nano.New(newBolt(t))
			enrol(t, s, mac)
			for name, err := range map[string]error{
				"StoreAuthenticate":      s.StoreAuthenticate(tc.r, &mdm.Authenticate{}),
				"StoreTokenUpdate":       s.StoreTokenUpdate(tc.r, tokenUpdate("m")),
				"StoreUserAuthenticate":  s.StoreUserAuthenticate(tc.r, &mdm.UserAuthenticate{}),
				"StoreBootstrapToken":    s.StoreBootstrapToken(tc.r, &mdm.SetBootstrapToken{}),
				"RetrieveBootstrapToken": second(s.RetrieveBootstrapToken(tc.r, nil)),
				"Disable":                s.Disable(tc.r),
				"ClearQueue":             s.ClearQueue(tc.r),
				"StoreCommandReport":     s.StoreCommandReport(tc.r, answer("u", "Acknowledged")),
				"RetrieveNextCommand":    second(s.RetrieveNextCommand(tc.r, false)),
				"HasCertHash":            second(s.HasCertHash(tc.r, hash1)),
				"EnrollmentHasCertHash":  second(s.EnrollmentHasCertHash(tc.r, hash1)),
				"IsCertHashAssociated":   second(s.IsCertHashAssociated(tc.r, hash1)),
				"AssociateCertHash":      s.AssociateCertHash(tc.r, hash1),
			} {
				if !errors.Is(err, storage.ErrInvalid) {
					t.Errorf("%s: got %v, want %v", name, err, storage.ErrInvalid)
				}
			}
		})
	}
}

func TestDeviceChannelOnly(t *testing.T) {
	s := nano.New(newBolt(t))
	enrol(t, s, mac, user)
	for name, err := range map[string]error{
		"StoreAuthenticate":      s.StoreAuthenticate(request(user), &mdm.Authenticate{}),
		"StoreBootstrapToken":    s.StoreBootstrapToken(request(user), &mdm.SetBootstrapToken{}),
		"RetrieveBootstrapToken": second(s.RetrieveBootstrapToken(request(user), nil)),
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, err, nanostorage.ErrDeviceChannelOnly) })
	}
	wantErr(t, s.StoreUserAuthenticate(request(mac), &mdm.UserAuthenticate{}), storage.ErrInvalid)
}
