package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"plimsoll/server/rest"

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

func (a *API) streamEvents(c echo.Context, after string) error {
	return a.stream(c, after, a.fleet.Subscribe, func(ctx context.Context, after string) (frames []frame, err error) {
		page, err := a.fleet.Events(ctx, after, streamPage)
		for i := range page.Items {
			frames = append(frames, frame{page.Items[i].Cursor, &page.Items[i]})
		}
		return frames, err
	})
}

// frame is one message of an event stream. Its id is where to go on after it.
type frame struct {
	id   string
	data any
}

// stream sends what read finds after an id, at most streamPage at a time, as it comes, until the client leaves, the server
// closes, or the store fails; then the client comes back by itself. Who is cut off anywhere goes on after
// the last message that arrived whole.
func (a *API) stream(c echo.Context, after string, subscribe func(context.Context) <-chan struct{},
	read func(ctx context.Context, after string) ([]frame, error),
) error {
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
	news := subscribe(ctx)
	page, err := read(ctx, after)
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
		if len(page) < streamPage && !a.wait(ctx, news, beat.C, &s) {
			return nil
		}
		if len(page) > 0 {
			after = page[len(page)-1].id
		}
		if page, err = read(ctx, after); err != nil {
			return fmt.Errorf("read on for a stream: %w", err)
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

func (s *stream) send(page []frame) error {
	if len(page) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, f := range page {
		data, err := json.Marshal(f.data)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "id: %s\ndata: %s\n\n", f.id, data)
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
