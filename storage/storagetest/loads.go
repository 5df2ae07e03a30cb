package storagetest

import (
	"errors"
	"fmt"
	"sync"

	"plimsoll/storage"
)

// listed returns how often Partitions gives each partition of this test.
func (s *suite) listed() map[string]int {
	s.Helper()
	got := map[string]int{}
	if err := s.db.Partitions(s.Context(), func(names []string) error {
		for _, name := range names {
			got[name]++
		}
		return nil
	}); err != nil {
		s.Fatal(err)
	}
	return got
}

var loadTests = map[string]func(*suite){
	"every partition is listed": func(s *suite) {
		var want []string
		for _, name := range nastyNames {
			want = append(want, s.part(name), name+s.unique)
		}
		for i := range 2500 { // several pages
			want = append(want, s.part(fmt.Sprint("many/", i)))
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := worker; i < len(want); i += 8 {
					s.set(want[i], "key", "value")
				}
			})
		}
		wg.Wait()
		if err := s.db.Drop(s.Context(), want[0]); err != nil {
			s.Fatal(err)
		}
		got := s.listed()
		for _, name := range want {
			if got[name] == 0 {
				s.Errorf("%q is not listed", name)
			}
		}
		if never := s.part("never"); got[never] > 0 {
			s.Errorf("%q is listed, and was never written", never)
		}
		for name := range got { // nothing of its own is taken for a partition
			if rev := s.revision(name); rev == 0 {
				s.Errorf("%q is listed, and has no revision", name)
			}
		}
	},
	"the partition without a name is listed": func(s *suite) {
		s.set("", "key", "value")
		if s.listed()[""] == 0 {
			s.Error("it is not")
		}
	},
	"partitions are listed while others are written": func(s *suite) {
		const n = 1500
		name := func(i int) string { return s.part(fmt.Sprint("old/", i)) }
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := worker; i < n; i += 8 {
					s.set(name(i), "key", "value")
				}
			})
		}
		wg.Wait()
		writing := make(chan struct{})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-writing:
					return
				default:
					s.set(s.part(fmt.Sprint("new/", i)), "key", "value")
					s.set(name(i%n), "key", fmt.Sprint(i))
				}
			}
		})
		for range 5 {
			got := s.listed()
			for i := range n {
				if got[name(i)] == 0 {
					s.Errorf("%q is not listed", name(i))
				}
			}
		}
		close(writing)
		wg.Wait()
	},
	"the function ends the list, and may use the database": func(s *suite) {
		s.set(s.part("p"), "key", "value")
		enough, calls := errors.New("enough"), 0
		err := s.db.Partitions(s.Context(), func([]string) error {
			calls++
			s.set(s.part("q"), "key", "value")
			return enough
		})
		if !errors.Is(err, enough) || calls != 1 {
			s.Errorf("%v after %d calls, want %v after one", err, calls, enough)
		}
	},
	"load": func(s *suite) {
		p := s.part("p")
		entries := []storage.Entry{
			{Key: "a", Value: []byte("1")},
			{Key: "b", Value: []byte{}},
			{Key: "\x00", Value: []byte("\xff")},
		}
		if err := s.db.Load(s.Context(), p, 1<<40, entries); err != nil {
			s.Fatal(err)
		}
		if rev := s.revision(p); rev != 1<<40 {
			s.Errorf("revision %d, want %d", rev, 1<<40)
		}
		s.wantValue(p, "a", "1")
		s.wantValue(p, "b", "")
		s.wantValue(p, "\x00", "\xff")
		s.view(p, func(r storage.Reader) error {
			got, err := r.List("", "", 10)
			if keysOf(got) != "\x00 a b" {
				s.Errorf("listed: %q", keysOf(got))
			}
			return err
		})
		s.set(p, "a", "2")
		if rev := s.revision(p); rev != 1<<40+1 {
			s.Errorf("revision after a commit: %d, want %d", rev, 1<<40+1)
		}
	},
	"load in parts, and again": func(s *suite) {
		p := s.part("p")
		for range 2 {
			for _, part := range [][]storage.Entry{{{Key: "a", Value: []byte("1")}}, nil, {{Key: "b", Value: []byte("2")}}} {
				if err := s.db.Load(s.Context(), p, 7, part); err != nil {
					s.Fatal(err)
				}
			}
			s.wantValue(p, "a", "1")
			s.wantValue(p, "b", "2")
			if rev := s.revision(p); rev != 7 {
				s.Errorf("revision %d, want 7", rev)
			}
			s.set(p, "a", "other")
		}
		if got := s.listed(); got[p] == 0 {
			s.Errorf("%q is not listed", p)
		}
	},
	"load of nothing": func(s *suite) {
		p := s.part("p")
		if err := s.db.Load(s.Context(), p, 3, nil); err != nil {
			s.Fatal(err)
		}
		if rev := s.revision(p); rev != 3 || s.listed()[p] == 0 {
			s.Errorf("revision %d, want 3, and it is to be listed", rev)
		}
	},
	"an update runs again when the partition was loaded meanwhile": func(s *suite) {
		p := s.part("p")
		s.set(p, "key", "old")
		runs := 0
		s.update(p, func(tx storage.Tx) error {
			runs++
			val, err := tx.Get("key")
			if err != nil {
				return err
			}
			tx.Set("seen", val)
			if runs == 1 {
				return s.elsewhere(func() error {
					return s.db.Load(s.Context(), p, 9, []storage.Entry{{Key: "key", Value: []byte("new")}})
				})
			}
			return nil
		})
		s.wantValue(p, "seen", "new")
	},
	"load of what cannot be kept": func(s *suite) {
		p := s.part("p")
		if err := s.db.Load(s.Context(), p, 0, nil); !errors.Is(err, storage.ErrInvalid) {
			s.Errorf("revision 0: %v, want storage.ErrInvalid", err)
		}
		long := []storage.Entry{{Key: "key", Value: make([]byte, storage.MaxValue+1)}}
		if err := s.db.Load(s.Context(), p, 1, long); !errors.Is(err, storage.ErrInvalid) {
			s.Errorf("a value that is too long: %v, want storage.ErrInvalid", err)
		}
		if rev := s.revision(p); rev != 0 {
			s.Errorf("revision %d, want 0", rev)
		}
	},
}
