package mdm_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// stalled is a body that sends some bytes, tells that they are gone, and sends no more until the test ends.
type stalled struct {
	left int
	sent func()
	end  <-chan struct{}
}

func (s *stalled) Read(b []byte) (int, error) {
	if s.left > 0 {
		n := min(s.left, len(b))
		s.left -= n
		return n, nil
	}
	s.sent()
	<-s.end
	return 0, io.ErrUnexpectedEOF
}

// TestReplayedHeaderFillsNothing: the header of one message vouches for nobody's body. Whoever replays it with bodies that never end holds a
// bounded part of the memory, and others are answered meanwhile.
func TestReplayedHeaderFillsNothing(t *testing.T) {
	w := newWorld(t)
	mac, other := w.mac(macID), w.mac(otherID)
	mac.enrol()
	other.enrol()
	replayed := mac.request(checkinType, mac.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"})).Header
	const senders = 150
	end := make(chan struct{})
	var ended, settled sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range senders {
		settled.Add(1)
		once := sync.OnceFunc(settled.Done)
		ended.Go(func() {
			defer once()
			req := httptest.NewRequest(http.MethodPut, "/mdm", &stalled{left: 3 << 20, sent: once, end: end})
			req.Header, req.ContentLength = replayed.Clone(), 3<<20
			rec := httptest.NewRecorder()
			w.mdm.MDM().ServeHTTP(rec, req)
			if rec.Code == http.StatusTooManyRequests {
				mu.Lock()
				defer mu.Unlock()
				refused++
			}
		})
	}
	settled.Wait() // every body stalls or is refused
	var now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&now)
	want(t, "another Mac meanwhile", other.ddm("tokens", nil), http.StatusOK)
	close(end)
	ended.Wait()
	if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("the bodies of one header hold %d MiB", grown>>20)
	}
	if refused < senders-8 {
		t.Errorf("%d of %d were refused, want all but 8", refused, senders)
	}
	want(t, "the Mac itself, afterwards", mac.ddm("tokens", nil), http.StatusOK)
}

// TestSmallMessagesAreSmall: only a status report may be large.
func TestSmallMessagesAreSmall(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	long := strings.Repeat("x", 300<<10)
	for name, m := range map[string]message{
		"Authenticate":      {"MessageType": "Authenticate", "DeviceName": long},
		"TokenUpdate":       {"MessageType": "TokenUpdate", "PushMagic": long},
		"SetBootstrapToken": {"MessageType": "SetBootstrapToken", "BootstrapToken": []byte(long)},
		"tokens":            {"MessageType": "DeclarativeManagement", "Endpoint": "tokens", "Data": []byte(long)},
	} {
		want(t, name, mac.checkin(m), http.StatusRequestEntityTooLarge)
	}
	report := `{"StatusItems":{"x":"` + long + `"},"Errors":[]}`
	want(t, "a status report", mac.ddm("status", []byte(report)), http.StatusOK)
}
