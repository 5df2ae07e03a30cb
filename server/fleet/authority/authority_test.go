package authority

import (
	"crypto/x509"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

// stores opens each kind of database, shared by as many replicas as ask for it.
var stores = map[string]func(t *testing.T) storage.DB{
	"bolt": func(t *testing.T) storage.DB {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
		return opened(t, db, err)
	},
	"redis": func(t *testing.T) storage.DB {
		db, err := redis.Open(t.Context(), storagetest.RedisServer(t).URL())
		return opened(t, db, err)
	},
}

func opened(t *testing.T, db storage.DB, err error) storage.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// replica is one process's Authorities. Nothing runs by itself: it learns what others did only when it looks.
func replica(t *testing.T, db storage.DB, change ...func(*Options)) *Authorities {
	t.Helper()
	o := Options{Store: storage.New(db), Now: func() time.Time { return today }}
	for _, f := range change {
		f(&o)
	}
	a := New(o)
	must(t, a.Load(t.Context()))
	return a
}

func supplied(t *testing.T, b []byte) func(*Options) {
	return func(o *Options) { o.Supplied = parsed(t, b) }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fingerprints(s *Set) (all []string) {
	for _, ca := range s.Trusted {
		all = append(all, ca.Fingerprint)
	}
	return all
}

// keep puts a CA into a store as an earlier start has.
func keep(t *testing.T, db storage.DB, b []byte, at time.Time) *CA {
	t.Helper()
	ca := parsed(t, b)
	must(t, storage.New(db).UpdateCAs(t.Context(), func(storage.CAs) ([]storage.CA, []string, error) {
		return []storage.CA{{Fingerprint: ca.Fingerprint, PEM: b, CreatedAt: at}}, nil, nil
	}))
	return ca
}

// Replicas that start at the same moment on an empty store have one CA.
func TestOneCAForAll(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			all := make([]*Authorities, 3)
			var started sync.WaitGroup
			for i := range all {
				started.Go(func() {
					all[i] = New(Options{Store: storage.New(db), Now: func() time.Time { return today }})
					if err := all[i].Load(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			started.Wait()
			for _, a := range all {
				set := a.Current()
				if len(set.Trusted) != 1 || !set.Issuing.Issuing || set.Issuing.Key == nil || set.Issuing.Fingerprint != all[0].Current().Issuing.Fingerprint {
					t.Errorf("trusted are %v, want the one of the first replica: %v", fingerprints(set), fingerprints(all[0].Current()))
				}
				if !set.Issuing.CreatedAt.Equal(today) || a.External() || len(a.Old()) > 0 {
					t.Errorf("the CA: %+v, old %v", set.Issuing, a.Old())
				}
			}
		})
	}
}

// A rotation reaches another replica as soon as it looks; the old CA opens what was encrypted for it until it is retired, and is
// trusted until then on both.
func TestRotate(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			first := keep(t, db, one(), today)
			a, b := replica(t, db), replica(t, db)
			before := b.Current()
			must(t, a.Rotate(t.Context()))
			issuing := a.Current().Issuing
			if issuing.Fingerprint == first.Fingerprint || b.Current() != before {
				t.Fatalf("issuing is %s, and the other replica has learnt of it without a look: %v", issuing.ID, b.Current() != before)
			}
			must(t, b.Look(t.Context()))
			for who, set := range map[string]*Set{"the one that rotated": a.Current(), "the other": b.Current()} {
				if want := []string{issuing.Fingerprint, first.Fingerprint}; !slices.Equal(fingerprints(set), want) || set.Issuing.Fingerprint != want[0] {
					t.Errorf("%s trusts %v, want %v", who, fingerprints(set), want)
				}
				if old := set.ByID(first.ID); old == nil || old.Issuing || !old.Key.Equal(first.Key) {
					t.Errorf("%s has the old CA as %+v", who, old)
				}
			}
			if old := b.Old(); len(old) != 1 || old[0].ID != first.ID {
				t.Fatalf("old are %+v", old)
			}
			must(t, b.Retire(t.Context(), b.Old()))
			must(t, b.Retire(t.Context(), nil))
			must(t, a.Refresh(t.Context()))
			if got := fingerprints(a.Current()); !slices.Equal(got, []string{issuing.Fingerprint}) || a.Current().ByID(first.ID) != nil || len(a.Old()) > 0 {
				t.Errorf("after the old one was retired on the other replica: %v", got)
			}
		})
	}
}

// The newest CA issues, although two were made within a second or a clock went back.
func TestTheNewestIssues(t *testing.T) {
	db := stores["bolt"](t)
	keep(t, db, one(), today.Add(time.Hour)) // made by a replica whose clock was ahead
	a := replica(t, db)
	must(t, a.Rotate(t.Context()))
	if at := a.Current().Issuing.CreatedAt; len(a.Current().Trusted) != 2 || !at.After(today.Add(time.Hour)) {
		t.Errorf("the CA that issues was made %v", at)
	}
}

// A store of before CAs had fingerprints keeps its CA.
func TestLegacyCA(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			store := storage.New(db)
			_, err := store.Secret(t.Context(), "device-ca", func() ([]byte, error) { return one(), nil })
			must(t, err)
			for range 2 {
				set := replica(t, db).Current()
				if want := parsed(t, one()).Fingerprint; len(set.Trusted) != 1 || set.Issuing.Fingerprint != want || !set.Issuing.CreatedAt.Equal(today) {
					t.Errorf("trusted are %v since %v, want %s", fingerprints(set), set.Issuing.CreatedAt, want)
				}
			}
			if kept, err := store.CAs(t.Context()); err != nil || kept.Legacy != nil || len(kept.All) != 1 {
				t.Errorf("the store has %d CAs and a legacy one: %v, %v", len(kept.All), kept.Legacy != nil, err)
			}
		})
	}
}

// A supplied CA issues; the one before stays trusted, and issues again when none is supplied any more. Nobody rotates it here.
func TestSupplied(t *testing.T) {
	db := stores["bolt"](t)
	made := keep(t, db, one(), today)
	external := parsed(t, two())
	a := replica(t, db, supplied(t, two()))
	set := a.Current()
	if !a.External() || set.Issuing.Fingerprint != external.Fingerprint || set.Issuing.Key == nil || set.ByID(made.ID) == nil {
		t.Errorf("issuing is %s; trusted are %v", set.Issuing.ID, fingerprints(set))
	}
	var refused *answer.Error
	if err := a.Rotate(t.Context()); !errors.As(err, &refused) || refused.Code != "external_ca" || !errors.Is(err, answer.ErrConflict) {
		t.Errorf("rotating a CA that is supplied: %v", err)
	}
	if len(a.Old()) != 0 {
		t.Errorf("the CA that issues without the supplied one would be retired: %+v", a.Old())
	}
	without := replica(t, db)
	if set := without.Current(); without.External() || set.Issuing.Fingerprint != made.Fingerprint || set.ByID(external.ID) == nil || set.ByID(external.ID).Key != nil {
		t.Errorf("without it, issuing is %s; trusted are %v", set.Issuing.ID, fingerprints(set))
	}
	if old := without.Old(); len(old) != 1 || old[0].Fingerprint != external.Fingerprint {
		t.Errorf("without it, old are %+v", old)
	}
}

// One supplied CA after another: the first is trusted although its key is nowhere in the store.
func TestAnotherSupplied(t *testing.T) {
	db := stores["redis"](t)
	first, second := parsed(t, one()), parsed(t, two())
	replica(t, db, supplied(t, one()))
	a := replica(t, db, supplied(t, two()), func(o *Options) { o.Further = []*x509.Certificate{first.Cert, second.Cert} })
	if got := fingerprints(a.Current()); !slices.Equal(got, []string{second.Fingerprint, first.Fingerprint}) || len(a.Old()) != 1 {
		t.Errorf("trusted are %v, each once; old %+v", got, a.Old())
	}
	kept, err := storage.New(db).CAs(t.Context())
	must(t, err)
	for _, ca := range kept.All {
		if _, key, err := decode(ca.PEM); err != nil || key != nil {
			t.Errorf("the store holds the key of a CA that is supplied, %v", err)
		}
	}
}

// Further CAs are trusted and are never old.
func TestFurther(t *testing.T) {
	db := stores["bolt"](t)
	keep(t, db, one(), today)
	further := parsed(t, two())
	a := replica(t, db, func(o *Options) { o.Further = []*x509.Certificate{further.Cert} })
	if ca := a.Current().ByID(further.ID); ca == nil || !ca.Further || ca.Issuing || ca.Key != nil || len(a.Old()) > 0 {
		t.Errorf("the further CA: %+v; old %v", ca, a.Old())
	}
}

// A store that was emptied under a replica gets its CAs back, whoever of two is first; a replica that starts afterwards has them.
func TestEmptiedStore(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			first := keep(t, db, one(), today)
			a, b := replica(t, db), replica(t, db)
			must(t, db.Drop(t.Context(), storage.SecretsPartition))
			must(t, a.Reload(t.Context()))
			must(t, b.Reload(t.Context()))
			for _, x := range []*Authorities{a, b, replica(t, db)} {
				if set := x.Current(); len(set.Trusted) != 1 || set.Issuing.Fingerprint != first.Fingerprint {
					t.Errorf("trusted are %v, want %s", fingerprints(set), first.Fingerprint)
				}
			}
		})
	}
}

// What cannot be read is an error at the start; a store that is away is one for whoever looks, and changes nothing.
func TestStoreAway(t *testing.T) {
	db := stores["redis"](t)
	keep(t, db, one(), today)
	faulty := storagetest.Faulty(db)
	a := replica(t, faulty)
	set := a.Current()
	faulty.Set(storagetest.Fault{Down: true})
	for name, err := range map[string]error{
		"look": a.Look(t.Context()), "rotate": a.Rotate(t.Context()), "retire": a.Retire(t.Context(), set.Trusted), "load": a.Load(t.Context()),
	} {
		if !errors.Is(err, answer.ErrUnavailable) || a.Current() != set {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, storage.New(db).UpdateCAs(t.Context(), func(storage.CAs) ([]storage.CA, []string, error) {
		return []storage.CA{{Fingerprint: "ab12", PEM: []byte("nothing")}}, nil, nil
	}))
	if err := New(Options{Store: storage.New(db), Now: time.Now}).Load(t.Context()); err == nil {
		t.Error("a CA that is none was taken")
	}
}

// Where nobody else can have the store open there is nothing to look for.
func TestAlone(t *testing.T) {
	db := stores["bolt"](t)
	keep(t, db, one(), today)
	faulty := storagetest.Faulty(db)
	a := replica(t, faulty, func(o *Options) { o.Alone = true })
	faulty.Set(storagetest.Fault{Down: true})
	must(t, a.Look(t.Context()))
	must(t, a.Refresh(t.Context()))
	faulty.Set(storagetest.Fault{})
	must(t, a.Rotate(t.Context()))
	if len(a.Current().Trusted) != 2 {
		t.Errorf("trusted are %v", fingerprints(a.Current()))
	}
}
