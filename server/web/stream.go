package web

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	streamPulse    = 20 * time.Second // how often a stream shows that it lives, and looks whether its session still does
	streamPatience = 20 * time.Second // for a page that does not read
)

// stream tells a page that there may be something new. It carries no data: the page then asks for itself again.
func (w *Web) stream(c echo.Context) error {
	ctx := c.Request().Context()
	changed := w.fleet.Subscribe(ctx)
	out := c.Response()
	control := http.NewResponseController(out)
	out.Header().Set(echo.HeaderContentType, "text/event-stream")
	out.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	out.WriteHeader(http.StatusOK)
	pulse := time.NewTicker(streamPulse)
	defer pulse.Stop()
	for line := "retry: 5000\n\n"; ; {
		// A server's own write timeout is for answers, not for streams. Writers that know no deadline have none.
		_ = control.SetWriteDeadline(time.Now().Add(streamPatience))
		if _, err := out.Write([]byte(line)); err != nil || control.Flush() != nil {
			return nil // the page is gone
		}
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return nil
			}
			line = "event: changed\ndata: {}\n\n"
		case <-pulse.C:
			if w.sessions.Current(c) == nil {
				return nil
			}
			line = ": still here\n\n"
		}
	}
}
