// Package rollout is when and to whom: the calendar of deadlines with its freezes, the way of releases through the rings of a
// policy, and the exceptions of one Mac.
package rollout

import (
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// Page is a page of the room for the dashboard to show.
type Page struct {
	Status               int
	Name, Title, Section string // of the template, of the page, and of the navigation
	Model                any
}

// Write is a write that was tried, for the dashboard to finish: with its impact, with a question, or back on a page.
type Write struct {
	Title    string // what is done
	Back     string // the page that follows
	Word     string // of the notice on it
	Options  fleet.WriteOptions
	Impact   *fleet.Impact
	Warnings []policy.Reason
	Err      error
}

// Options are the things that the room needs of the dashboard around it.
type Options struct {
	Fleet  *fleet.Fleet
	Zone   *time.Location
	Now    func() time.Time
	Show   func(c echo.Context, p Page) error
	Finish func(c echo.Context, w Write) error
	// Posted are the options of the write that a form asks for.
	Posted func(c echo.Context) fleet.WriteOptions
}

// Room serves the pages. Safe for concurrent use.
type Room struct{ o Options }

// New makes the room.
func New(o Options) *Room { return &Room{o} }

// Routes adds the room's routes: those that read, those that write, and those of acts on one Mac.
func (r *Room) Routes(read, write, operate func(path string, h echo.HandlerFunc)) {
	read("/calendar", r.calendarPage)
	write("/calendar/freezes", r.freezePut)
	write("/calendar/freezes/delete", r.freezeDelete)
	write("/policies/:name/open", r.openRing)
	operate("/devices/:id/exemption", r.exemptionPut)
	operate("/devices/:id/exemption/end", r.exemptionEnd)
	operate("/devices/:id/update", r.updatePut)
	operate("/devices/:id/update/end", r.updateEnd)
}

func (r *Room) when(t time.Time) view.Moment { return view.MomentOf(t, r.o.Now(), r.o.Zone) }

// unprocessable is an error of a parameter that the address carries.
func unprocessable(text string) error {
	return &fleet.Error{Kind: fleet.ErrInvalid, Code: "bad_parameter", Text: text}
}
