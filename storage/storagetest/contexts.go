package storagetest

import (
	"context"
	"errors"
	"time"

	"plimsoll/storage"
)

var contextTests = map[string]func(*suite){
	"ping": func(s *suite) {
		for range 3 {
			if err := s.db.Ping(s.Context()); err != nil {
				s.Fatal(err)
			}
		}
	},
	"a context that has ended": func(s *suite) {
		p := s.part("p")
		ended, cancel := context.WithCancel(s.Context())
		cancel()
		for name, method := range Methods {
			err := method(ended, s.db, p)
			s.wantUnavailable(name, err)
			if !errors.Is(err, context.Canceled) {
				s.Errorf("%s: %v does not say that the context was cancelled", name, err)
			}
		}
		late, cancel := context.WithDeadline(s.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for name, method := range Methods {
			s.wantUnavailable(name, method(late, s.db, p))
		}
		s.wantNone(p, "key")
		if rev := s.revision(p); rev != 0 {
			s.Errorf("revision %d, want 0", rev)
		}
	},
	"a function does not run when the context has ended": func(s *suite) {
		ended, cancel := context.WithCancel(s.Context())
		cancel()
		_ = s.db.View(ended, s.part("p"), func(storage.Reader) error {
			s.Error("View ran its function")
			return nil
		})
		_ = s.db.Update(ended, s.part("p"), func(storage.Tx) error {
			s.Error("Update ran its function")
			return nil
		})
	},
	"a context that ends before the commit": func(s *suite) {
		p := s.part("p")
		ctx, cancel := context.WithCancel(s.Context())
		defer cancel()
		err := s.db.Update(ctx, p, func(tx storage.Tx) error {
			tx.Set("key", []byte("value"))
			cancel()
			return nil
		})
		s.wantUnavailable("Update", err)
		s.wantNone(p, "key")
	},
	"a deadline that passes before the commit": func(s *suite) {
		p := s.part("p")
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Millisecond)
		defer cancel()
		err := s.db.Update(ctx, p, func(tx storage.Tx) error {
			tx.Set("key", []byte("value"))
			<-ctx.Done()
			return nil
		})
		s.wantUnavailable("Update", err)
		s.wantNone(p, "key")
	},
	"close": func(s *suite) {
		p := s.part("p")
		s.set(p, "key", "value")
		for range 2 {
			if err := s.db.Close(); err != nil {
				s.Fatal(err)
			}
		}
		for name, method := range Methods {
			s.wantUnavailable(name, method(s.Context(), s.db, p))
		}
		s.wantUnavailable("View that reads nothing", s.db.View(s.Context(), p, func(storage.Reader) error { return nil }))
	},
	"close while others write": func(s *suite) {
		p := s.part("p")
		const writers = 8
		ended := make(chan error, writers)
		started := make(chan struct{}, writers)
		for i := range writers {
			go func() {
				var err error
				for n := 0; err == nil; n++ {
					err = s.db.Update(s.Context(), p, func(tx storage.Tx) error {
						tx.Set(string(rune('a'+i)), []byte("value"))
						return nil
					})
					if n == 0 {
						started <- struct{}{}
					}
				}
				ended <- err
			}()
		}
		for range writers {
			<-started
		}
		if err := s.db.Close(); err != nil {
			s.Error(err)
		}
		for range writers {
			select {
			case err := <-ended:
				s.wantUnavailable("Update while it closes", err)
			case <-s.patient().Done():
				s.Fatal("a writer did not end")
			}
		}
	},
}
