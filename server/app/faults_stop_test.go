package app_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"plimsoll/storage/storagetest"
)

// SIGTERM under load: what was acknowledged is there afterwards, an open event stream ends, and the exit status is 0.
func TestFaultGracefulStop(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(t *testing.T) string{
		"bolt":  func(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "p.db") },
		"redis": func(t *testing.T) string { return storagetest.RedisServer(t, storagetest.AOF...).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			issuer, flags := behindProxy(t)
			p := start(t, store(t), flags...)
			l := newLoad(t, issuer, p)
			l.report(l.enrolAll(8))
			l.write(3)
			l.enrolMore(200)
			for range 3 {
				l.goesOn(30)
				ended := make(chan error, 1)
				stream := p.events()
				go func() {
					buf := make([]byte, 1<<10)
					for {
						if _, err := stream.Body.Read(buf); err != nil {
							ended <- stream.Body.Close()
							return
						}
					}
				}()
				overdue := time.AfterFunc(15*time.Second, func() { _ = p.cmd.Process.Kill() }) // 10 s are promised
				if code := p.stop(); code != 0 {
					t.Errorf("the exit status after SIGTERM is %d; -1 means that it had to be killed", code)
				}
				overdue.Stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				p.run()
			}
			l.goesOn(10)
			l.kept(p)
			l.listed(p)
			l.inSync(p)
		})
	}
}

// events opens the fleet's event stream.
func (p *process) events() *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.addr+"/v1/events", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("the event stream is answered %s", resp.Status)
	}
	return resp
}
