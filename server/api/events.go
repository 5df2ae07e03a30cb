package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"plimsoll/server/rest"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/sheet"
)

func (a *API) listEvents(c echo.Context) error {
	limit, cursor, err := rest.Paging(c)
	if err != nil {
		return err
	}
	after, err := rest.Query(c, "after")
	if err != nil {
		return err
	}
	switch {
	case after == "":
		after = cursor
	case cursor != "" && cursor != after:
		return rest.BadParameter("after", "must not be given beside another cursor")
	}
	if rest.Prefers(c, "text/event-stream") {
		return a.streamEvents(c, after)
	}
	page, err := a.fleet.Events(c.Request().Context(), after, limit)
	if err != nil {
		return err
	}
	if len(page.Items) == 0 {
		page.Next = "" // the end, for now: the cursor that was asked with stays good
	}
	return rest.List(c, "events", page, sheet.Table)
}

const (
	streamPage     = 500
	streamPatience = 20 * time.Second // for a client that does not read
	streamRetry    = 3 * time.Second  // when a client should come back
)

// streamEvents sends events as they come, until the client leaves, the server closes, or the store fails; then the
// client comes back by itself. Every event has its cursor as its id: who is cut off anywhere goes on after the last
// event that arrived whole.
func (a *API) streamEvents(c echo.Context, after string) error {
	if last := c.Request().Header.Get("Last-Event-ID"); last != "" {
		after = last
	}
	leave, ok := a.streams.Enter(rest.Principal(c).Name)
	if !ok {
		return &rest.Problem{
			Status: http.StatusTooManyRequests,
			Code:   "rate_limited",
			Text:   "too many event streams are open",
			Retry:  30,
		}
	}
	defer leave()
	leaveSlot(c)
	// Subscribe first: what happens between reading and waiting is then waiting as a signal.
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	news := a.fleet.Subscribe(ctx)
	page, err := a.fleet.Events(ctx, after, streamPage)
	if err != nil {
		return err
	}
	s := stream{echo: c, control: http.NewResponseController(c.Response())}
	s.secret, _ = credentials(c.Request())
	if err := s.open(after); err != nil || c.Request().Method == http.MethodHead {
		return err
	}
	beat := time.NewTicker(a.heartbeat)
	defer beat.Stop()
	for {
		if err := s.send(page); err != nil {
			return nil // the client left
		}
		if len(page.Items) < streamPage && !a.wait(ctx, news, beat.C, &s) {
			return nil
		}
		if page.Next != "" {
			after = page.Next
		}
		if page, err = a.fleet.Events(ctx, after, streamPage); err != nil {
			return fmt.Errorf("read on in the events: %w", err)
		}
	}
}

// wait blocks until there may be news, keeping the connection alive; false: the stream is over.
func (a *API) wait(ctx context.Context, news <-chan struct{}, beat <-chan time.Time, s *stream) bool {
	pace := time.NewTimer(a.pace)
	defer pace.Stop()
	for {
		select {
		case _, open := <-news:
			if !open {
				return false
			}
			select {
			case <-pace.C: // many Macs report at once: read in pages, not event by event
			case <-ctx.Done():
				return false
			case <-a.closing:
				return false
			}
			return true
		case <-beat:
			if _, err := a.fleet.Identify(ctx, s.secret); errors.Is(err, fleet.ErrForbidden) {
				return false // the token was revoked
			}
			if s.write([]byte(": still here\n\n")) != nil {
				return false
			}
		case <-ctx.Done():
			return false
		case <-a.closing:
			return false
		}
	}
}

// stream is one client that listens.
type stream struct {
	echo    echo.Context
	control *http.ResponseController
	secret  string // the token, which may be revoked meanwhile
}

func (s *stream) open(after string) error {
	h := s.echo.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set(echo.HeaderCacheControl, "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would collect the events
	s.echo.Response().WriteHeader(http.StatusOK)
	first := fmt.Sprintf("retry: %d\n\n", streamRetry.Milliseconds())
	if after != "" {
		first = fmt.Sprintf("retry: %d\nid: %s\n\n", streamRetry.Milliseconds(), after)
	}
	return s.write([]byte(first))
}

func (s *stream) send(page fleet.Page[fleet.FleetEvent]) error {
	if len(page.Items) == 0 {
		return nil
	}
	var b bytes.Buffer
	for i := range page.Items {
		data, err := json.Marshal(&page.Items[i])
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "id: %s\ndata: %s\n\n", page.Items[i].Cursor, data)
	}
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) error {
	// A server's own write timeout is for answers, not for streams. Writers that know no deadline have none.
	_ = s.control.SetWriteDeadline(time.Now().Add(streamPatience))
	if _, err := s.echo.Response().Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}
