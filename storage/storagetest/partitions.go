package storagetest

import (
	"fmt"
	"strings"
	"sync"

	"plimsoll/storage"
)

// nastyNames are partitions and keys that must not be confused with each other, nor with what a database adds to them.
var nastyNames = []string{
	"mac", "mac/", "mac/1", "mac/10", "mac/1/", "mac:1", "mac 1", " ", "/", ":", ":k", "{", "}", "{}", "}{", "{mac}", "}mac", "mac}", "mac}:k", "mac:k",
	"mac%", "mac%7D", "%", "%25", "=", "~", "rev", "nonces", "\x00", "\x00\x00", "\x01", "mac\x00", "mac\x001", "mac\x01", "\xff", "\xff\xff", "\xfe\xff",
	"日本語", "Ünïcödé", "u\u0308", "ü", "*", "?", "[a]", "\\", "\n", "\r\n", "\"", "'", strings.Repeat("long", 60),
}

var partitionTests = map[string]func(*suite){
	"none sees another": func(s *suite) {
		parts := make([]string, len(nastyNames))
		for i, name := range nastyNames {
			parts[i] = s.part(name)
			s.update(parts[i], func(tx storage.Tx) error {
				tx.Set("same", []byte("of "+name))
				tx.Set(fmt.Sprint("own", i), []byte(name))
				return nil
			})
		}
		check := func(i int) {
			s.view(parts[i], func(r storage.Reader) error {
				up, err := r.List("", "", 100)
				if err != nil {
					return err
				}
				down, err := r.ListDesc("", "", 100)
				if err != nil {
					return err
				}
				own := fmt.Sprint("own", i)
				if keysOf(up) != own+" same" || keysOf(down) != "same "+own {
					s.Errorf("%q holds %s, backwards %s", nastyNames[i], keysOf(up), keysOf(down))
				}
				return nil
			})
			s.wantValue(parts[i], "same", "of "+nastyNames[i])
			if rev := s.revision(parts[i]); rev != 1 {
				s.Errorf("%q has revision %d, want 1", nastyNames[i], rev)
			}
		}
		for i := range parts {
			check(i)
		}
		vals, err := s.db.Collect(s.Context(), parts, "same")
		if err != nil {
			s.Fatal(err)
		}
		for i, val := range vals {
			if string(val) != "of "+nastyNames[i] {
				s.Errorf("Collect: %q has %s", nastyNames[i], show(val))
			}
		}
		for i := 0; i < len(parts); i += 2 {
			if err := s.db.Drop(s.Context(), parts[i]); err != nil {
				s.Fatal(err)
			}
		}
		for i := 1; i < len(parts); i += 2 {
			check(i)
		}
	},
	"names at both ends": func(s *suite) {
		// Partitions whose names are nothing but nasty: the suite's own prefix must not be what keeps them apart.
		for _, name := range nastyNames {
			p := name + s.unique
			s.set(p, "key", name)
			s.wantValue(p, "key", name)
			if err := s.db.Drop(s.Context(), p); err != nil {
				s.Fatal(err)
			}
			s.wantNone(p, "key")
		}
	},
	"the partition without a name is one": func(s *suite) {
		key := "test/" + s.unique
		s.set("", key, "value")
		s.wantValue("", key, "value")
		s.view("", func(r storage.Reader) error {
			entries, err := r.List(key, "", 10)
			if len(entries) != 1 {
				s.Errorf("%d entries, want 1", len(entries))
			}
			return err
		})
		s.wantNone("%", key)
		s.update("", func(tx storage.Tx) error {
			tx.Delete(key)
			return nil
		})
	},
	"they do not disturb each other": func(s *suite) {
		p, other := s.part("p"), s.part("other")
		runs := 0
		s.update(p, func(tx storage.Tx) error {
			runs++
			if _, err := tx.Get("key"); err != nil {
				return err
			}
			tx.Set("key", []byte("value"))
			return s.elsewhere(func() error {
				return s.db.Update(s.Context(), other, func(tx storage.Tx) error {
					tx.Set("key", []byte("value"))
					return nil
				})
			})
		})
		if runs != 1 {
			s.Errorf("the function ran %d times, want once", runs)
		}
	},
	"drop": func(s *suite) {
		p := s.part("p")
		for _, key := range []string{"a", "b", "c", "\x00", "\xff"} {
			s.set(p, key, strings.Repeat("value ", 1000))
		}
		before := s.revision(p)
		if err := s.db.Drop(s.Context(), p); err != nil {
			s.Fatal(err)
		}
		s.wantNone(p, "a")
		s.view(p, func(r storage.Reader) error {
			entries, err := r.List("", "", 10)
			if len(entries) != 0 {
				s.Errorf("left: %s", keysOf(entries))
			}
			return err
		})
		dropped := s.revision(p)
		if dropped <= before {
			s.Errorf("the revision went from %d to %d", before, dropped)
		}
		s.set(p, "a", "new")
		s.wantValue(p, "a", "new")
		s.wantNone(p, "b")
		if rev := s.revision(p); rev != dropped+1 {
			s.Errorf("revision after drop and commit: %d, want %d", rev, dropped+1)
		}
	},
	"drop of what is not there": func(s *suite) {
		p := s.part("p")
		if err := s.db.Drop(s.Context(), p); err != nil {
			s.Fatal(err)
		}
		if rev := s.revision(p); rev != 1 {
			s.Errorf("revision %d, want 1", rev)
		}
	},
	"an update runs again when the partition was dropped meanwhile": func(s *suite) {
		p := s.part("p")
		s.set(p, "key", "old")
		runs := 0
		s.update(p, func(tx storage.Tx) error {
			runs++
			val, err := tx.Get("key")
			if err != nil {
				return err
			}
			tx.Set("seen", []byte(show(val)))
			if runs == 1 {
				return s.elsewhere(func() error { return s.db.Drop(s.Context(), p) })
			}
			return nil
		})
		s.wantValue(p, "seen", "nothing")
	},
	"drop is atomic": func(s *suite) {
		p := s.part("p")
		const keys = 50
		fill := func(tx storage.Tx) error {
			for i := range keys {
				tx.Set(fmt.Sprintf("%02d", i), []byte("value"))
			}
			return nil
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 30 {
				s.update(p, fill)
				if err := s.db.Drop(s.Context(), p); err != nil {
					s.Error(err)
				}
			}
		})
		for range 100 {
			s.view(p, func(r storage.Reader) error {
				entries, err := r.List("", "", 2*keys)
				if n := len(entries); n != 0 && n != keys {
					s.Errorf("%d of %d keys are there", n, keys)
				}
				return err
			})
		}
		wg.Wait()
	},
	"revisions and one key of a thousand": func(s *suite) {
		const n = 1000
		parts := make([]string, n)
		wantRev := make([]uint64, n)
		want := make([]string, n)
		for i := range parts {
			parts[i], want[i] = s.part(fmt.Sprint(i)), "nothing"
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := worker; i < n; i += 8 {
					switch {
					case i%3 == 0: // never written
					case i%3 == 1:
						s.set(parts[i], "other", "value")
						wantRev[i] = 1
					default:
						s.set(parts[i], "x", "draft")
						s.set(parts[i], "x", fmt.Sprint("value ", i))
						wantRev[i], want[i] = 2, fmt.Sprintf(`"value %d"`, i)
					}
				}
			})
		}
		wg.Wait()
		asked := append(parts, parts[2], parts[2])
		wantRev, want = append(wantRev, wantRev[2], wantRev[2]), append(want, want[2], want[2])
		revs, err := s.db.Revisions(s.Context(), asked...)
		if err != nil || len(revs) != len(asked) {
			s.Fatalf("Revisions: %d of %d, %v", len(revs), len(asked), err)
		}
		vals, err := s.db.Collect(s.Context(), asked, "x")
		if err != nil || len(vals) != len(asked) {
			s.Fatalf("Collect: %d of %d, %v", len(vals), len(asked), err)
		}
		for i := range asked {
			if revs[i] != wantRev[i] || show(vals[i]) != want[i] {
				s.Errorf("%s: revision %d and value %s, want %d and %s", asked[i], revs[i], show(vals[i]), wantRev[i], want[i])
			}
		}
		revs, err = s.db.Revisions(s.Context())
		if err != nil || len(revs) != 0 {
			s.Errorf("Revisions of nothing = %v, %v", revs, err)
		}
		vals, err = s.db.Collect(s.Context(), nil, "x")
		if err != nil || len(vals) != 0 {
			s.Errorf("Collect of nothing = %v, %v", vals, err)
		}
	},
}
