package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"plimsoll/examples/macs/sim"
)

// kept holds what was acknowledged against what a server has. Nothing is under way meanwhile: the load has ended.
func (l *load) kept(p *process) {
	l.t.Helper()
	l.end()
	l.nothingWrong()
	all := l.all()
	for _, r := range all {
		if n := p.newestReport(r.id); n < r.acked.Load() || n > r.attempts.Load() {
			l.t.Errorf("%s: %d reports were acknowledged and %d sent, the server has %d", r.serial, r.acked.Load(), r.attempts.Load(), n)
		}
	}
	for _, a := range l.admins {
		if a.acked == 0 {
			continue
		}
		var got struct{ Label string }
		eventually(l.t, "the last policy that was acknowledged, perhaps by another replica, is in force", func() bool {
			p.patiently("/v1/policies/"+a.name, &got)
			n, err := strconv.Atoi(got.Label)
			return err != nil || n >= a.acked
		})
		if n, err := strconv.Atoi(got.Label); err != nil || n < a.acked || n > a.attempts {
			l.t.Errorf("policy %s: write %d was acknowledged and %d sent, the server has %q", a.name, a.acked, a.attempts, got.Label)
		}
	}
	reports, policies := l.acked()
	l.t.Logf("%d Macs enrolled, %d reports and %d policy writes acknowledged; %d answers 5xx, %d requests without an answer",
		len(all), reports, policies, l.stats.ServerErrors.Load(), l.stats.Unreachable.Load())
}

// listed waits until every Mac whose enrolment was acknowledged is in the lists and counts of a server.
func (l *load) listed(p *process) {
	l.t.Helper()
	all := l.all()
	var missing []string
	defer func() {
		if l.t.Failed() {
			l.t.Logf("not listed: %v", missing)
		}
	}()
	eventually(l.t, "every Mac is listed", func() bool {
		there := map[string]bool{}
		for cursor := ""; ; {
			var page struct {
				Devices    []device
				NextCursor string `json:"next_cursor"`
			}
			p.patiently("/v1/devices?limit=1000&cursor="+cursor, &page)
			for _, d := range page.Devices {
				there[d.ID] = true
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		missing = nil
		for _, r := range all {
			if !there[r.id] {
				missing = append(missing, r.serial)
			}
		}
		var c compliance
		p.patiently("/v1/compliance", &c)
		return len(missing) == 0 && c.Devices >= len(all) // one more may have enrolled without learning of it
	})
}

// inSync lets every Mac look at its queue until it holds what it is to hold: nobody else makes it sync. One whose enrolment was taken, and whose
// answer was lost, does not know that it is enrolled.
func (l *load) inSync(p *process) {
	l.t.Helper()
	ours := map[string]bool{}
	for _, r := range l.all() {
		ours[r.id] = true
	}
	eventually(l.t, "every Mac holds the right declarations", func() bool {
		l.each(l.all(), func(r *reporter) error {
			if err := r.Poll(context.Background()); err != nil && !sim.IsTemporary(err) {
				return err
			}
			return nil
		})
		var page struct{ Devices []device }
		p.patiently("/v1/devices?limit=1000&flag=not_synced", &page)
		return !slices.ContainsFunc(page.Devices, func(d device) bool { return ours[d.ID] })
	})
	for _, r := range l.all() {
		if got := p.served(r.id); got != r.Token() {
			l.t.Errorf("%s holds %q, the server says %q", r.serial, r.Token(), got)
		}
	}
	l.nothingWrong()
}

// patiently is call that waits when one token has asked too often.
func (p *process) patiently(path string, v any) {
	p.t.Helper()
	eventually(p.t, "GET "+path, func() bool {
		status, b := p.request(http.MethodGet, path, "")
		if status == http.StatusTooManyRequests {
			return false
		}
		if status != http.StatusOK {
			p.t.Fatalf("GET %s: %d: %s", path, status, b)
		}
		if err := json.Unmarshal(b, v); err != nil {
			p.t.Fatalf("GET %s: %v: %s", path, err, b)
		}
		return true
	})
}

// newestReport is the number of a Mac's newest report: how many there were in all.
func (p *process) newestReport(id string) int64 {
	p.t.Helper()
	var page struct{ Reports []struct{ ID string } }
	p.patiently("/v1/devices/"+id+"/reports?limit=1", &page)
	if len(page.Reports) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(page.Reports[0].ID, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// served is the token of the manifest that was served to a Mac last.
func (p *process) served(id string) string {
	p.t.Helper()
	var served struct {
		Token string `json:"declarations_token"`
	}
	p.patiently("/v1/devices/"+id+"/declarations", &served)
	return served.Token
}

// status is the status of a request without a body; 0 when there was no answer within the time of a client.
func (p *process) status(path string) int {
	client := &http.Client{Timeout: 20 * time.Second}
	req, err := http.NewRequest(http.MethodGet, "http://"+p.addr+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := client.Do(req)
	if err != nil {
		var ne net.Error
		if !errors.As(err, &ne) {
			p.t.Fatal(err)
		}
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
