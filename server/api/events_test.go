package api

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
)

// listener is one client of the stream.
type listener struct {
	t      *testing.T
	res    *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
	id     string // the last one
}

func (r *rig) listen(srv *httptest.Server, query, lastID string) *listener {
	r.t.Helper()
	return r.listenAs(srv, adminSecret, query, lastID)
}

func (r *rig) listenAs(srv *httptest.Server, secret, query, lastID string) *listener {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/v1/events"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		cancel()
		r.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Content-Encoding") != "" {
		r.t.Fatalf("status %d, %v", res.StatusCode, res.Header)
	}
	return &listener{t: r.t, res: res, lines: bufio.NewScanner(res.Body), cancel: cancel}
}

func (l *listener) leave() {
	l.cancel()
	_ = l.res.Body.Close()
}

// next is the next event, and whether there was one.
func (l *listener) next() (fleet.Event, bool) {
	l.t.Helper()
	for l.lines.Scan() {
		line := l.lines.Text()
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			l.id = id
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e fleet.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				l.t.Fatal(err)
			}
			return e, true
		}
	}
	return fleet.Event{}, false
}

// enrolled reads until a Mac's enrolment comes by.
func (l *listener) enrolled(id string) {
	l.t.Helper()
	for {
		e, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream ended before %s enrolled", id)
		}
		if e.Type == "enrolled" && e.Device == id {
			return
		}
	}
}

func TestEventStream(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewServer(r.api.Handler())
	defer srv.Close()
	defer r.api.Close() // the server waits for its streams

	r.enrol(mac("1"))
	l := r.listen(srv, "", "")
	l.enrolled("UDID-1")
	r.enrol(mac("2"))
	l.enrolled("UDID-2")
	l.leave()
	if l.id == "" {
		t.Fatal("the stream gave no id")
	}

	// What happens while nobody listens is not lost.
	r.enrol(mac("3"))
	l = r.listen(srv, "?after=nonsense-that-the-header-overrides", l.id)
	l.enrolled("UDID-3")
	again := r.listen(srv, "?after="+l.id, "")
	r.enrol(mac("4"))
	again.enrolled("UDID-4")
	again.leave()

	// The server closes: the stream ends.
	r.api.Close()
	for {
		if _, ok := l.next(); !ok {
			break
		}
	}
	if err := l.lines.Err(); err != nil {
		t.Errorf("the stream did not end cleanly: %v", err)
	}
	l.leave()
}

// Every event has an id of its own, with which the stream and the list go on right behind it.
func TestEventStreamGoesOnAfterAnyEvent(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewServer(r.api.Handler())
	defer srv.Close()
	defer r.api.Close()
	r.enrol(mac("1"), mac("2"), mac("3"))
	r.awaitEnrolment("UDID-3", "")
	var all struct{ Events []fleet.Event }
	r.get("/v1/events", &all)

	l := r.listen(srv, "", "")
	defer l.leave()
	var ids []string
	for i, want := range all.Events {
		l.id = ""
		e, ok := l.next()
		if !ok || e.ID != want.ID || l.id == "" {
			t.Fatalf("event %d is %q with the id %q, want %q", i, e.ID, l.id, want.ID)
		}
		ids = append(ids, l.id)
	}
	for i, want := range all.Events[1:] {
		again := r.listen(srv, "", ids[i])
		if e, ok := again.next(); !ok || e.ID != want.ID {
			t.Errorf("after event %d comes %q, want %q", i, e.ID, want.ID)
		}
		again.leave()
		var rest struct{ Events []fleet.Event }
		if r.get("/v1/events?after="+ids[i], &rest); len(rest.Events) == 0 || rest.Events[0].ID != want.ID {
			t.Errorf("the list after event %d: %v, want %q first", i, rest.Events, want.ID)
		}
	}
}

func TestEventStreamHeartbeat(t *testing.T) {
	r := newRig(t)
	r.api.heartbeat = time.Millisecond
	srv := httptest.NewServer(r.api.Handler())
	defer srv.Close()
	defer r.api.Close()
	l := r.listen(srv, "", "")
	defer l.leave()
	for l.lines.Scan() {
		if strings.HasPrefix(l.lines.Text(), ":") {
			return
		}
	}
	t.Errorf("no heartbeat came: %v", l.lines.Err())
}

func TestEventStreamEndsWithItsToken(t *testing.T) {
	r := newRig(t)
	r.api.heartbeat = time.Millisecond
	srv := httptest.NewServer(r.api.Handler())
	defer srv.Close()
	defer r.api.Close()
	l := r.listenAs(srv, r.token("reader", "read"), "", "")
	defer l.leave()
	r.want(call{method: "DELETE", target: "/v1/tokens/reader"}, 204, nil)
	for {
		if _, ok := l.next(); !ok {
			break
		}
	}
	if err := l.lines.Err(); err != nil {
		t.Errorf("the stream did not end cleanly: %v", err)
	}
}

func TestEventStreamsAreFew(t *testing.T) {
	r := newRig(t)
	open := call{method: "HEAD", target: "/v1/events", header: []string{"Accept", "text/event-stream"}}
	for range maxStreamsEach {
		if _, ok := r.api.streams.Enter("admin-token"); !ok {
			t.Fatal("too few streams")
		}
	}
	r.want(open, 429, nil)
	open.as = r.token("other", "read") // has streams of its own
	r.want(open, 200, nil)
	for i := range maxStreams {
		r.api.streams.Enter(strconv.Itoa(i))
	}
	r.want(open, 429, nil)
}

// A stream gives its slot back when it opens: streams keep no request from being answered. Strangers take none at all.
func TestSlots(t *testing.T) {
	r := newRig(t)
	held, most := 0, 0
	full := false
	r.api = New(Options{Fleet: r.fleet, Log: slog.New(slog.DiscardHandler), Enter: func() (func(), bool) {
		if full {
			return nil, false
		}
		held++
		most = max(most, held)
		return func() { held-- }, true
	}})
	defer r.api.Close()
	r.want(call{method: "GET", target: "/v1/policies"}, 200, nil)
	if most != 1 || held != 0 {
		t.Errorf("a request held %d slots, and %d after it", most, held)
	}
	for _, stranger := range []string{"-", strings.Repeat("wrong", 10)} {
		most = 0
		r.want(call{method: "GET", target: "/v1/policies", as: stranger}, 401, nil)
		if most != 0 {
			t.Errorf("the stranger %q held a slot", stranger)
		}
	}
	full = true
	res := r.want(call{method: "GET", target: "/v1/policies"}, 503, nil)
	if res.Header().Get("Retry-After") == "" || !strings.Contains(res.Body.String(), `"busy"`) {
		t.Errorf("%v %s", res.Header(), res.Body)
	}
	full = false
	srv := httptest.NewServer(r.api.Handler())
	defer srv.Close()
	l := r.listenAs(srv, adminSecret, "", "")
	defer l.leave()
	if held != 0 {
		t.Errorf("an open stream holds %d slots", held)
	}
}

func TestEventsByCursor(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	next := r.awaitEnrolment("UDID-1", "")
	if next == "" {
		t.Fatal("a page with events has no cursor")
	}
	r.enrol(mac("2"))
	r.awaitEnrolment("UDID-2", next)
}

// awaitEnrolment reads the timeline until a Mac's enrolment comes by, and returns the cursor behind it: the timeline is written behind the Macs.
func (r *rig) awaitEnrolment(id, after string) string {
	r.t.Helper()
	for range 200 {
		var p struct {
			Events []fleet.Event
			Next   string `json:"next_cursor"`
		}
		r.get("/v1/events?after="+after, &p)
		for _, e := range p.Events {
			if e.Device == id && e.Type == "enrolled" {
				return p.Next
			}
		}
		if p.Next != "" {
			after = p.Next
		}
		waitForNews(r)
	}
	r.t.Fatalf("%s never came", id)
	return ""
}

// waitForNews waits until the fleet signals events, or long enough to look again.
func waitForNews(r *rig) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	<-r.fleet.Subscribe(ctx)
}
