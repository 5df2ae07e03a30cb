package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"plimsoll/storage/storagetest"
)

// metric is the value of a metric without labels.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+p.addr+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	p.t.Fatalf("there is no metric %s: %s", name, resp.Status)
	return 0
}

// leader waits until exactly one of the replicas leads, and returns its number.
func leader(t *testing.T, replicas ...*process) (who int) {
	t.Helper()
	eventually(t, "exactly one replica leads", func() bool {
		n := 0
		for i, p := range replicas {
			if p.metric("plimsoll_leader") == 1 {
				n, who = n+1, i
			}
		}
		if n > 1 {
			t.Errorf("%d replicas lead at once", n)
		}
		return n == 1
	})
	return who
}

// alike waits until all replicas count the same.
func alike(t *testing.T, replicas ...*process) {
	t.Helper()
	var counts []string
	defer func() { t.Logf("counted by each replica: %v", counts) }()
	eventually(t, "all replicas count the same", func() bool {
		counts = nil
		for _, p := range replicas {
			counts = append(counts, fmt.Sprint(p.compliance().States))
		}
		return len(slices.Compact(slices.Clone(counts))) == 1
	})
}

// Three replicas on one Redis: what is written on one is in force on all and any may serve any Mac; one leads; and when it is killed in the middle
// of a sweep, another takes over and tells the rest of the Macs.
func TestReplicas(t *testing.T) {
	t.Parallel()
	redis := storagetest.RedisServer(t)
	issuer, flags := behindProxy(t)
	var replicas []*process
	var proxies []*storagetest.Proxy // to slow one replica down
	for range 3 {
		proxy := storagetest.NewProxy(t, redis.Addr())
		proxies = append(proxies, proxy)
		replicas = append(replicas, start(t, "redis://"+proxy.Addr(), flags...))
	}
	l := newLoad(t, issuer, replicas...)
	first := leader(t, replicas...)
	const macs = 120
	l.enrolAll(macs)
	for _, p := range replicas {
		l.listed(p)
	}
	for i, p := range replicas {
		begun := time.Now()
		p.call("PUT", "/v1/policies/everyone", everyoneAt(i), map[bool]int{true: http.StatusCreated, false: http.StatusOK}[i == 0], nil)
		for _, other := range replicas {
			eventually(t, "the policy is in force on the other replicas", func() bool {
				var got struct{ Label string }
				other.call("GET", "/v1/policies", "", http.StatusOK, nil)
				if other.status("/v1/policies/everyone") != http.StatusOK {
					return false
				}
				other.call("GET", "/v1/policies/everyone", "", http.StatusOK, &got)
				return got.Label == fmt.Sprint(i)
			})
		}
		t.Logf("in force on all after %v", time.Since(begun).Round(time.Millisecond))
		l.through(replicas[(i+1)%len(replicas)]) // another serves the Macs
		l.inSync(p)
	}
	for _, p := range replicas {
		eventually(t, "the index is right on every replica", func() bool {
			c := p.compliance()
			n := 0
			for _, of := range c.States {
				n += of
			}
			return c.Devices == macs && n == macs && c.States["unmanaged"]+c.States["unknown"] == 0
		})
	}
	alike(t, replicas...)

	proxies[first].Delay(20 * time.Millisecond)
	told := replicas[first].metric("plimsoll_commands_total")
	survivors := append(append([]*process(nil), replicas[:first]...), replicas[first+1:]...)
	survivors[0].call("PUT", "/v1/policies/everyone", everyoneAt(99), http.StatusOK, nil)
	done := 0.0
	eventually(t, "the sweep has begun", func() bool {
		done = replicas[first].metric("plimsoll_commands_total") - told
		return done > 0
	})
	replicas[first].kill()
	t.Logf("the leader was killed after it had told %v of %d Macs", done, macs)
	l.through(survivors...)
	leader(t, survivors...)
	for _, p := range survivors {
		l.inSync(p)
	}
	proxies[first].Delay(0)
	replicas[first].run() // it comes back as one of the others
	leader(t, replicas...)
	l.listed(replicas[first])
	l.through(replicas[first])
	l.inSync(replicas[first])
}
