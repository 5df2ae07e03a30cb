package book

import (
	"context"
	"errors"
	"log/slog"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// rollout names a release in a policy.
type rollout struct{ policy, build string }

// tally is what the Macs of a policy with rings show of a release: by ring, and of all rings.
type tally struct {
	rule  *policy.Compiled
	rings []policy.Evidence
	all   policy.Evidence
}

// tallies counts the evidence for every release that a Mac of a policy with rings was told (rules 13), and how many Macs
// each ring has, by policy. A release that a Mac was told is open for it, so its evidence counts in whatever ring it is.
func (k *Keeper) tallies(cur *Current) (told map[rollout]*tally, sizes map[string][]int) {
	now := k.o.Now()
	told, sizes = map[rollout]*tally{}, map[string][]int{}
	n, record := k.o.Macs.Records()
	for i := range n {
		rec := record(i)
		rule := cur.Govern(&rec.Facts, false).Rule
		if rule == nil || len(rule.Rings) == 0 {
			continue
		}
		ring := cur.RingOf(rule, &rec.Facts)
		if sizes[rule.Name] == nil {
			sizes[rule.Name] = make([]int, len(rule.Rings))
		}
		sizes[rule.Name][ring]++
		w := plan.Witness{
			Ring: rule.Rings[ring].Name, Told: rec.Lanes[plan.Patch].Told, Version: rec.Facts.Version,
			Failing: rec.Summary.State == compliance.Failing, Exempt: rec.Summary.State == compliance.Exempt,
			Silent: rec.Summary.FlagsAt(now, &rec.Facts, false)&compliance.Silent != 0,
		}
		r := cur.Index.Build(w.Told)
		if r == nil {
			continue
		}
		if rec.Summary.Phase == compliance.Installing && rec.Summary.Build == w.Told {
			w.InstallingSince = rec.Summary.PhaseAt
		}
		t := told[rollout{rule.Name, w.Told}]
		if t == nil {
			t = &tally{rule: rule, rings: make([]policy.Evidence, len(rule.Rings))}
			told[rollout{rule.Name, w.Told}] = t
		}
		plan.Count(&t.rings[ring], &w, r, now)
		plan.Count(&t.all, &w, r, now)
	}
	return told, sizes
}

// turns are what the gates find that the book does not say yet.
type turns struct {
	openings []policy.Opening
	halts    []policy.Halt
	resumed  []resumption
}

// resumption is the end of a halt, with what the Macs show now.
type resumption struct {
	policy.Halt
	now policy.Evidence
}

func (t *turns) none() bool { return len(t.openings)+len(t.halts)+len(t.resumed) == 0 }

func (t *turns) write(tx *storage.BookTx) error {
	for _, o := range t.openings {
		if err := tx.PutOpening(o); err != nil {
			return err
		}
	}
	for _, h := range t.halts {
		if err := tx.PutHalt(h); err != nil {
			return err
		}
	}
	for _, h := range t.resumed {
		tx.DeleteHalt(h.Policy, h.Build)
	}
	return nil
}

func (t *turns) acts() (acts []audit.Act) {
	for _, o := range t.openings {
		acts = append(acts, ringAct("ring.open", o.Policy, "", nil, ringOpened{o.Build, o.Ring, o.Evidence})...)
	}
	for _, h := range t.halts {
		acts = append(acts, ringAct("gate.halt", h.Policy, "", nil, ringHalt{h.Build, h.Evidence})...)
	}
	for _, h := range t.resumed {
		acts = append(acts, ringAct("gate.resume", h.Policy, "", ringHalt{h.Build, h.Evidence}, nil)...)
	}
	return acts
}

// look decides for every release that was told, and for every halt.
func (k *Keeper) look(cur *Current) turns {
	now := k.o.Now()
	told, _ := k.tallies(cur)
	halted := map[rollout]bool{}
	var found turns
	for _, h := range cur.Halts {
		t := told[rollout{h.Policy, h.Build}]
		if t == nil || t.rule.Gate == nil || !plan.Halts(t.rule.Gate, t.all) {
			found.resumed = append(found.resumed, resumption{Halt: h})
			if t != nil {
				found.resumed[len(found.resumed)-1].now = t.all
			}
		}
		halted[rollout{h.Policy, h.Build}] = true
	}
	for at, t := range told {
		r := cur.Index.Build(at.build)
		d := plan.Decide(&t.rule.Rule, r, cur.OpenRing(t.rule, at.build), t.all, now)
		if d.Halt && !halted[at] {
			found.halts = append(found.halts, policy.Halt{Policy: at.policy, Build: at.build, Since: now, Evidence: t.all})
		}
		if d.Open != "" {
			evidence := t.all
			found.openings = append(found.openings, policy.Opening{
				Policy: at.policy, Build: at.build, Ring: d.Open, At: now,
				Why: policy.OpenedByGate, Evidence: &evidence,
			})
		}
	}
	return found
}

// errOtherBook says that the book was changed while the gates looked.
var errOtherBook = errors.New("the book was changed while the gates looked; they look again")

// TurnGates lets the gates of all policies look at the evidence (rules 13), and writes what they find and the book does not
// say yet, with its events, in one commit. Only the leader calls it.
func (k *Keeper) TurnGates(ctx context.Context) error {
	if err := k.ReloadBook(ctx); err != nil {
		return err
	}
	cur := k.Current()
	found := k.look(cur)
	if found.none() {
		return nil
	}
	events := k.eventsOf(cur, &found)
	err := k.audited(ctx, answer.Gate, func(tx *storage.BookTx) ([]audit.Act, error) {
		if tx.Revision != cur.Revision {
			return nil, errOtherBook
		}
		if err := found.write(tx); err != nil {
			return nil, err
		}
		return found.acts(), tx.AddEvents(events, k.published())
	})
	if err != nil {
		return err
	}
	k.publish(ctx, events)
	return nil
}

// eventsOf are the events of what the gates found.
func (k *Keeper) eventsOf(cur *Current, found *turns) []compliance.Event {
	var events []compliance.Event
	for _, r := range found.resumed {
		events = append(events, compliance.GateResumed(r.Halt, cur.versionOf(r.Build), r.now, k.o.Now()))
	}
	for _, o := range found.openings {
		events = append(events, compliance.RingOpened(o, cur.versionOf(o.Build)))
	}
	for _, h := range found.halts {
		events = append(events, compliance.GateHalted(h, cur.versionOf(h.Build)))
	}
	for i := range events {
		events[i].ID = storage.NewEventID()
	}
	return events
}

// versionOf is the version of a build, empty when the catalogue does not know it.
func (c *Current) versionOf(build string) release.Version {
	if r := c.Index.Build(build); r != nil {
		return r.Version
	}
	return ""
}

// published names the last event of the book that this replica knows to be in the fleet's timeline.
func (k *Keeper) published() string {
	if s := k.inTimeline.Load(); s != nil {
		return *s
	}
	return ""
}

// publish brings the events of the book to the fleet's timeline, and logs those that were written just now. What cannot be
// brought there is the leader's work, within a minute.
func (k *Keeper) publish(ctx context.Context, events []compliance.Event) {
	for i := range events {
		e := &events[i]
		level := slog.LevelInfo
		if e.Type == compliance.EventGateHalted {
			level = slog.LevelWarn
		}
		k.o.Log.Log(ctx, level, e.Text, "event", e.Type, "policy", e.Data["policy"], "build", e.Data["build"])
	}
	if err := k.PublishEvents(ctx); err != nil {
		k.o.Log.Warn("events could not be brought to the timeline; they are brought there within a minute", "error", err)
	}
}

// PublishEvents brings the events of the book that the fleet's timeline lacks there.
func (k *Keeper) PublishEvents(ctx context.Context) error {
	published, err := k.o.Publish(ctx)
	if err == nil {
		k.inTimeline.Store(&published)
	}
	return err
}
