package storagetest

import (
	"errors"
	"fmt"

	"plimsoll/storage"
)

var viewTests = map[string]func(*suite){
	"a view in which somebody commits sees before or after": func(s *suite) {
		p := s.part("p")
		s.set(p, "left", "before")
		s.set(p, "right", "before")
		runs := 0
		var left, right []byte
		s.view(p, func(r storage.Reader) (err error) {
			runs++
			if left, err = r.Get("left"); err != nil {
				return err
			}
			if runs == 1 {
				if err := s.elsewhere(func() error {
					return s.db.Update(s.Context(), p, func(tx storage.Tx) error {
						tx.Set("left", []byte("after"))
						tx.Set("right", []byte("after"))
						return nil
					})
				}); err != nil {
					return err
				}
			}
			right, err = r.Get("right")
			return err
		})
		if string(left) != string(right) {
			s.Errorf("left %s, right %s", left, right)
		}
	},
	"a view that reads in vain runs again although its function hides it": func(s *suite) {
		p := s.part("p")
		s.set(p, "left", "before")
		runs := 0
		var left, right []byte
		s.view(p, func(r storage.Reader) error {
			runs++
			left, right = nil, nil
			left, _ = r.Get("left") // a function that looks at no error
			if runs == 1 {
				if err := s.elsewhere(func() error {
					return s.db.Update(s.Context(), p, func(tx storage.Tx) error {
						tx.Set("left", []byte("after"))
						tx.Set("right", []byte("after"))
						return nil
					})
				}); err != nil {
					return err
				}
			}
			right, _ = r.Get("right") // nor here
			return nil
		})
		if string(left) == "before" && right != nil || string(left) == "after" && right == nil {
			s.Errorf("left %s, right %s", show(left), show(right))
		}
	},
	"a view sees one revision": func(s *suite) {
		p := s.part("p")
		stop, ended := make(chan struct{}), make(chan error, 1)
		s.set(p, "left", "0")
		s.set(p, "right", "0")
		go func() {
			var err error
			for i := 1; err == nil; i++ {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				err = s.db.Update(s.Context(), p, func(tx storage.Tx) error {
					tx.Set("left", fmt.Append(nil, i))
					tx.Set("right", fmt.Append(nil, i))
					return nil
				})
			}
			ended <- err
		}()
		for range 100 {
			var left, right, many, listed []byte
			var first, last uint64
			s.view(p, func(r storage.Reader) (err error) {
				return errors.Join(
					into(&first)(r.Revision()),
					into(&left)(r.Get("left")),
					into(&right)(r.Get("right")),
					func() error {
						vals, err := r.GetMany("right")
						if err == nil {
							many = vals[0]
						}
						return err
					}(),
					func() error {
						entries, err := r.List("left", "", 1)
						if err == nil && len(entries) == 1 {
							listed = entries[0].Value
						}
						return err
					}(),
					into(&last)(r.Revision()),
				)
			})
			if string(left) != string(right) || string(left) != string(many) || string(left) != string(listed) || first != last {
				s.Fatalf("a view saw left %s, right %s, %s, listed %s, revisions %d and %d", left, right, many, listed, first, last)
			}
		}
		close(stop)
		if err := <-ended; err != nil {
			s.Fatal(err)
		}
	},
}

func into[T any](to *T) func(T, error) error {
	return func(v T, err error) error {
		*to = v
		return err
	}
}
