package mdm_test

import (
	"net/http"
	"strings"
	"testing"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

// A store that is away is a 503 that tells when to come back, and nothing of where the store is; that stands in the log.
func TestNanoMDMsAPIWhileTheStoreIsAway(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	ids := w.enrolled(2)
	w.storePushCert(pushTopic)
	certPEM, keyPEM := pushPair(t, pushTopic)
	cmd := []byte(`<plist version="1.0"><dict><key>CommandUUID</key><string>ABC</string>
<key>Command</key><dict><key>RequestType</key><string>ProfileList</string></dict></dict></plist>`)
	const secret = "faulty database" // begins what the store says
	both := strings.Join(ids, ",")
	for name, ask := range map[string]func() answer{
		"pushcert":            func() answer { return w.put("/v1/pushcert", append(certPEM, keyPEM...)) },
		"push":                func() answer { return w.get("/v1/push/" + ids[0]) },
		"push to two":         func() answer { return w.get("/v1/push/" + both) },
		"enqueue":             func() answer { return w.put("/v1/enqueue/"+ids[0], cmd) },
		"enqueue for two":     func() answer { return w.put("/v1/enqueue/"+both, cmd) },
		"enqueue, not push":   func() answer { return w.put("/v1/enqueue/"+ids[0]+"?nopush=1", cmd) },
		"push, by an enqueue": func() answer { return w.put("/v1/enqueue/"+ids[0], nil) },
	} {
		before := strings.Count(w.logged.String(), secret)
		w.db.Set(storagetest.Fault{Down: true})
		got := ask()
		w.db.Set(storagetest.Fault{})
		want(t, name, got, http.StatusServiceUnavailable)
		if got.header.Get("Retry-After") == "" || got.contentType() != "application/json" || strings.Contains(got.body, secret) {
			t.Errorf("%s: %v %s", name, got.header, got.body)
		}
		if n := strings.Count(w.logged.String(), secret) - before; n != 1 {
			t.Errorf("%s: the log says why %d times, want once", name, n)
		}
	}
	// Who got nothing is not pushed to: that would wait for the store again.
	w.db.Set(storagetest.Fault{Down: true, Times: 1})
	want(t, "enqueue, with the store back right after", w.put("/v1/enqueue/"+ids[0], cmd), http.StatusServiceUnavailable)
	if len(a.pushed) != 0 {
		t.Errorf("pushed: %v", a.pushed)
	}
	// What reached one of two is NanoMDM's 207.
	w.db.Set(storagetest.Fault{Down: true, Partition: storage.MacPartition(ids[1])})
	got := w.put("/v1/enqueue/"+both+"?nopush=1", cmd)
	w.db.Set(storagetest.Fault{})
	want(t, "enqueue with one Mac away", got, http.StatusMultiStatus)
	if strings.Contains(got.body, secret) {
		t.Errorf("enqueue with one Mac away: %s", got.body)
	}
	want(t, "enqueue again", w.put("/v1/enqueue/"+both, cmd), http.StatusOK)
}

// The client's own mistakes at enqueue are no fault of ours: 409 for a UUID in use, 404 for a Mac that is not enrolled.
func TestMistakesAtEnqueue(t *testing.T) {
	w := newWorld(t)
	ids := w.enrolled(2)
	command := func(requestType string) []byte {
		return []byte(`<plist version="1.0"><dict><key>CommandUUID</key><string>ABC</string><key>Command</key><dict><key>RequestType</key><string>` + requestType + `</string></dict></dict></plist>`)
	}
	const unknown = "99999999-9999-4999-8999-999999999999"
	want(t, "the first", w.put("/v1/enqueue/"+ids[0]+"?nopush=1", command("ProfileList")), http.StatusOK)
	want(t, "the very same again", w.put("/v1/enqueue/"+ids[0]+"?nopush=1", command("ProfileList")), http.StatusOK)
	for _, c := range []struct {
		name, ids string
		status    int
	}{
		{"a UUID in use", ids[0], http.StatusConflict},
		{"a Mac that is not enrolled", unknown, http.StatusNotFound},
		{"one of each", ids[0] + "," + unknown, http.StatusConflict},
		{"one that is right", ids[0] + "," + ids[1], http.StatusMultiStatus},
	} {
		got := w.put("/v1/enqueue/"+c.ids+"?nopush=1", command("DeviceInformation"))
		want(t, c.name, got, c.status)
		if !strings.Contains(got.body, "command_error") {
			t.Errorf("%s: %s", c.name, got.body)
		}
	}
}
