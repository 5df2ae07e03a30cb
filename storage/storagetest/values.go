package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"plimsoll/storage"
)

var valueTests = map[string]func(*suite){
	"a key that was never set has no value": func(s *suite) {
		p := s.part("p")
		s.wantNone(p, "key")
		s.set(p, "other", "value")
		s.wantNone(p, "key")
		s.wantNone(p, "othe")
		s.wantNone(p, "other2")
	},
	"what was set last is there": func(s *suite) {
		p := s.part("p")
		s.set(p, "key", "one")
		s.set(p, "key", "two")
		s.wantValue(p, "key", "two")
	},
	"an empty value is one": func(s *suite) {
		p := s.part("p")
		s.update(p, func(tx storage.Tx) error {
			tx.Set("key", []byte{})
			if got, err := tx.Get("key"); got == nil || len(got) != 0 || err != nil {
				s.Errorf("Get before the commit = %v, %v, want an empty value", got, err)
			}
			return nil
		})
		s.wantValue(p, "key", "")
		s.view(p, func(r storage.Reader) error {
			entries, err := r.List("", "", 10)
			if err == nil && (len(entries) != 1 || entries[0].Value == nil || len(entries[0].Value) != 0) {
				s.Errorf("List = %v, want one entry with an empty value", entries)
			}
			return err
		})
		if got, err := s.db.Collect(s.Context(), []string{p}, "key"); err != nil || len(got) != 1 || got[0] == nil ||
			len(got[0]) != 0 {
			s.Errorf("Collect = %v, %v, want an empty value", got, err)
		}
	},
	"keys and values are bytes": func(s *suite) {
		p := s.part("p")
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		keys := append([]string{string(all)}, nastyNames...)
		s.update(p, func(tx storage.Tx) error {
			for _, key := range keys {
				tx.Set(key, append([]byte(key), all...))
			}
			return nil
		})
		for _, key := range keys {
			s.wantValue(p, key, key+string(all))
		}
	},
	"values of all sizes come back": func(s *suite) {
		p := s.part("p")
		noise := rand.NewChaCha8([32]byte{1})
		for _, size := range []int{1, 63, 64, 65, 1023, 1024, 1025, 5000, 65_536, 1 << 20} {
			random := make([]byte, size)
			_, _ = noise.Read(random) // never fails
			text := []byte(strings.Repeat(`{"identifier":"plimsoll.status","valid":"valid"},`, size/49+1)[:size])
			s.update(p, func(tx storage.Tx) error {
				tx.Set(fmt.Sprint("random", size), random)
				tx.Set(fmt.Sprint("text", size), text)
				return nil
			})
			if got := s.get(p, fmt.Sprint("random", size)); !bytes.Equal(got, random) {
				s.Errorf("%d random bytes came back as %d others", size, len(got))
			}
			if got := s.get(p, fmt.Sprint("text", size)); !bytes.Equal(got, text) {
				s.Errorf("%d bytes of text came back as %d others", size, len(got))
			}
		}
	},
	"a value that is too long is invalid": func(s *suite) {
		p := s.part("p")
		s.set(p, "key", "before")
		err := s.db.Update(s.Context(), p, func(tx storage.Tx) error {
			tx.Set("key", make([]byte, storage.MaxValue+1))
			tx.Set("other", []byte("value"))
			return nil
		})
		if !errors.Is(err, storage.ErrInvalid) {
			s.Errorf("Update = %v, want an error that wraps storage.ErrInvalid", err)
		}
		s.wantValue(p, "key", "before")
		s.wantNone(p, "other")
	},
	"GetMany answers in the order of its keys": func(s *suite) {
		p := s.part("p")
		s.update(p, func(tx storage.Tx) error {
			tx.Set("a", []byte("1"))
			tx.Set("b", []byte("2"))
			tx.Set("c", []byte("3"))
			return nil
		})
		s.update(p, func(tx storage.Tx) error {
			tx.Set("b", []byte("two"))
			tx.Set("d", []byte("4"))
			tx.Delete("c")
			got, err := tx.GetMany("d", "c", "missing", "b", "a", "a")
			if err != nil {
				return err
			}
			want := []string{`"4"`, "nothing", "nothing", `"two"`, `"1"`, `"1"`}
			for i := range want {
				if len(got) != len(want) || show(got[i]) != want[i] {
					s.Fatalf("GetMany = %q, want %v", got, want)
				}
			}
			none, err := tx.GetMany()
			if len(none) != 0 {
				s.Errorf("GetMany of no keys = %q", none)
			}
			return err
		})
	},
	"thousands of keys in one commit": func(s *suite) {
		p := s.part("p")
		const n = 3000
		keys := make([]string, n)
		s.update(p, func(tx storage.Tx) error {
			for i := range keys {
				keys[i] = fmt.Sprintf("key/%05d", i)
				tx.Set(keys[i], fmt.Append(nil, i))
			}
			return nil
		})
		s.view(p, func(r storage.Reader) error {
			got, err := r.GetMany(keys...)
			if err != nil {
				return err
			}
			for i, val := range got {
				if string(val) != fmt.Sprint(i) {
					s.Fatalf("%s = %s", keys[i], show(val))
				}
			}
			entries, err := r.List("key/", "", 2*n)
			if len(entries) != n {
				s.Errorf("List found %d of %d", len(entries), n)
			}
			return err
		})
		s.update(p, func(tx storage.Tx) error {
			for _, key := range keys[1:] {
				tx.Delete(key)
			}
			return nil
		})
		s.view(p, func(r storage.Reader) error {
			entries, err := r.List("", "", n)
			if len(entries) != 1 || entries[0].Key != keys[0] {
				s.Errorf("%d entries are left, want the first only", len(entries))
			}
			return err
		})
	},
	"a value that was read belongs to the reader": func(s *suite) {
		p := s.part("p")
		s.set(p, "key", "value")
		spoil := func(r storage.Reader) error {
			val, err := r.Get("key")
			if err != nil {
				return err
			}
			many, err := r.GetMany("key")
			if err != nil {
				return err
			}
			up, err := r.List("", "", 1)
			if err != nil {
				return err
			}
			down, err := r.ListDesc("", "", 1)
			if err != nil {
				return err
			}
			for _, v := range [][]byte{val, many[0], up[0].Value, down[0].Value} {
				copy(v, "XXXXX")
			}
			again, err := r.Get("key")
			if string(again) != "value" {
				s.Errorf("the reader changed what is read next: %s", show(again))
			}
			return err
		}
		s.view(p, spoil)
		s.update(p, func(tx storage.Tx) error {
			tx.Set("key", []byte("value"))
			return spoil(tx)
		})
		s.wantValue(p, "key", "value")
	},
	"deleting": func(s *suite) {
		p := s.part("p")
		s.update(p, func(tx storage.Tx) error {
			tx.Set("gone", []byte("1"))
			tx.Set("kept", []byte("2"))
			tx.Set("again", []byte("3"))
			return nil
		})
		s.update(p, func(tx storage.Tx) error {
			tx.Delete("gone")
			tx.Delete("never was")
			tx.Delete("again")
			tx.Set("again", []byte("4"))
			tx.Set("short-lived", []byte("5"))
			tx.Delete("short-lived")
			return nil
		})
		s.wantNone(p, "gone")
		s.wantNone(p, "never was")
		s.wantNone(p, "short-lived")
		s.wantValue(p, "kept", "2")
		s.wantValue(p, "again", "4")
		s.view(p, func(r storage.Reader) error {
			entries, err := r.List("", "", 10)
			if got := keysOf(entries); got != "again kept" {
				s.Errorf("left: %s, want: again kept", got)
			}
			return err
		})
	},
}

func keysOf(entries []storage.Entry) string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return strings.Join(keys, " ")
}
