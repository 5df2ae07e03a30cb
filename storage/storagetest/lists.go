package storagetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"

	"plimsoll/storage"
)

var listTests = map[string]func(*suite){
	"bounds": func(s *suite) {
		p := s.part("p")
		s.update(p, func(tx storage.Tx) error {
			for _, key := range []string{"a", "a/", "a/1", "a/10", "a/2", "a0", "b", "\xff", "\xff\xff", "\xff\xff1"} {
				tx.Set(key, []byte("of "+key))
			}
			return nil
		})
		s.view(p, func(r storage.Reader) error {
			for _, c := range []struct {
				name, prefix, from string
				limit              int
				desc               bool
				want               string
			}{
				{"everything", "", "", 100, false, "a a/ a/1 a/10 a/2 a0 b \xff \xff\xff \xff\xff1"},
				{"everything backwards", "", "", 100, true, "\xff\xff1 \xff\xff \xff b a0 a/2 a/10 a/1 a/ a"},
				{"at most so many", "", "", 3, false, "a a/ a/1"},
				{"at most so many backwards", "", "", 3, true, "\xff\xff1 \xff\xff \xff"},
				{"a prefix is one of itself", "a/", "", 100, false, "a/ a/1 a/10 a/2"},
				{"a prefix backwards", "a/", "", 100, true, "a/2 a/10 a/1 a/"},
				{"the last prefix there is", "\xff", "", 100, false, "\xff \xff\xff \xff\xff1"},
				{"the last prefix there is, backwards", "\xff", "", 2, true, "\xff\xff1 \xff\xff"},
				{"after a key", "a/", "a/1", 100, false, "a/10 a/2"},
				{"before a key", "a/", "a/10", 100, true, "a/1 a/"},
				{"after a key that is not there", "a/", "a/1x", 100, false, "a/2"},
				{"before a key that is not there", "a/", "a/1x", 100, true, "a/10 a/1 a/"},
				{"after a key that sorts before the prefix", "a/", "A", 100, false, "a/ a/1 a/10 a/2"},
				{"after a key that sorts behind the prefix", "a/", "b", 100, false, ""},
				{"before a key that sorts behind the prefix", "a/", "b", 100, true, "a/2 a/10 a/1 a/"},
				{"before a key that sorts before the prefix", "a/", "a", 100, true, ""},
				{"after the last", "", "\xff\xff1", 100, false, ""},
				{"before the first", "", "a", 100, true, ""},
				{"a prefix that nothing has", "a/3", "", 100, false, ""},
				{"a prefix that nothing has, backwards", "a/3", "", 100, true, ""},
			} {
				list := r.List
				if c.desc {
					list = r.ListDesc
				}
				entries, err := list(c.prefix, c.from, c.limit)
				if err != nil {
					return err
				}
				if got := keysOf(entries); got != c.want {
					s.Errorf("%s: %q, want %q", c.name, got, c.want)
				}
				for _, e := range entries {
					if string(e.Value) != "of "+e.Key {
						s.Errorf("%s: the value of %q is %s", c.name, e.Key, show(e.Value))
					}
				}
			}
			return nil
		})
	},
	"a limit that is not positive is an error": func(s *suite) {
		for _, limit := range []int{0, -1} {
			err := s.db.View(s.Context(), s.part("p"), func(r storage.Reader) error {
				_, up := r.List("", "", limit)
				_, down := r.ListDesc("", "", limit)
				if up == nil || down == nil {
					return nil
				}
				return errors.Join(up, down)
			})
			if !errors.Is(err, storage.ErrInvalid) {
				s.Errorf("limit %d: %v, want an error that wraps storage.ErrInvalid", limit, err)
			}
		}
	},
	"a transaction lists what it wrote": func(s *suite) {
		p := s.part("p")
		dice := rand.New(rand.NewPCG(26, 6))
		committed := map[string]string{}
		for range 40 {
			pending := maps.Clone(committed)
			s.update(p, func(tx storage.Tx) error {
				clear(pending)
				maps.Copy(pending, committed)
				for step := range 12 {
					key := fmt.Sprintf("%c%d", 'a'+dice.IntN(3), dice.IntN(8))
					if dice.IntN(3) == 0 {
						tx.Delete(key)
						delete(pending, key)
					} else {
						val := fmt.Sprint(step, dice.Uint32())
						tx.Set(key, []byte(val))
						pending[key] = val
					}
					if err := sameList(s, tx, pending, dice); err != nil {
						return err
					}
				}
				return nil
			})
			committed = pending
			s.view(p, func(r storage.Reader) error { return sameList(s, r, committed, dice) })
		}
	},
	"pages": func(s *suite) {
		p := s.part("p")
		s.update(p, func(tx storage.Tx) error {
			for i := range 57 {
				tx.Set(fmt.Sprintf("k/%02d", i), []byte{byte(i)})
			}
			return nil
		})
		var up, down []string
		for from := ""; ; {
			n := len(up)
			s.view(p, func(r storage.Reader) error {
				up = up[:n]
				entries, err := r.List("k/", from, 10)
				for _, e := range entries {
					up = append(up, e.Key)
				}
				return err
			})
			if len(up) == n {
				break
			}
			from = up[len(up)-1]
		}
		for from := ""; ; {
			n := len(down)
			s.view(p, func(r storage.Reader) error {
				down = down[:n]
				entries, err := r.ListDesc("k/", from, 10)
				for _, e := range entries {
					down = append(down, e.Key)
				}
				return err
			})
			if len(down) == n {
				break
			}
			from = down[len(down)-1]
		}
		slices.Reverse(down)
		if len(up) != 57 || !slices.IsSorted(up) || !slices.Equal(up, down) {
			s.Errorf("pages upwards: %v\ndownwards, reversed: %v", up, down)
		}
	},
	"pages while others write": func(s *suite) {
		p := s.part("p")
		const fixed = 60
		s.update(p, func(tx storage.Tx) error {
			for i := range fixed {
				tx.Set(fmt.Sprintf("k/%02d", i), []byte("stays"))
			}
			return nil
		})
		var stop atomic.Bool
		wrote, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			var err error
			for i := 0; err == nil && !stop.Load(); i++ {
				err = s.db.Update(s.Context(), p, func(tx storage.Tx) error {
					tx.Set(fmt.Sprintf("k/%02d-%d", i%fixed, i), []byte("comes"))
					if i >= 10 {
						tx.Delete(fmt.Sprintf("k/%02d-%d", (i-10)%fixed, i-10))
					}
					return nil
				})
				if i == 0 {
					close(wrote)
				}
			}
			ended <- err
		}()
		<-wrote
		var stays []string
		for from := ""; ; {
			var page []storage.Entry
			s.view(p, func(r storage.Reader) (err error) {
				page, err = r.List("k/", from, 7)
				return err
			})
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				if string(e.Value) == "stays" {
					stays = append(stays, e.Key)
				}
			}
			from = page[len(page)-1].Key
		}
		stop.Store(true)
		if err := <-ended; err != nil {
			s.Fatal(err)
		}
		if len(stays) != fixed || !slices.IsSorted(stays) {
			s.Errorf("%d of %d lasting keys were listed: %v", len(stays), fixed, stays)
		}
	},
}

// sameList compares lists with what they are by definition.
func sameList(s *suite, r storage.Reader, want map[string]string, dice *rand.Rand) error {
	prefix := []string{"", "a", "b", "c", "b3"}[dice.IntN(5)]
	from := []string{"", "a4", "b", "b0", "b7", "c9"}[dice.IntN(6)]
	limit := 1 + dice.IntN(9)
	for _, desc := range []bool{false, true} {
		list, keys := r.List, slices.Sorted(maps.Keys(want))
		if desc {
			list = r.ListDesc
			slices.Reverse(keys)
		}
		keys = slices.DeleteFunc(keys, func(k string) bool {
			return !strings.HasPrefix(k, prefix) || from != "" && (!desc && k <= from || desc && k >= from)
		})
		keys = keys[:min(limit, len(keys))]
		got, err := list(prefix, from, limit)
		if err != nil {
			return err
		}
		if keysOf(got) != strings.Join(keys, " ") {
			s.Fatalf("list of %q from %q, at most %d, descending %t: %s, want %v", prefix, from, limit, desc, keysOf(got), keys)
		}
		for _, e := range got {
			if string(e.Value) != want[e.Key] {
				s.Fatalf("%q is listed with %s, want %q", e.Key, show(e.Value), want[e.Key])
			}
		}
	}
	return nil
}
