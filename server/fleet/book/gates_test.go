package book

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/server/fleet/answer"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// stepped is a policy whose first ring is the group "it". Its ring "early" may open when a release is 3 days old.
const stepped = `{"name":"stepped","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2,"rings":[` +
	`{"name":"canary","groups":["it"],"within_days":2},{"name":"early","percent":10,"within_days":7,"min_age_days":3},` +
	`{"name":"broad","min_age_days":5}],"gate":{"min_macs":20,"max_bad_percent":5}}`

// rollingOut is a desk with the policy "stepped", 40 of whose 60 Macs are in the first ring and were told 26.6.2, which was
// posted on 2026-08-17. set changes the clock.
func rollingOut(t *testing.T) (d *desk, fleet macs, set func(time.Time)) {
	t.Helper()
	fleet = fleetOf(60)
	d = newDesk(t, fleet)
	now := testDay
	d.o.Now = func() time.Time { return now }
	members := make([]string, 0, 40)
	for i := range 40 {
		members = append(members, fmt.Sprintf("S%02d", i))
		fleet[i].Lanes[plan.Patch].Told = "25G83"
		fleet[i].Summary.State = compliance.Pending
	}
	d.must(third(second3(d.PutGroup(t.Context(), "it", members, answer.WriteOptions{Confirm: true}))))
	d.must(second(d.put(stepped, answer.WriteOptions{Confirm: true})))
	return d, fleet, func(at time.Time) { now = at }
}

func done(recs ...*storage.Record) {
	for _, rec := range recs {
		rec.Facts.Version, rec.Facts.Build, rec.Summary.State = "26.6.2", "25G83", compliance.Compliant
	}
}

func failing(recs ...*storage.Record) {
	for _, rec := range recs {
		rec.Summary.State = compliance.Failing
	}
}

// wantBook checks what the gates have written: openings as "ring why asked/done/bad", halts as "asked/done/bad".
func (d *desk) wantBook(what, openings, halts string) {
	d.t.Helper()
	var o, h []string
	for _, x := range d.Current().Stored.Openings {
		text := x.Ring + " " + x.Why
		if e := x.Evidence; e != nil {
			text += fmt.Sprintf(" %d/%d/%d", e.Asked, e.Done, e.Bad)
		}
		o = append(o, text)
	}
	for _, x := range d.Current().Stored.Halts {
		h = append(h, fmt.Sprintf("%d/%d/%d", x.Evidence.Asked, x.Evidence.Done, x.Evidence.Bad))
	}
	if strings.Join(o, ", ") != openings || strings.Join(h, ", ") != halts {
		d.t.Errorf("%s: openings %q and halts %q, want %q and %q", what, o, h, openings, halts)
	}
}

// wantEvents checks the events of rings and gates in the fleet's timeline, each as "type asked/done/bad".
func (d *desk) wantEvents(want ...string) {
	d.t.Helper()
	events, err := storage.New(d.db).FleetEvents(d.t.Context(), storage.FleetShard, 0, 100)
	d.must(err)
	var got []string
	ids := map[string]bool{"": true}
	for _, e := range events {
		data := e.Event.Data
		got = append(got, fmt.Sprintf("%s %v/%v/%v", e.Event.Type, data["asked"], data["done"], data["bad"]))
		if ids[e.Event.ID] || e.Event.Device != "" || e.Event.Serial != "" || data["policy"] != "stepped" || data["build"] != "25G83" ||
			data["version"] != "26.6.2" || e.Event.At.IsZero() || e.Event.Text == "" {
			d.t.Errorf("an event as it must not be: %+v", e.Event)
		}
		ids[e.Event.ID] = true
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("the timeline has %q, want %q", got, want)
	}
}

// An event stands in the book until it is in the timeline, where it stands once, whoever brings it there and how often.
func TestEventsOfGatesAreNotLost(t *testing.T) {
	d, fleet, set := rollingOut(t)
	ctx := t.Context()
	set(time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC))
	done(fleet[:30]...)
	d.mute = true // as if the replica died after its commit
	d.must(d.TurnGates(ctx))
	d.wantEvents()
	failing(fleet[30:40]...)
	d.must(d.TurnGates(ctx))
	d.wantEvents()
	d.mute = false
	d.must(d.PublishEvents(ctx))
	other := deskOn(t, d.db, fleet)
	other.must(other.PublishEvents(ctx))
	d.wantEvents("ring_opened 40/30/0", "gate_halted 40/30/10")
	done(fleet[30:40]...)
	d.must(d.TurnGates(ctx))
	d.wantEvents("ring_opened 40/30/0", "gate_halted 40/30/10", "gate_resumed 40/40/0")
	// Only what may not be in the timeline stays in the book.
	var kept []storage.Entry
	d.must(d.db.View(ctx, storage.BookPartition, func(r storage.Reader) (err error) {
		kept, err = r.List("event/", "", 10)
		return err
	}))
	if len(kept) != 1 {
		t.Errorf("%d events stand in the book", len(kept))
	}
	d.must(storage.New(d.db).TrimFleet(ctx, time.Date(2026, 8, 21, 12, 0, 1, 0, time.UTC)))
	d.must(storage.New(d.db).TrimFleetEvents(ctx, storage.FleetShard, time.Date(2026, 8, 21, 12, 0, 1, 0, time.UTC)))
	d.must(d.PublishEvents(ctx))
	d.wantEvents()
}

// A gate opens one ring at a time, no ring before the release is as old as it asks, and writes nothing when it finds nothing.
func TestGateOpens(t *testing.T) {
	d, fleet, set := rollingOut(t)
	ctx := t.Context()
	done(fleet[:30]...)
	revision := d.Current().Revision
	set(time.Date(2026, 8, 19, 23, 59, 59, 0, time.UTC)) // a second less than 3 days after the day of posting
	d.must(d.TurnGates(ctx))
	if d.wantBook("too young", "", ""); d.Current().Revision != revision {
		t.Error("a look that finds nothing writes the book")
	}
	set(time.Date(2026, 8, 20, 0, 0, 0, 0, time.UTC))
	d.must(d.TurnGates(ctx))
	d.wantBook("three days old", "early gate 40/30/0", "")
	revision = d.Current().Revision
	d.must(d.TurnGates(ctx))
	if d.wantBook("the next ring is too young", "early gate 40/30/0", ""); d.Current().Revision != revision {
		t.Error("a second look writes the book")
	}
	// An opening stays when the policy is edited so that it would not open any more.
	d.must(second(d.put(strings.Replace(stepped, `"min_macs":20`, `"min_macs":1000`, 1), answer.WriteOptions{Confirm: true})))
	d.must(d.TurnGates(ctx))
	d.wantBook("after an edit", "early gate 40/30/0", "")
	d.must(second(d.put(stepped, answer.WriteOptions{Confirm: true})))
	set(time.Date(2026, 8, 22, 0, 0, 0, 0, time.UTC))
	d.must(d.TurnGates(ctx))
	d.wantBook("five days old", "broad gate 40/30/0, early gate 40/30/0", "")
	d.wantEvents("ring_opened 40/30/0", "ring_opened 40/30/0")
}

// Each Mac that is no evidence is left out, and too little evidence opens nothing.
func TestGateCounts(t *testing.T) {
	later := time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		change   func(macs)
		openings string
	}{
		{"19 of 40", func(m macs) { done(m[:19]...) }, ""},
		{"20 of 40", func(m macs) { done(m[:20]...) }, "early gate 40/20/0"},
		{"20, one of which was told nothing", func(m macs) { done(m[:20]...); m[0].Lanes[plan.Patch].Told = "" }, ""},
		// Of the other release one Mac of one was asked, which is all.
		{"20, one of which was told another", func(m macs) { done(m[:20]...); m[0].Lanes[plan.Patch].Told = "25G72" }, "early gate 1/1/0"},
		{"20, one of which is silent", func(m macs) {
			done(m[:20]...)
			m[0].Facts.LastContactAt, m[0].Facts.EnrolledAt = later.AddDate(0, 0, -8), later.AddDate(0, -1, 0)
		}, ""},
		{"20, one of which is exempt", func(m macs) { done(m[:20]...); m[0].Summary.State = compliance.Exempt }, ""},
		{"2 bad of 22", func(m macs) { done(m[:20]...); failing(m[20:22]...) }, ""}, // 9 %
		{"1 bad of 22", func(m macs) { done(m[:21]...); failing(m[21]) }, "early gate 40/21/1"},
		{"1 of 20 installs for 4 h", func(m macs) {
			done(m[:19]...)
			m[20].Summary.Phase, m[20].Summary.Build, m[20].Summary.PhaseAt = compliance.Installing, "25G83", later.Add(-4*time.Hour)
		}, ""},
		{"1 of 20 installs for longer", func(m macs) {
			done(m[:19]...)
			m[20].Summary.Phase, m[20].Summary.Build, m[20].Summary.PhaseAt = compliance.Installing, "25G83", later.Add(-4*time.Hour-time.Second)
		}, "early gate 40/19/1"},
		{"1 of 20 installs something else", func(m macs) {
			done(m[:19]...)
			m[20].Summary.Phase, m[20].Summary.Build, m[20].Summary.PhaseAt = compliance.Installing, "25G72", later.AddDate(0, 0, -1)
		}, ""},
		{"all of few", func(m macs) {
			done(m[:2]...)
			for _, rec := range m[2:] {
				rec.Lanes[plan.Patch].Told = ""
			}
		}, "early gate 2/2/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, fleet, set := rollingOut(t)
			set(later)
			for _, rec := range fleet {
				rec.Facts.LastContactAt = later
			}
			c.change(fleet)
			d.must(d.TurnGates(t.Context()))
			d.wantBook("a look", c.openings, "")
		})
	}
}

// A halt begins with three bad Macs of which it is no chance, keeps its beginning, and ends by itself. Of 3 in 23 Wilson's
// lower bound is 4.5 %, of 4 in 24 it is 6.7 %.
func TestGateHalts(t *testing.T) {
	d, fleet, set := rollingOut(t)
	ctx := t.Context()
	set(time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC))
	failing(fleet[:2]...)
	d.must(d.TurnGates(ctx))
	d.wantBook("2 of 2", "", "")
	done(fleet[10:30]...)
	failing(fleet[2])
	d.must(d.TurnGates(ctx))
	d.wantBook("3 of 23", "", "")
	failing(fleet[3])
	d.must(d.TurnGates(ctx))
	d.wantBook("4 of 24", "", "40/20/4")
	since := d.Current().Stored.Halts[0].Since
	c := d.RingCounts()
	if canary := c.Rings[0]; c.Halted["stepped"] != 1 || canary.Ring != "canary" || canary.States[compliance.Failing] != 4 ||
		canary.States[compliance.Compliant] != 20 || canary.States[compliance.Pending] != 16 {
		t.Errorf("counted: %+v", c)
	}
	set(time.Date(2026, 8, 21, 13, 0, 0, 0, time.UTC))
	failing(fleet[4])
	d.must(d.TurnGates(ctx))
	if d.wantBook("5 of 25", "", "40/20/4"); !d.Current().Stored.Halts[0].Since.Equal(since) {
		t.Error("a halt that goes on begins again")
	}
	done(fleet[2:5]...)
	d.must(d.TurnGates(ctx))
	d.wantBook("2 of 25", "", "")
	if c = d.RingCounts(); c.Halted["stepped"] != 0 || c.Rings[0].States[compliance.Failing] != 2 {
		t.Errorf("counted after the halt: %+v", c)
	}
	d.wantEvents("gate_halted 40/20/4", "gate_resumed 40/23/2")
	failing(fleet[:9]...)
	d.must(d.TurnGates(ctx))
	if len(d.Current().Stored.Halts) != 1 {
		t.Fatal("no second halt")
	}
	// Without its gate a policy halts nothing.
	d.must(second(d.put(strings.Split(stepped, `,"gate"`)[0]+"}", answer.WriteOptions{Confirm: true})))
	d.must(d.TurnGates(ctx))
	d.wantBook("without a gate", "", "")
}

// What was found with a book that is not in force any more is not written.
func TestGatesWriteToTheBookTheyLookedAt(t *testing.T) {
	d, fleet, set := rollingOut(t)
	set(time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC))
	done(fleet[:30]...)
	changed := false
	d.o.Macs = whileCounted{fleet, func() {
		if !changed {
			changed = true
			d.must(storage.New(d.db).UpdateBook(context.Background(), func(tx *storage.BookTx) error {
				tx.DeletePolicy("stepped")
				return nil
			}))
		}
	}}
	if err := d.TurnGates(t.Context()); err == nil {
		t.Error("no error")
	}
	d.must(d.TurnGates(t.Context()))
	d.wantBook("the policy was deleted meanwhile", "", "")
}

// whileCounted are Macs during whose count something happens.
type whileCounted struct {
	macs
	happens func()
}

func (w whileCounted) Records() (int, func(int) *storage.Record) {
	w.happens()
	return w.macs.Records()
}

// The gate tells what it sees and waits for, of a count that is at most a minute old.
func TestGateWords(t *testing.T) {
	d, fleet, set := rollingOut(t)
	want := func(words string) {
		t.Helper()
		if got := d.GateWords("stepped", "25G83"); !strings.Contains(got, words) {
			t.Errorf("%q does not say %q", got, words)
		}
	}
	want("40 Macs that were asked, 0 were done and 0 were bad. Before it opens the ring early it waits until the release is 3 days old")
	done(fleet[:10]...)
	set(time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC))
	want("10 were done and 0 were bad. Before it opens the ring early it waits for 20 Macs that are done or bad")
	done(fleet[10:20]...)
	failing(fleet[20:23]...)
	want("10 were done")
	set(time.Date(2026, 8, 21, 12, 1, 0, 0, time.UTC))
	want("20 were done and 3 were bad. It does not open the ring early while more than 5 % are bad")
	done(fleet[20:23]...)
	set(time.Date(2026, 8, 21, 12, 2, 0, 0, time.UTC))
	want("It opens the ring early at its next look")
	if got := d.GateWords("stepped", "25Z999"); !strings.Contains(got, "not known") {
		t.Errorf("of an unknown build: %q", got)
	}
	d.must(second(d.put(strings.Split(stepped, `,"gate"`)[0]+"}", answer.WriteOptions{Confirm: true})))
	want("has no gate")
}
