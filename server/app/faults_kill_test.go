package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

// kill -9 of the server at moments of its own choice, while Macs report, Macs enrol and policies are written.
func TestFaultServerKilled(t *testing.T) {
	for name, store := range map[string]func(t *testing.T) string{
		"bolt":  func(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "p.db") },
		"redis": func(t *testing.T) string { return storagetest.RedisServer(t, storagetest.AOF...).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			issuer, flags := behindProxy(t)
			p := start(t, store(t), flags...)
			l := newLoad(t, issuer, p)
			l.report(l.enrolAll(10))
			l.write(4)
			l.enrolMore(500)
			rng := rand.New(rand.NewPCG(5, 5))
			for range 5 {
				l.goesOn(10 + rng.Int64N(60))
				p.kill()
				p.run()
			}
			l.goesOn(10)
			l.kept(p)
			l.listed(p)
			l.inSync(p)
			p.kill()
			p.run()
			l.listed(p) // from what is stored alone
		})
	}
}

// away holds what a server answers while its store is not reachable.
func (l *load) away(p *process) {
	l.t.Helper()
	var wg sync.WaitGroup
	for path, want := range map[string]int{
		"/readyz":                      http.StatusServiceUnavailable,
		"/healthz":                     http.StatusOK,
		"/v1/devices/" + l.all()[0].id: http.StatusServiceUnavailable,
		"/v1/policies/no-such":         http.StatusNotFound, // from memory
		"/v1/compliance":               http.StatusOK,       // from memory
	} {
		wg.Go(func() {
			if got := p.status(path); got != want {
				l.t.Errorf("GET %s is answered %d while the store is away, want %d", path, got, want)
			}
		})
	}
	for method, path := range map[string]string{http.MethodPut: "/v1/policies/unwritten", http.MethodGet: "/v1/devices/" + l.all()[0].id + "/reports"} {
		wg.Go(func() { // ask holds the form of the answer
			status, b, err := l.ask(method, path, `{"name": "unwritten", "priority": 1, "updates": {"mode": "none"}}`)
			if err != nil || status != http.StatusServiceUnavailable {
				l.t.Errorf("%s %s is answered %d while the store is away: %s, %v", method, path, status, b, err)
			}
		})
	}
	wg.Wait()
	failed := l.stats.ServerErrors.Load()
	eventually(l.t, "Macs are answered 5xx", func() bool { return l.stats.ServerErrors.Load() > failed })
	l.nothingWrong()
}

// ready waits until the server says so by itself.
func (l *load) ready(p *process) {
	l.t.Helper()
	eventually(l.t, "the server is ready again", func() bool { return p.status("/readyz") == http.StatusOK })
}

// kill -9 of redis-server, and Redis that answers no more with its connections open: the server outlives both.
func TestFaultRedisAway(t *testing.T) {
	t.Parallel()
	redis := storagetest.RedisServer(t, storagetest.AOF...)
	issuer, flags := behindProxy(t)
	p := start(t, redis.URL(), flags...)
	l := newLoad(t, issuer, p)
	l.report(l.enrolAll(10))
	l.write(3)
	l.enrolMore(100)
	l.goesOn(50)
	redis.Kill()
	l.away(p)
	redis.Restart()
	l.ready(p)
	l.goesOn(50)
	redis.Freeze()
	l.away(p)
	redis.Thaw()
	l.ready(p)
	l.goesOn(50)
	l.kept(p)
	l.listed(p)
	l.inSync(p)
}

// The connection to Redis is cut in the middle of the commit of a report, before or after it was executed: it is counted once, and acknowledged.
func TestFaultConnectionCut(t *testing.T) {
	t.Parallel()
	redis := storagetest.RedisServer(t)
	proxy := storagetest.NewProxy(t, redis.Addr())
	issuer, flags := behindProxy(t)
	p := start(t, "redis://"+proxy.Addr(), flags...)
	l := newLoad(t, issuer, p)
	r := l.enrolAll(1)[0]
	commit := "mac/" + r.id + "}:k" // the second key, which only a commit names
	for i := range 6 {
		fault := map[bool]func(string) <-chan struct{}{false: proxy.LoseAnswer, true: proxy.LoseRequest}[i%2 == 0]
		fired := fault(commit)
		acked := make(chan error, 1)
		go func() { acked <- r.Report(context.Background(), true) }()
		select {
		case <-fired:
		case err := <-acked:
			t.Fatalf("a report was answered without a commit: %v", err)
		}
		proxy.Refuse(false)
		if err := <-acked; err != nil {
			t.Errorf("a report whose commit was repeated: %v", err)
		}
		if got, want := p.newestReport(r.id), r.acked.Load(); got != want || want != r.attempts.Load() {
			t.Fatalf("%d reports were sent, %d acknowledged, and the server has %d", r.attempts.Load(), want, got)
		}
	}
	// A policy likewise.
	for i, fault := range []func(string) <-chan struct{}{proxy.LoseAnswer, proxy.LoseRequest} {
		fired := fault("book}:k")
		go func() {
			<-fired
			proxy.Refuse(false)
		}()
		name := []string{"a", "b"}[i]
		p.call("POST", "/v1/policies", fmt.Sprintf(`{"name": %q, "priority": %d, "updates": {"mode": "none"}}`, name, i+1), http.StatusCreated, nil)
	}
}

// Redis answers more than 5 s late, which is how long the server waits: what that makes too late is not acknowledged, nothing is lost, and it passes.
func TestFaultSlowRedis(t *testing.T) {
	t.Parallel()
	redis := storagetest.RedisServer(t)
	proxy := storagetest.NewProxy(t, redis.Addr())
	issuer, flags := behindProxy(t)
	p := start(t, "redis://"+proxy.Addr(), flags...)
	l := newLoad(t, issuer, p)
	l.report(l.enrolAll(5))
	l.write(2)
	l.goesOn(20)
	proxy.Delay(storage.Timeout + time.Second)
	l.away(p)
	proxy.Delay(0)
	l.ready(p)
	l.goesOn(20)
	l.kept(p)
	l.inSync(p)
}
