package rollout

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// Progress is the way of each release through the rings of a policy.
type Progress struct {
	Action   string // the address at which a ring is opened by hand
	Releases []releaseProgress
}

// releaseProgress is the way of one release.
type releaseProgress struct {
	Name, Build, Posted string
	Halted              bool
	Gate                string // what the gate found, or waits for
	Rings               []ringProgress
	Closed              []view.Option // rings that can be opened by hand
}

// ringProgress is a ring with what its Macs show of a release.
type ringProgress struct {
	Name, Link       string // the address of the list of its Macs
	Devices          int
	Asked, Done, Bad int
	Open             bool
	Since            view.Moment
	Why              string
}

// openWords say why a ring is open for a release.
var openWords = map[string]string{
	plan.OpenFirst: "the first ring", policy.OpenedByGate: "the gate opened it", policy.OpenedByHand: "opened by hand",
	plan.OpenTime: "its time has come", plan.OpenUrgent: "it fixes an exploited vulnerability",
}

// ProgressOf puts the way of the releases into words.
func ProgressOf(p *policy.Policy, rings fleet.Rings, now time.Time, zone *time.Location) Progress {
	m := Progress{Action: "/policies/" + url.PathEscape(p.Name) + "/open"}
	rule := p.Rule()
	for i := range rings.Releases {
		r := &rings.Releases[i]
		out := releaseProgress{
			Name: "macOS " + string(r.Version), Build: r.Build, Posted: r.Posted.String(), Halted: r.HaltedSince != nil,
		}
		for _, ring := range r.Rings {
			row := ringProgress{
				Name: ring.Ring, Link: "/devices?" + url.Values{"policy": {p.Name}, "ring": {ring.Ring}}.Encode(),
				Devices: ring.Devices, Asked: ring.Asked, Done: ring.Done, Bad: ring.Bad, Open: ring.OpenSince != nil,
			}
			if ring.OpenSince != nil {
				row.Since = view.MomentOf(*ring.OpenSince, now, zone)
			}
			if ring.Why != nil {
				row.Why = cmp.Or(openWords[*ring.Why], *ring.Why)
			}
			if !row.Open {
				out.Closed = append(out.Closed, view.Option{Value: row.Name, Label: row.Name})
			}
			out.Rings = append(out.Rings, row)
		}
		out.Gate = gateWords(&rule, r, now, zone)
		m.Releases = append(m.Releases, out)
	}
	return m
}

// gateWords say in sentences what the gate found, or what it waits for.
func gateWords(rule *policy.Rule, r *fleet.RingsRelease, now time.Time, zone *time.Location) string {
	if rule.Gate == nil {
		return "There is no gate: each ring opens when its time has come."
	}
	var all policy.Evidence
	next := -1 // the first ring that is closed
	for i := range r.Rings {
		e := r.Rings[i].Evidence
		all.Asked, all.Done, all.Bad = all.Asked+e.Asked, all.Done+e.Done, all.Bad+e.Bad
		if next < 0 && r.Rings[i].OpenSince == nil {
			next = i
		}
	}
	answered := all.Done + all.Bad
	fails := "it fails on " + view.Count(all.Bad) + " of the " + view.Plural(answered, "Mac") +
		" that answered, and the gate takes " + strconv.FormatFloat(rule.Gate.MaxBadPercent, 'f', -1, 64) + " %"
	switch {
	case r.HaltedSince != nil:
		since := view.MomentOf(*r.HaltedSince, now, zone)
		keeps := "Closed rings stay closed until fewer Macs fail, or until somebody opens them."
		if next < 0 {
			keeps = "Every ring is open, so the halt keeps nothing back."
		}
		return "Halted " + since.Words + " (" + since.Exact + "): " + fails + ". " + keeps +
			" The Macs of open rings go on; to stop those too, hold the release."
	case next < 0:
		return "Every ring is open."
	case r.WaitsFor == nil:
		return "The gate opens the ring " + r.Rings[next].Ring + " the next time it looks, within 15 minutes."
	case *r.WaitsFor == plan.WaitsForAge:
		age := rule.Rings[next].MinAgeDays
		return "The gate waits for the ring " + r.Rings[next].Ring + " until the release is " + view.Days(age) + " old, on " +
			(r.Posted + release.Day(age)).String() + "."
	case *r.WaitsFor == plan.WaitsForMacs:
		return "The gate waits for answers: of the " + view.Plural(all.Asked, "Mac") + " that were asked " + view.Count(answered) +
			" answered, and it needs " + view.Count(rule.Gate.MinMacs) + " or all of them."
	}
	return "The gate waits: " + fails + "."
}

// openRing opens a release for a ring by hand, once that was confirmed.
func (r *Room) openRing(c echo.Context) error {
	name := view.Unescaped(c.Request(), c.Param("name"))
	build, ring, reason := c.FormValue("build"), c.FormValue("ring"), strings.TrimSpace(c.FormValue("reason"))
	if fault := reasonFault(reason); fault != "" {
		return &fleet.Error{Kind: fleet.ErrInvalid, Code: "invalid", Text: "the reason " + fault}
	}
	o := r.o.Posted(c)
	o.DryRun = !o.Confirm
	res, err := r.o.Fleet.OpenRing(c.Request().Context(), name, build, ring, reason, o)
	what := "the build " + build
	if known := r.o.Fleet.Current().Index.Build(build); known != nil {
		what = "macOS " + string(known.Version)
	}
	return r.o.Finish(c, Write{
		Title: "Open the ring " + ring + " for " + what, Back: "/policies/" + url.PathEscape(name), Word: "opened",
		Options: o, Impact: res.Impact, Err: err,
	})
}
