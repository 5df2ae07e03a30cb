package app_test

import (
	"net"
	"net/http"
	"testing"

	"plimsoll/storage/storagetest"
)

// The primary is killed and Sentinel promotes its replica: with wait=1 nothing that was acknowledged is lost.
func TestFaultSentinelFailover(t *testing.T) {
	t.Parallel()
	s := storagetest.RedisSentinel(t)
	issuer, flags := behindProxy(t)
	p := start(t, s.URL()+"&wait=1", flags...)
	l := newLoad(t, issuer, p)
	l.report(l.enrolAll(10))
	l.write(3)
	l.enrolMore(100)
	l.goesOn(50)
	s.FailOver()
	s.Primary.Restart()
	host, port, err := net.SplitHostPort(s.Replica.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Primary.Ask("REPLICAOF", host, port); err != nil { // as the sentinels would, 10 s later
		t.Fatal(err)
	}
	l.ready(p)
	l.goesOn(50)
	l.kept(p)
	l.listed(p)
	l.inSync(p)
}

// A failover without wait loses the newest writes, a policy's among them. What is there then is in force on every replica; no Mac and no replica
// holds on to what is lost, and the next policy is in force too.
func TestFaultWritesLost(t *testing.T) {
	t.Parallel()
	redis := storagetest.RedisServer(t)
	issuer, flags := behindProxy(t)
	a, b := start(t, redis.URL(), flags...), start(t, redis.URL(), flags...)
	l := newLoad(t, issuer, a, b)
	l.enrolAll(6)
	everywhere := func(name string, want int) {
		t.Helper()
		for _, p := range []*process{a, b} {
			eventually(t, name+" on every replica", func() bool { return p.status("/v1/policies/"+name) == want })
		}
	}
	a.call("POST", "/v1/policies", `{"name": "kept", "priority": 1, "updates": {"mode": "none"}}`, http.StatusCreated, nil)
	everywhere("kept", http.StatusOK)
	book := func(from, to string) {
		t.Helper()
		for _, key := range []string{"", ":k"} {
			if answer, err := redis.Ask("COPY", "plimsoll:{"+from+"}"+key, "plimsoll:{"+to+"}"+key, "REPLACE"); err != nil || answer != "1" {
				t.Fatal(answer, err)
			}
		}
	}
	book("book", "before")
	a.call("PUT", "/v1/policies/everyone", everyoneAt(1), http.StatusCreated, nil)
	everywhere("everyone", http.StatusOK)
	l.inSync(b)
	book("before", "book")
	everywhere("everyone", http.StatusNotFound)
	everywhere("kept", http.StatusOK)
	l.inSync(a)
	l.inSync(b)
	b.call("POST", "/v1/policies", `{"name": "next", "priority": 2, "updates": {"mode": "none"}}`, http.StatusCreated, nil)
	everywhere("next", http.StatusOK)
	l.inSync(a)
}
