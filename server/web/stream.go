package web

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// streamPulse is how often a stream shows that it lives, and looks whether its session still does.
const streamPulse = 20 * time.Second

// stream tells a page that there may be something new. It carries no data: the page then asks for itself again.
func (w *Web) stream(c echo.Context) error {
	ctx := c.Request().Context()
	changed := w.fleet.Subscribe(ctx)
	out := c.Response()
	// What the server allows other answers to take does not hold for one that never ends.
	if err := http.NewResponseController(out.Writer).SetWriteDeadline(time.Time{}); err != nil {
		w.log.Debug("a stream keeps the server's write timeout", "error", err)
	}
	out.Header().Set(echo.HeaderContentType, "text/event-stream")
	out.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	out.WriteHeader(http.StatusOK)
	pulse := time.NewTicker(streamPulse)
	defer pulse.Stop()
	for line := "retry: 5000\n\n"; ; {
		if _, err := out.Write([]byte(line)); err != nil {
			return nil // the page is gone
		}
		out.Flush()
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return nil
			}
			line = "event: changed\ndata: {}\n\n"
		case <-pulse.C:
			if w.current(c) == nil {
				return nil
			}
			line = ": still here\n\n"
		}
	}
}
