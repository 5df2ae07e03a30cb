package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/storage/storagetest"
)

// A replica is killed while it opens a ring, between the commit and its answer: the ring is open for all, and the timeline
// tells it once, because the next leader brings there what the dead one left in the book.
func TestReplicasKilledWhileOpeningARing(t *testing.T) {
	t.Parallel()
	redis := storagetest.RedisServer(t)
	var replicas []*process
	var proxies []*storagetest.Proxy
	for range 3 {
		proxy := storagetest.NewProxy(t, redis.Addr())
		proxies = append(proxies, proxy)
		replicas = append(replicas, start(t, "redis://"+proxy.Addr()))
	}
	first := leader(t, replicas...)
	dying := replicas[first]
	survivors := append(append([]*process(nil), replicas[:first]...), replicas[first+1:]...)
	dying.call("POST", "/v1/policies", inRings, http.StatusCreated, nil)
	opened := func(p *process) bool {
		var r fleet.Rings
		if p.status("/v1/policies/ringed/rings") != http.StatusOK {
			return false
		}
		p.call("GET", "/v1/policies/ringed/rings", "", http.StatusOK, &r)
		for _, rel := range r.Releases {
			if rel.Build == "25G83" && rel.Rings[1].OpenSince != nil {
				return true
			}
		}
		return false
	}
	const open = `{"ring":"broad","reason":"tested"}`
	proxies[first].Delay(300 * time.Millisecond) // the commit and what follows are seconds apart
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		req, err := http.NewRequest(http.MethodPost, "http://"+dying.addr+"/v1/policies/ringed/rings/25G83/open", strings.NewReader(open))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		if resp, err := http.DefaultClient.Do(req); err == nil { // it may be cut off
			_ = resp.Body.Close()
		}
	}()
	eventually(t, "the ring is open on the others", func() bool { return opened(survivors[0]) && opened(survivors[1]) })
	dying.kill()
	<-answered
	proxies[first].Delay(0)
	told := func(p *process) (n int) {
		var page struct{ Events []fleet.Event }
		p.call("GET", "/v1/events?limit=1000", "", http.StatusOK, &page)
		for _, e := range page.Events {
			if e.Type == "ring_opened" && e.Device == "" && e.Data["build"] == "25G83" {
				n++
			}
		}
		return n
	}
	leader(t, survivors...)
	for _, p := range survivors {
		eventually(t, "the timeline tells it", func() bool { return told(p) > 0 })
		var res fleet.RingResult
		if p.call("POST", "/v1/policies/ringed/rings/25G83/open", open, http.StatusOK, &res); res.Changed {
			t.Error("it is opened again")
		}
	}
	dying.run()
	leader(t, replicas...)
	eventually(t, "the ring is open on the one that came back", func() bool { return opened(dying) })
	for _, p := range replicas {
		if n := told(p); n != 1 {
			t.Errorf("the timeline tells it %d times", n)
		}
	}
}
