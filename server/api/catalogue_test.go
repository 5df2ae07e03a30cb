package api

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// Who asks too often is told how long is left, in whole seconds.
func TestRetryAfterIsWhatIsLeft(t *testing.T) {
	r := newRig(t)
	for wait, want := range map[time.Duration]string{time.Minute: "60", 17 * time.Second: "17", 100 * time.Millisecond: "1"} {
		path := "/test/" + strconv.Itoa(int(wait))
		r.api.echo.GET(path, func(echo.Context) error {
			return errors.Join(&fleet.Error{Kind: fleet.ErrConflict, Code: "rate_limited", Text: "too often", Wait: wait})
		})
		res := r.send(call{method: "GET", target: path})
		if got := res.Header().Get("Retry-After"); res.Code != 429 || got != want {
			t.Errorf("%v left: %d, Retry-After %q, want %s", wait, res.Code, got, want)
		}
	}
}
