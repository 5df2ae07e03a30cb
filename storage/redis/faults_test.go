package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func set(ctx context.Context, db *DB, partition, key, val string) error {
	return db.Update(ctx, partition, func(tx storage.Tx) error {
		tx.Set(key, []byte(val))
		return nil
	})
}

func get(t *testing.T, db *DB, partition, key string) string {
	t.Helper()
	var got []byte
	if err := db.View(t.Context(), partition, func(r storage.Reader) (err error) {
		got, err = r.Get(key)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestCommitWhoseConnectionBreaks(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	direct := open(t, server.URL())
	for _, c := range []struct {
		name     string
		lose     func(*storagetest.Proxy, string) <-chan struct{}
		others   int // commits of others before the retry
		wantRuns int
		want     error
		revision uint64
	}{
		{"the answer is lost", (*storagetest.Proxy).LoseAnswer, 0, 1, nil, 2},
		{"the request is lost", (*storagetest.Proxy).LoseRequest, 0, 1, nil, 2},
		{"the answer is lost and others commit", (*storagetest.Proxy).LoseAnswer, 7, 1, nil, 9},
		{"the request is lost and others commit", (*storagetest.Proxy).LoseRequest, 8, 2, nil, 10},
		{"the answer is lost and too many others commit", (*storagetest.Proxy).LoseAnswer, 8, 1, storage.ErrUnavailable, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy := storagetest.NewProxy(t, server.Addr())
			db := open(t, "redis://"+proxy.Addr())
			p := t.Name()
			if err := set(t.Context(), db, p, "key", "before"); err != nil {
				t.Fatal(err)
			}
			fired := c.lose(proxy, "a telling value")
			runs := 0
			done := make(chan error, 1)
			go func() {
				done <- db.Update(t.Context(), p, func(tx storage.Tx) error {
					runs++
					val, err := tx.Get("appended")
					tx.Set("appended", append(val, "a telling value;"...))
					return err
				})
			}()
			<-fired
			for i := range c.others {
				if err := set(t.Context(), direct, p, "theirs", fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}
			proxy.Refuse(false)
			if err := <-done; !errors.Is(err, c.want) {
				t.Errorf("Update = %v, want %v", err, c.want)
			}
			if runs != c.wantRuns {
				t.Errorf("the function ran %d times, want %d", runs, c.wantRuns)
			}
			if got := get(t, direct, p, "appended"); got != "a telling value;" {
				t.Errorf("appended: %q, want it once", got)
			}
			revs, err := direct.Revisions(t.Context(), p)
			if err != nil || revs[0] != c.revision {
				t.Errorf("revision %d, want %d (%v)", revs[0], c.revision, err)
			}
		})
	}
}

func TestDropWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	direct, proxy := open(t, server.URL()), storagetest.NewProxy(t, server.Addr())
	db := open(t, "redis://"+proxy.Addr())
	if err := set(t.Context(), direct, "p", "key", "old"); err != nil {
		t.Fatal(err)
	}
	fired := proxy.LoseAnswer("drop")
	done := make(chan error, 1)
	go func() { done <- db.Drop(t.Context(), "p") }()
	<-fired
	if err := set(t.Context(), direct, "p", "key", "new"); err != nil {
		t.Fatal(err)
	}
	proxy.Refuse(false)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := get(t, direct, "p", "key"); got != "new" {
		t.Errorf("key = %q: the drop was run twice", got)
	}
}

func TestAnswersThatComeTooLate(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	proxy := storagetest.NewProxy(t, server.Addr())
	db := open(t, "redis://"+proxy.Addr())
	proxy.Delay(storage.Timeout)
	allUnavailable(t, db)
	proxy.Delay(0)
	recovers(t, db)
}

// allUnavailable calls every method, each with a short time of its own.
func allUnavailable(t *testing.T, db *DB) {
	t.Helper()
	var wg sync.WaitGroup
	for name, method := range storagetest.Methods {
		wg.Go(func() {
			if err := method(short(t), db, "p"); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

func recovers(t *testing.T, db *DB) {
	t.Helper()
	storagetest.Await(t, "recovery", func() error {
		for name, method := range storagetest.Methods {
			if err := method(t.Context(), db, "p"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}

func TestServerAway(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	db := open(t, server.URL())
	recovers(t, db)
	for _, away := range []struct {
		name      string
		out, back func()
	}{
		{"killed", server.Kill, server.Restart},
		{"frozen", server.Freeze, server.Thaw},
	} {
		t.Run(away.name, func(t *testing.T) {
			away.out()
			allUnavailable(t, db)
			away.back()
			recovers(t, db)
		})
	}
}

// Without a deadline of the caller's, storage.Timeout is one.
func TestTimeout(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	db := open(t, server.URL())
	recovers(t, db)
	server.Freeze()
	ended := make(chan error, len(storagetest.Methods))
	for name, method := range storagetest.Methods {
		go func() {
			err := method(context.Background(), db, "p")
			if errors.Is(err, storage.ErrUnavailable) {
				err = nil
			} else {
				err = fmt.Errorf("%s: %w", name, err)
			}
			ended <- err
		}()
	}
	for range storagetest.Methods {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(2 * storage.Timeout):
			t.Error("a method goes on without an end")
		}
	}
	server.Thaw()
	recovers(t, db)
}

// acknowledged writes to many partitions from several goroutines, and remembers what was acknowledged.
type acknowledged struct {
	t    *testing.T
	db   *DB
	mu   sync.Mutex
	last map[string]int // by partition
	n    atomic.Int64
	quit chan struct{}
	wg   sync.WaitGroup
}

func acknowledge(t *testing.T, db *DB) *acknowledged {
	a := &acknowledged{t: t, db: db, last: map[string]int{}, quit: make(chan struct{})}
	for w := range 8 {
		a.wg.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-a.quit:
					return
				default:
				}
				p := fmt.Sprintf("mac/%d-%d", w, i%5)
				err := a.db.Update(context.Background(), p, func(tx storage.Tx) error {
					if _, err := tx.Get("last"); err != nil {
						return err
					}
					tx.Set("last", fmt.Append(nil, i))
					tx.Set(fmt.Sprintf("report/%08d", i), fmt.Append(nil, "report ", i))
					return nil
				})
				if err != nil && !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("Update: %v", err)
					return
				}
				if err == nil {
					a.mu.Lock()
					a.last[p] = i
					a.mu.Unlock()
					a.n.Add(1)
				}
			}
		})
	}
	return a
}

// more waits until so many more writes were acknowledged.
func (a *acknowledged) more(n int64) {
	a.t.Helper()
	want := a.n.Load() + n
	storagetest.Await(a.t, "acknowledged writes", func() error {
		if have := a.n.Load(); have < want {
			return fmt.Errorf("%d of %d", have, want)
		}
		return nil
	})
}

// check ends the writers, and holds what is there against what was acknowledged.
func (a *acknowledged) check() {
	a.t.Helper()
	close(a.quit)
	a.wg.Wait()
	for p, last := range a.last {
		if err := a.db.View(a.t.Context(), p, func(r storage.Reader) error {
			val, err := r.GetMany("last", fmt.Sprintf("report/%08d", last))
			if err != nil {
				return err
			}
			// A later write may have been done without being acknowledged; an acknowledged one may not be missing.
			var there int
			if _, err := fmt.Sscan(string(val[0]), &there); err != nil || there < last || string(val[1]) != fmt.Sprint("report ", last) {
				a.t.Errorf("%s: %q with report %q, but %d was acknowledged", p, val[0], val[1], last)
			}
			return nil
		}); err != nil {
			a.t.Error(err)
		}
	}
}

func TestKilledServerLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t, storagetest.AOF...)
	a := acknowledge(t, open(t, server.URL()))
	for range 3 {
		a.more(200)
		server.Kill()
		server.Restart()
	}
	a.more(200)
	a.check()
}

func TestConnectionsThatAreCutLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	proxy := storagetest.NewProxy(t, server.Addr())
	a := acknowledge(t, open(t, "redis://"+proxy.Addr()))
	for range 50 {
		a.more(20)
		proxy.Cut()
	}
	a.more(20)
	a.check()
}

func TestWait(t *testing.T) {
	t.Parallel()
	primary := storagetest.RedisServer(t, "--repl-diskless-sync-delay", "0")
	if db, err := Open(short(t), primary.URL()+"?wait=1"); err == nil || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open without the replica that it must wait for: %v, %v", db, err)
	}
	host, port, _ := strings.Cut(primary.Addr(), ":")
	replica := storagetest.RedisServer(t, "--replicaof", host+" "+port)
	plain := open(t, primary.URL())
	var db *DB
	storagetest.Await(t, "a replica", func() (err error) {
		db, err = Open(short(t), primary.URL()+"?wait=1")
		return err
	})
	defer db.Close() //nolint:errcheck // closed above all for goleak
	recovers(t, db)
	if err := set(t.Context(), db, "p", "key", "one"); err != nil {
		t.Error(err)
	}
	replica.Freeze()
	if err := set(short(t), db, "p", "key", "two"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a write that no replica has: %v", err)
	}
	if err := db.Drop(short(t), "p2"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a drop that no replica has: %v", err)
	}
	if err := db.Ping(short(t)); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Ping while no write can be acknowledged: %v", err)
	}
	if err := set(t.Context(), plain, "p", "key", "three"); err != nil {
		t.Errorf("a write that waits for nobody: %v", err)
	}
	replica.Thaw()
	recovers(t, db)
}

// A retry that is recognised must wait for the replicas as the first attempt would have.
func TestRecognisedRetryWaits(t *testing.T) {
	t.Parallel()
	primary := storagetest.RedisServer(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(primary.Addr(), ":")
	replica := storagetest.RedisServer(t, "--replicaof", host+" "+port)
	proxy := storagetest.NewProxy(t, primary.Addr())
	var db *DB
	storagetest.Await(t, "a replica", func() (err error) {
		db, err = Open(short(t), "redis://"+proxy.Addr()+"?wait=1")
		return err
	})
	defer db.Close() //nolint:errcheck // closed above all for goleak
	replica.Freeze()
	fired := proxy.LoseAnswer("a telling value")
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	go func() { done <- set(ctx, db, "p", "key", "a telling value") }()
	<-fired
	proxy.Refuse(false)
	if err := <-done; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a retry that no replica has: %v", err)
	}
	replica.Thaw()
}
