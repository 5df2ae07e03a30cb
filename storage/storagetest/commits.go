package storagetest

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"plimsoll/storage"
)

var errOfFunction = errors.New("the function's own error")

var commitTests = map[string]func(*suite){
	"a function's error is returned as it is and nothing is written": func(s *suite) {
		p := s.part("p")
		s.set(p, "key", "before")
		before := s.revision(p)
		err := s.db.Update(s.Context(), p, func(tx storage.Tx) error {
			tx.Set("key", []byte("after"))
			tx.Set("new", []byte("after"))
			return errOfFunction
		})
		if err != errOfFunction { // not even wrapped
			s.Errorf("Update = %v, want the function's error itself", err)
		}
		err = s.db.View(s.Context(), p, func(storage.Reader) error { return errOfFunction })
		if err != errOfFunction { // not even wrapped
			s.Errorf("View = %v, want the function's error itself", err)
		}
		s.wantValue(p, "key", "before")
		s.wantNone(p, "new")
		if after := s.revision(p); after != before {
			s.Errorf("the revision went from %d to %d", before, after)
		}
	},
	"a function's panic is the caller's and nothing is written": func(s *suite) {
		p := s.part("p")
		func() {
			defer func() {
				if got := recover(); got != errOfFunction {
					s.Errorf("recovered %v, want what the function panicked with", got)
				}
			}()
			_ = s.db.Update(s.Context(), p, func(tx storage.Tx) error {
				tx.Set("key", []byte("value"))
				panic(errOfFunction)
			})
		}()
		s.wantNone(p, "key")
		s.set(p, "key", "later")
		s.wantValue(p, "key", "later")
	},
	"a function that panics when it runs again spoils nothing": func(s *suite) {
		p, other := s.part("p"), s.part("other")
		var wg sync.WaitGroup
		runs := 0
		func() {
			defer func() { _ = recover() }()
			_ = s.db.Update(s.Context(), p, func(tx storage.Tx) error {
				if runs++; runs > 1 {
					panic(errOfFunction)
				}
				if _, err := tx.Get("key"); err != nil {
					return err
				}
				tx.Set("mine", []byte("value"))
				return s.elsewhere(func() error {
					return s.db.Update(s.Context(), p, func(tx storage.Tx) error {
						tx.Set("key", []byte("theirs"))
						return nil
					})
				})
			})
		}()
		for i := range 20 {
			wg.Go(func() { s.set(other, fmt.Sprint(i), "value") })
		}
		wg.Wait()
		if runs != 2 {
			s.Errorf("the function ran %d times, want 2", runs)
		}
		s.wantNone(p, "mine")
		s.wantValue(p, "key", "theirs")
		s.wantValue(other, "19", "value")
	},
	"a commit is seen whole by whoever reads next": func(s *suite) {
		p := s.part("p")
		for i := range 50 {
			want := strconv.Itoa(i)
			s.update(p, func(tx storage.Tx) error {
				for _, key := range []string{"a", "b", "c"} {
					tx.Set(key, []byte(want))
				}
				return nil
			})
			s.wantValue(p, "a", want)
			s.wantValue(p, "c", want)
		}
	},
	"a transaction reads what it wrote": func(s *suite) {
		p := s.part("p")
		s.set(p, "old", "1")
		s.update(p, func(tx storage.Tx) error {
			steps := []struct{ key, want string }{{"old", `"1"`}, {"new", "nothing"}}
			check := func() error {
				for _, step := range steps {
					got, err := tx.Get(step.key)
					if err != nil {
						return err
					}
					if show(got) != step.want {
						s.Errorf("%s = %s, want %s", step.key, show(got), step.want)
					}
				}
				return nil
			}
			if err := check(); err != nil {
				return err
			}
			tx.Set("old", []byte("2"))
			tx.Set("new", []byte("3"))
			steps[0].want, steps[1].want = `"2"`, `"3"`
			if err := check(); err != nil {
				return err
			}
			tx.Delete("old")
			steps[0].want = "nothing"
			return check()
		})
	},
	"the revision counts commits that write": func(s *suite) {
		p := s.part("p")
		if rev := s.revision(p); rev != 0 {
			s.Errorf("revision of what was never written: %d, want 0", rev)
		}
		for want := uint64(1); want <= 20; want++ {
			s.update(p, func(tx storage.Tx) error {
				rev, err := tx.Revision()
				if rev != want-1 {
					s.Errorf("revision in the transaction: %d, want %d", rev, want-1)
				}
				tx.Set("a", fmt.Append(nil, want))
				tx.Set("b", fmt.Append(nil, want))
				return err
			})
			if rev := s.revision(p); rev != want {
				s.Errorf("revision after %d commits: %d", want, rev)
			}
		}
		s.update(p, func(tx storage.Tx) error {
			_, err := tx.Get("a")
			return err
		})
		s.update(p, func(storage.Tx) error { return nil })
		s.view(p, func(r storage.Reader) error {
			_, err := r.Get("a")
			return err
		})
		if rev := s.revision(p); rev != 20 {
			s.Errorf("revision after commits that wrote nothing: %d, want 20", rev)
		}
		s.update(p, func(tx storage.Tx) error {
			tx.Delete("a")
			return nil
		})
		if rev := s.revision(p); rev != 21 {
			s.Errorf("revision after a deletion: %d, want 21", rev)
		}
	},
	"an update runs again when somebody came between": func(s *suite) {
		for name, read := range map[string]func(storage.Reader) error{
			"Get":      func(r storage.Reader) error { _, err := r.Get("key"); return err },
			"GetMany":  func(r storage.Reader) error { _, err := r.GetMany("key", "other"); return err },
			"List":     func(r storage.Reader) error { _, err := r.List("k", "", 10); return err },
			"ListDesc": func(r storage.Reader) error { _, err := r.ListDesc("k", "", 10); return err },
			"Revision": func(r storage.Reader) error { _, err := r.Revision(); return err },
		} {
			p := s.part(name)
			runs := 0
			s.update(p, func(tx storage.Tx) error {
				runs++
				if err := read(tx); err != nil {
					return err
				}
				if runs == 1 {
					if err := s.elsewhere(func() error {
						return s.db.Update(s.Context(), p, func(tx storage.Tx) error {
							tx.Set("theirs", []byte("1"))
							return nil
						})
					}); err != nil {
						return err
					}
				}
				theirs, err := tx.Get("theirs")
				tx.Set("mine", append([]byte("with theirs: "), theirs...))
				return err
			})
			s.wantValue(p, "mine", "with theirs: 1")
			if runs != 2 {
				s.Errorf("%s: the function ran %d times, want 2", name, runs)
			}
		}
	},
	"an update that runs again may decide otherwise": func(s *suite) {
		for name, second := range map[string]error{"write nothing": nil, "fail": errOfFunction} {
			p := s.part(name)
			runs := 0
			err := s.db.Update(s.Context(), p, func(tx storage.Tx) error {
				if _, err := tx.Get("key"); err != nil {
					return err
				}
				if runs++; runs > 1 {
					return second
				}
				tx.Set("mine", []byte("value"))
				return s.elsewhere(func() error {
					return s.db.Update(s.Context(), p, func(tx storage.Tx) error {
						tx.Set("key", []byte("theirs"))
						return nil
					})
				})
			})
			if err != second { // not even wrapped
				s.Errorf("%s: Update = %v, want %v", name, err, second)
			}
			s.wantNone(p, "mine")
			if rev := s.revision(p); rev != 1 {
				s.Errorf("%s: revision %d, want 1", name, rev)
			}
		}
	},
	"what an update has found is there": func(s *suite) {
		for name, found := range map[string]error{"it does nothing": nil, "it fails": errOfFunction} {
			for round := range 30 {
				p := s.part(fmt.Sprint(name, round))
				var before, wg sync.WaitGroup // before: those whose function has not read yet
				before.Add(8)
				for range 8 {
					wg.Go(func() {
						read := sync.OnceFunc(func() {
							before.Done()
							before.Wait()
						})
						err := s.db.Update(s.Context(), p, func(tx storage.Tx) error {
							got, err := tx.Get("key")
							read()
							if err != nil || got != nil {
								return cmp.Or(err, found)
							}
							tx.Set("key", []byte("value"))
							return nil
						})
						if err != nil && err != found { // not even wrapped
							s.Errorf("%s: Update = %v", name, err)
						}
						s.wantValue(p, "key", "value")
					})
				}
				wg.Wait()
				if rev := s.revision(p); rev != 1 {
					s.Errorf("%s: revision %d, want 1", name, rev)
				}
			}
		}
	},
	"fifty writers count without losing one": func(s *suite) {
		p := s.part("p")
		const writers, times = 50, 20
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range times {
					// One call is bounded by storage.Timeout, which so much contention may exceed; then nothing was counted.
					for err := storage.ErrUnavailable; errors.Is(err, storage.ErrUnavailable) && s.patient().Err() == nil; {
						err = s.db.Update(s.Context(), p, func(tx storage.Tx) error {
							val, err := tx.Get("count")
							if err != nil {
								return err
							}
							n, _ := strconv.Atoi(string(val)) // nothing: 0
							tx.Set("count", strconv.AppendInt(nil, int64(n+1), 10))
							return nil
						})
						if err != nil && !errors.Is(err, storage.ErrUnavailable) {
							s.Errorf("Update: %v", err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		s.wantValue(p, "count", strconv.Itoa(writers*times))
		if rev := s.revision(p); rev != writers*times {
			s.Errorf("revision %d, want %d", rev, writers*times)
		}
	},
}

// elsewhere runs fn in another goroutine and waits for it. Nobody else may do so in a function (storage.DB); a database as
// small as these lets it pass.
func (s *suite) elsewhere(fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-s.patient().Done():
		return errors.New("a commit beside an open transaction did not end")
	}
}
