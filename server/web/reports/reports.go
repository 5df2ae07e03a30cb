// Package reports shows how fast releases reached the Macs: curves of the last releases, limits by policy and group, and the late
// Macs.
package reports

import (
	"cmp"
	"errors"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/proof"
	"plimsoll/server/web/view"
	"plimsoll/status/patching"
)

// Options are the things that the room needs of the dashboard around it.
type Options struct {
	Fleet *fleet.Fleet
	// Show shows the page.
	Show func(c echo.Context, m Page) error
}

// Room serves the page. Safe for concurrent use.
type Room struct{ o Options }

// New makes the room.
func New(o Options) *Room { return &Room{o} }

// Routes adds the room's route.
func (r *Room) Routes(read func(path string, h echo.HandlerFunc)) { read("/reports", r.page) }

// Page is the page Reports. Without a closed day AsOf is empty.
type Page struct {
	AsOf, CompleteFrom string
	Limits             []view.Option
	Lines              []line
	Days               int // over which the curves are drawn
	Releases           []row
	Scopes             []scope
	Late               []lateMac
	More               bool // there are more late Macs than are shown
}

// line is the curve of one of the last releases; Class names its colour.
type line struct{ Name, Class, Points string }

type row struct {
	Name, Posted, Limit         string
	Exploited, Partial          bool
	Macs, Patched, Open         int
	Gone, Silent, Exempt        int
	Yes, No, Unknown            int
	Share, Median, Ninety, Most string
}

// scope is a policy or group, with its Macs in time, too late and unknown, once for each release.
type scope struct {
	Name             string
	Yes, No, Unknown int
	Share            string
	Bar              []view.Share
}

type lateMac struct{ Link, Serial, Name, Release, State, Days, Version, Reasons string }

const (
	curves   = 5
	lateMacs = 200
)

func (r *Room) page(c echo.Context) error {
	ctx := c.Request().Context()
	q := fleet.PatchingQuestion{SLA: cmp.Or(c.QueryParam("sla"), "14")}
	p, err := r.o.Fleet.Patching(ctx, q)
	if e := (*fleet.Error)(nil); errors.As(err, &e) && e.Code == "not_closed" {
		return r.o.Show(c, Page{Limits: limits(q.SLA)})
	} else if err != nil {
		return err
	}
	scopes, err := r.o.Fleet.PatchingByScope(ctx, q)
	if err != nil {
		return err
	}
	late, err := r.o.Fleet.LateMacs(ctx, q)
	if err != nil {
		return err
	}
	return r.o.Show(c, pageOf(p, q.SLA, scopes, late))
}

func pageOf(p *patching.Patching, sla string, scopes []fleet.PatchingScope, late []fleet.LateMac) Page {
	m := Page{AsOf: p.AsOf.String(), CompleteFrom: p.CompleteFrom.String(), Limits: limits(sla), More: len(late) > lateMacs}
	last := p.Releases[:min(curves, len(p.Releases))]
	for i := range last {
		m.Days = max(m.Days, proof.Age(p, &last[i]))
	}
	for i := range last {
		rel := &last[i]
		m.Lines = append(m.Lines, line{rel.Name(), "c" + strconv.Itoa(i), proof.Curve(rel.Curve, proof.Age(p, rel), m.Days)})
	}
	for i := range p.Releases {
		m.Releases = append(m.Releases, rowOf(p, &p.Releases[i]))
	}
	for _, s := range scopes {
		if b := scopeOf(&s); b.Yes+b.No+b.Unknown > 0 {
			m.Scopes = append(m.Scopes, b)
		}
	}
	for i := range late[:min(lateMacs, len(late))] {
		m.Late = append(m.Late, lateOf(&late[i]))
	}
	return m
}

func rowOf(p *patching.Patching, r *patching.Release) row {
	key := proof.LimitOf(p.SLA, r)
	w := r.Within[key]
	return row{
		Name: r.Name(), Posted: r.Posted.String(), Limit: proof.Words(key), Exploited: r.Exploited, Partial: r.Partial,
		Macs: r.Macs, Patched: r.Patched, Open: r.Open, Gone: r.Gone, Silent: r.Silent, Exempt: r.Exempt,
		Yes: w.Yes, No: w.No, Unknown: w.Unknown, Share: share(w),
		Median: days(r.Median), Ninety: days(r.P90), Most: days(r.P95),
	}
}

func days(n *int) string {
	if n == nil {
		return "not yet"
	}
	return view.Plural(*n, "day")
}

// share is that of the Macs in time, of those whose outcome is known.
func share(w patching.Within) string {
	if w.Yes+w.No == 0 {
		return "–"
	}
	return proof.Percent(float64(w.Yes) / float64(w.Yes+w.No))
}

func scopeOf(s *fleet.PatchingScope) scope {
	b := scope{Name: "Policy " + s.Policy}
	if s.Policy == "" {
		b.Name = "Group " + s.Group
	}
	for i := range s.Report.Releases {
		r := &s.Report.Releases[i]
		w := r.Within[proof.LimitOf(s.Report.SLA, r)]
		b.Yes, b.No, b.Unknown = b.Yes+w.Yes, b.No+w.No, b.Unknown+w.Unknown
	}
	b.Share = share(patching.Within{Yes: b.Yes, No: b.No})
	x, of := 0.0, float64(max(1, b.Yes+b.No+b.Unknown))
	for _, part := range []struct {
		state string
		n     int
	}{{"compliant", b.Yes}, {"overdue", b.No}, {"unmanaged", b.Unknown}} {
		w := 1000 * float64(part.n) / of
		b.Bar = append(b.Bar, view.Share{State: view.StateOf(part.state), Devices: part.n, X: x, W: w})
		x += w
	}
	return b
}

func lateOf(l *fleet.LateMac) lateMac {
	release := patching.Release{Version: l.Release, Letter: l.Letter}
	m := lateMac{
		Link: "/devices/" + url.PathEscape(l.Device), Serial: cmp.Or(l.Serial, l.Device), Name: l.Name, Release: release.Name(),
		State: string(l.State), Days: view.Plural(l.Days, "day"), Version: string(l.Version),
	}
	if l.State == patching.Patched {
		m.State = "patched too late"
	}
	for i, text := range l.Words {
		if i > 0 {
			m.Reasons += " "
		}
		m.Reasons += text
	}
	return m
}

// limits are the choices of a limit; one of the address's own comes first.
func limits(chosen string) []view.Option {
	list := []view.Option{{Value: "7", Label: "7 days"}, {Value: "14", Label: "14 days"}, {Value: "30", Label: "30 days"}}
	for _, p := range patching.Profiles {
		list = append(list, view.Option{Value: p.Profile, Label: p.Profile})
	}
	found := false
	for i := range list {
		list[i].Selected = list[i].Value == chosen
		found = found || list[i].Selected
	}
	if !found {
		list = append([]view.Option{{Value: chosen, Label: chosen + " days", Selected: true}}, list...)
	}
	return list
}
