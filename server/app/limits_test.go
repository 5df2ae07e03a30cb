package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// meeting is a place where one side waits until the other lets it go.
type meeting struct{ there, leave chan struct{} }

func newMeeting() meeting { return meeting{make(chan struct{}), make(chan struct{})} }

func (m meeting) wait() { close(m.there); <-m.leave }

// Read is a body that does not come.
func (m meeting) Read([]byte) (int, error) {
	m.wait()
	return 0, io.ErrUnexpectedEOF
}

// ask sends a request to a handler and returns its status.
func ask(h http.Handler, method, path string, body io.Reader) *httptest.ResponseRecorder {
	res := httptest.NewRecorder()
	h.ServeHTTP(res, httptest.NewRequest(method, path, body))
	return res
}

// pages reads whole bodies and answers what is too much to be sent before a handler returns.
var pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if b, err := io.ReadAll(r.Body); err != nil || r.Method == http.MethodPost && string(b) != "token=x" {
		http.Error(w, "the form did not come", http.StatusTeapot)
		return
	}
	_, _ = io.WriteString(w, strings.Repeat("page", 2<<10))
})

// Somebody who sends a form slowly, and need not be known, keeps nobody else from being answered.
func TestLimitsSlowForms(t *testing.T) {
	for _, path := range []string{"/login", "/self/x/delay"} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			t.Run(method+" "+path, func(t *testing.T) {
				h := limitInFlight(make(slots, 1), pages)
				slow := newMeeting()
				done := make(chan int)
				go func() { done <- ask(h, method, path, slow).Code }()
				<-slow.there
				if got := ask(h, http.MethodGet, "/devices", nil).Code; got != http.StatusOK {
					t.Errorf("another request is answered %d", got)
				}
				close(slow.leave)
				if got := <-done; got != http.StatusBadRequest {
					t.Errorf("a body that ended before its end is answered %d", got)
				}
			})
		}
	}
}

func TestLimitsForms(t *testing.T) {
	h := limitInFlight(make(slots, 1), pages)
	large := strings.Repeat("A", 16<<10+1)
	for name, tt := range map[string]struct {
		body io.Reader
		want int
	}{
		"a form":                       {strings.NewReader("token=x"), http.StatusOK},
		"of a length not announced":    {iotest.OneByteReader(strings.NewReader("token=x")), http.StatusOK},
		"too large":                    {strings.NewReader(large), http.StatusRequestEntityTooLarge},
		"too large, and not announced": {iotest.DataErrReader(strings.NewReader(large)), http.StatusRequestEntityTooLarge},
		"cut":                          {iotest.ErrReader(errors.New("cut")), http.StatusBadRequest},
	} {
		if got := ask(h, http.MethodPost, "/login", tt.body).Code; got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// unread is a client that takes nothing of its answer.
type unread struct {
	*httptest.ResponseRecorder
	meeting
	deadline bool
}

func (u *unread) SetWriteDeadline(at time.Time) error {
	u.deadline = time.Now().Before(at)
	return nil
}

func (u *unread) Write(b []byte) (int, error) {
	if !u.deadline {
		return 0, errors.New("nothing ends this")
	}
	u.wait()
	return u.ResponseRecorder.Write(b)
}

// Somebody who does not read a page keeps nobody else from being answered, and is not waited for without end.
func TestLimitsSlowReaders(t *testing.T) {
	h := limitInFlight(make(slots, 1), pages)
	u := &unread{ResponseRecorder: httptest.NewRecorder(), meeting: newMeeting()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(u, httptest.NewRequest(http.MethodGet, "/login", nil))
	}()
	select {
	case <-u.there:
	case <-done:
		t.Fatal("nothing ends an answer that is not read")
	}
	if got := ask(h, http.MethodGet, "/devices", nil).Code; got != http.StatusOK {
		t.Errorf("another request is answered %d", got)
	}
	close(u.leave)
	if <-done; u.Body.Len() != 8<<10 {
		t.Errorf("the page that was read at last has %d bytes", u.Body.Len())
	}
}

// While every slot is taken, what tells whether the server lives is answered, and what lies in memory; the rest is told to come again.
func TestLimitsWhenFull(t *testing.T) {
	h := limitInFlight(nil, pages)
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/schemas/policy.json", "/assets/app.css", "/mdm", "/v1/compliance", "/metrics", "/stream"} {
		if got := ask(h, http.MethodGet, path, nil).Code; got != http.StatusOK {
			t.Errorf("%s is answered %d", path, got)
		}
	}
	for _, path := range []string{"/", "/login", "/devices"} {
		if res := ask(h, http.MethodGet, path, nil); res.Code != http.StatusServiceUnavailable || res.Header().Get("Retry-After") == "" {
			t.Errorf("%s is answered %d, Retry-After %q", path, res.Code, res.Header().Get("Retry-After"))
		}
	}
}

// What a handler writes arrives whole, with its status, whatever its size and however it is written; a stream arrives as it is flushed.
func TestLimitsLetAnswersThrough(t *testing.T) {
	for name, sizes := range map[string][]int{"nothing": nil, "a page": {10, 20}, "many": {1, 64 << 10, 3, 200 << 10, 5}} {
		h := limitInFlight(make(slots, 1), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			for i, n := range sizes {
				_, _ = io.WriteString(w, strings.Repeat(string(rune('a'+i)), n))
			}
		}))
		want := ""
		for i, n := range sizes {
			want += strings.Repeat(string(rune('a'+i)), n)
		}
		if res := ask(h, http.MethodGet, "/", nil); res.Code != http.StatusAccepted || res.Body.String() != want {
			t.Errorf("%s: %d with %d bytes, want %d", name, res.Code, res.Body.Len(), len(want))
		}
	}
	res := httptest.NewRecorder()
	limitInFlight(make(slots, 1), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "event")
		if err := http.NewResponseController(w).Flush(); err != nil || !res.Flushed || res.Body.String() != "event" {
			t.Errorf("flushed: %q, %v", res.Body, err)
		}
	})).ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/stream", nil))
}

// A stop ends event streams, whatever they are asked for with.
func TestLimitsStopStreams(t *testing.T) {
	for path, accept := range map[string]string{"/stream": "", "/v1/events": "text/event-stream"} {
		s := &Server{}
		s.stopping, s.stop = context.WithCancel(context.Background())
		s.stop()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // the most that a stop may take
		r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
		r.Header.Set("Accept", accept)
		s.endStreams(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })).ServeHTTP(httptest.NewRecorder(), r)
		if ctx.Err() != nil {
			t.Errorf("%s did not end", path)
		}
		cancel()
	}
}

// The dashboard's streams are in no slot, and one session has no more than its share of them.
func TestLimitsStreams(t *testing.T) {
	open, end := make(chan struct{}), make(chan struct{})
	h := limitInFlight(make(slots, 1), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			open <- struct{}{}
			<-end
		}
	}))
	stream := func(session string) int {
		r := httptest.NewRequest(http.MethodGet, "/stream", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-plimsoll_session", Value: session})
		res := httptest.NewRecorder()
		h.ServeHTTP(res, r)
		return res.Code
	}
	done := make(chan int)
	const each = 8
	for range each {
		go func() { done <- stream("mine") }()
		<-open
	}
	if got := stream("mine"); got != http.StatusServiceUnavailable {
		t.Errorf("the ninth stream of a session is answered %d", got)
	}
	go func() { done <- stream("another's") }()
	<-open
	if got := ask(h, http.MethodGet, "/devices", nil).Code; got != http.StatusOK {
		t.Errorf("beside the streams a page is answered %d", got)
	}
	close(end)
	for range each + 1 {
		if got := <-done; got != http.StatusOK {
			t.Errorf("a stream is answered %d", got)
		}
	}
}
