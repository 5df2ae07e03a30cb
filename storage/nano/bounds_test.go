package nano_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

// TestUserChannelsAreBounded: a Mac can keep no more than 20 channels, and loses them when a life begins or ends.
func TestUserChannelsAreBounded(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		channel := func(n int) string { return fmt.Sprintf("%s:user-%02d", mac, n) }
		channels := func() (n int) {
			for _, key := range keys(t, db, storage.MacPartition(mac)) {
				if strings.HasPrefix(key, "n/e:") {
					n++
				}
			}
			return n
		}
		fill := func() {
			enrol(t, s, mac)
			for n := range 20 {
				ok(t, s.StoreTokenUpdate(request(channel(n)), tokenUpdate("m")))
			}
		}
		fill()
		wantErr(t, s.StoreTokenUpdate(request(channel(20)), tokenUpdate("m")), storage.ErrInvalid)
		wantErr(t, s.StoreUserAuthenticate(request(channel(20)), &mdm.UserAuthenticate{}), storage.ErrInvalid)
		ok(t, s.StoreTokenUpdate(request(channel(7)), tokenUpdate("again")))
		if got := channels(); got != 20 {
			t.Errorf("%d channels are kept, want 20", got)
		}
		ok(t, s.StoreAuthenticate(request(mac), &mdm.Authenticate{}))
		if got := channels(); got != 0 {
			t.Errorf("after Authenticate %d channels are kept, want none", got)
		}
		fill()
		ok(t, s.Disable(request(mac)))
		if got := channels(); got != 0 {
			t.Errorf("after CheckOut %d channels are kept, want none", got)
		}
	})
}

// TestTextsAreBounded: what is longer than any Mac sends is refused, and nothing of it is kept.
func TestTextsAreBounded(t *testing.T) {
	db := newBolt(t)
	s := nano.New(db)
	enrol(t, s, mac)
	long := strings.Repeat("x", 257)
	update := func(change func(*mdm.TokenUpdate)) error {
		m := tokenUpdate("m")
		change(m)
		return s.StoreTokenUpdate(request(mac), m)
	}
	escrow := &mdm.SetBootstrapToken{}
	escrow.BootstrapToken.BootstrapToken = make([]byte, 64<<10+1)
	before := get(t, db, storage.MacPartition(mac), "n/e")
	for name, err := range map[string]error{
		"PushMagic":      update(func(m *mdm.TokenUpdate) { m.PushMagic = long }),
		"Topic":          update(func(m *mdm.TokenUpdate) { m.Topic = long }),
		"Token":          update(func(m *mdm.TokenUpdate) { m.Token = []byte(long) }),
		"UnlockToken":    update(func(m *mdm.TokenUpdate) { m.UnlockToken = make([]byte, 64<<10+1) }),
		"SerialNumber":   s.StoreAuthenticate(request(mac), &mdm.Authenticate{SerialNumber: long}),
		"BootstrapToken": s.StoreBootstrapToken(request(mac), escrow),
	} {
		wantErr(t, err, storage.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error %q does not name it", name, err)
		}
	}
	if got := get(t, db, storage.MacPartition(mac), "n/e"); got != before {
		t.Errorf("the record is %s, was %s", got, before)
	}
}

// TestCheckedOutMacGetsNothing: neither a command that was queued before, nor one that comes later.
func TestCheckedOutMacGetsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		s := nano.New(db)
		enrol(t, s, mac, user)
		ok(t, s.Enqueue(ctx, mac, command("u1", "DeviceInformation")))
		ok(t, s.Enqueue(ctx, user, command("u2", "DeviceInformation")))
		ok(t, s.Disable(request(mac)))
		for _, id := range []string{mac, user} {
			wantErr(t, s.Enqueue(ctx, id, command("u3", "DeviceInformation")), storage.ErrNotFound)
			if got := next(t, s, id, false); got != "" {
				t.Errorf("%s is handed %q", id, got)
			}
		}
		enrol(t, s, mac)
		ok(t, s.Enqueue(ctx, mac, command("u4", "DeviceInformation")))
		if got := next(t, s, mac, false); got != "u4" {
			t.Errorf("enrolled again, the Mac is handed %q, want u4", got)
		}
	})
}
