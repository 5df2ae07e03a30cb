package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// fleet is what a test says of the Macs.
type fleet struct {
	counts map[string]int
	known  []string
	owners map[string]string // of identities that were seen; "": nobody's any more
	now    time.Time
	log    bytes.Buffer
}

func (f *fleet) options(o *Options) {
	o.Now = func() time.Time { return f.now }
	o.Log = slog.New(slog.NewTextHandler(&f.log, nil))
	o.Macs = Macs{
		Count: func(time.Time) map[string]int { return f.counts },
		Knows: func(id string) bool { return slices.Contains(f.known, id) },
		DeviceOf: func(_ context.Context, print string) (string, bool, error) {
			owner, seen := f.owners[print]
			return owner, seen, nil
		},
	}
}

// What holds an old CA, and what does not.
func TestRetireUnused(t *testing.T) {
	db := stores["bolt"](t)
	store := storage.New(db)
	old := keep(t, db, one(), today)
	keep(t, db, two(), today.Add(time.Hour))
	issued := func(hash, ca, identity string) {
		must(t, store.AddChallenge(t.Context(), hash, today.Add(90*time.Minute)))
		_, err := store.RedeemChallenge(t.Context(), hash, "request", ca, today)
		must(t, err)
		if identity != "" {
			must(t, store.NoteIssued(t.Context(), hash, identity))
		}
	}
	f := &fleet{now: today.Add(time.Hour)}
	a := replica(t, db, f.options)
	check := func(what string, gone bool) {
		t.Helper()
		must(t, a.RetireUnused(t.Context()))
		if got := a.Current().ByID(old.ID) == nil; got != gone {
			t.Fatalf("%s: the CA is gone: %v", what, got)
		}
	}
	f.counts = map[string]int{old.ID: 1}
	check("a Mac has its identity", false)
	f.counts = map[string]int{"": 1}
	check("a Mac's CA is not known", false)
	f.counts = nil
	issued("another's", "ffffffff", "")
	issued("h1", old.ID, "")
	check("it is not known whether an identity was issued", false)
	must(t, store.NoteIssued(t.Context(), "h1", "id1"))
	must(t, store.NoteIssued(t.Context(), "none", "id1")) // a challenge that was deleted meanwhile
	check("an identity was not shown yet", false)
	f.owners = map[string]string{"id1": "MAC"}
	check("a Mac has shown it on another replica", false)
	f.owners["id1"] = ""
	check("it was replaced or revoked", true)
	if list := a.List(); len(list.CAs) != 1 || !list.CAs[0].Issuing || !strings.Contains(f.log.String(), old.Fingerprint) {
		t.Errorf("left are %+v; log: %s", list, f.log.String())
	}
	check("and once more", true)
}

func TestExpiredCA(t *testing.T) {
	db := stores["bolt"](t)
	old := keep(t, db, one(), today)
	keep(t, db, two(), today.Add(time.Hour))
	f := &fleet{now: old.Cert.NotAfter, counts: map[string]int{old.ID: 5, "": 1}}
	a := replica(t, db, f.options)
	must(t, a.RetireUnused(t.Context()))
	if a.Current().ByID(old.ID) != nil {
		t.Error("a CA that has expired is trusted on")
	}
}

// The list has what each carries; what is only kept for when a supplied CA is taken away is in it while it carries anything.
func TestList(t *testing.T) {
	db := stores["bolt"](t)
	made := keep(t, db, one(), today)
	f := &fleet{now: today, counts: map[string]int{made.ID: 2}}
	a := replica(t, db, f.options, supplied(t, two()))
	list := a.List().CAs
	if len(list) != 2 || !list[0].Issuing || list[0].Devices != 0 || list[1].Fingerprint != made.Fingerprint || list[1].Devices != 2 || list[1].Issuing {
		t.Errorf("the list: %+v", list)
	}
	if want := "CN=Plimsoll device CA,O=Plimsoll"; list[1].Subject != want || !list[1].CreatedAt.Equal(today) || !list[1].ExpiresAt.Equal(made.Cert.NotAfter) {
		t.Errorf("the CA: %+v", list[1])
	}
	f.counts = nil
	if list := a.List().CAs; len(list) != 1 {
		t.Errorf("without Macs: %+v", list)
	}
}

func TestConfirm(t *testing.T) {
	db := stores["bolt"](t)
	made := keep(t, db, one(), today)
	f := &fleet{now: today, counts: map[string]int{made.ID: 546}}
	var asked *answer.Error
	if err := replica(t, db, f.options).Confirm(); !errors.As(err, &asked) || asked.Code != "confirm_required" || !strings.Contains(asked.Text, "546") {
		t.Errorf("asked: %v", err)
	}
	if err := replica(t, db, f.options, supplied(t, two())).Confirm(); !errors.As(err, &asked) || asked.Code != "external_ca" {
		t.Errorf("a CA that is supplied: %v", err)
	}
}

// A start says how many Macs it refuses, and that the CA ends soon; one that is in order says nothing.
func TestWarn(t *testing.T) {
	db := stores["bolt"](t)
	made := keep(t, db, one(), today)
	further := parsed(t, two())
	for name, tt := range map[string]struct {
		counts  map[string]int
		now     time.Time
		further bool
		want    string
	}{
		"in order":                     {map[string]int{made.ID: 3, further.ID: 2, "": 1}, today, true, ""},
		"a CA that is trusted no more": {map[string]int{made.ID: 3, further.ID: 2}, today, false, "macs=2"},
		"a CA that ends soon":          {map[string]int{made.ID: 3}, made.Cert.NotAfter.AddDate(0, -11, 0), false, "ends soon"},
	} {
		f := &fleet{now: tt.now, counts: tt.counts}
		replica(t, db, f.options, func(o *Options) {
			if tt.further {
				o.Further = []*x509.Certificate{further.Cert}
			}
		}).Warn()
		if log := f.log.String(); tt.want == "" && log != "" || !strings.Contains(log, tt.want) {
			t.Errorf("%s: logged %q, want %q", name, log, tt.want)
		}
	}
}

// The loop retires by itself, and ends.
func TestRun(t *testing.T) {
	db := stores["bolt"](t)
	old := keep(t, db, one(), today)
	keep(t, db, two(), today.Add(time.Hour))
	f := &fleet{now: today}
	a := replica(t, db, f.options)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for a.Current().ByID(old.ID) != nil {
		<-tick.C
	}
	stop()
	<-ended
}
