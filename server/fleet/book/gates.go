package book

import (
	"context"
	"errors"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
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
	openings      []policy.Opening
	halts, resume []policy.Halt
}

func (t *turns) none() bool { return len(t.openings)+len(t.halts)+len(t.resume) == 0 }

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
	for _, h := range t.resume {
		tx.DeleteHalt(h.Policy, h.Build)
	}
	return nil
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
			found.resume = append(found.resume, h)
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
// say yet, in one commit. Only the leader calls it.
func (k *Keeper) TurnGates(ctx context.Context) error {
	if err := k.ReloadBook(ctx); err != nil {
		return err
	}
	cur := k.Current()
	found := k.look(cur)
	if found.none() {
		return nil
	}
	err := k.UpdateBook(ctx, func(tx *storage.BookTx) error {
		if tx.Revision != cur.Revision {
			return errOtherBook
		}
		return found.write(tx)
	})
	if err != nil {
		return err
	}
	k.tell(cur, &found)
	return nil
}

// tell logs what the gates did.
func (k *Keeper) tell(cur *Current, found *turns) {
	version := func(build string) release.Version {
		if r := cur.Index.Build(build); r != nil {
			return r.Version
		}
		return ""
	}
	for _, o := range found.openings {
		k.o.Log.Info("the gate opened a ring", "event", "ring_opened", "policy", o.Policy, "build", o.Build,
			"version", version(o.Build), "ring", o.Ring, "asked", o.Evidence.Asked, "done", o.Evidence.Done, "bad", o.Evidence.Bad)
	}
	for _, h := range found.halts {
		k.o.Log.Warn("the gate halts a release in a policy: on too many Macs it fails", "event", "gate_halted", "policy", h.Policy,
			"build", h.Build, "version", version(h.Build), "asked", h.Evidence.Asked, "done", h.Evidence.Done, "bad", h.Evidence.Bad)
	}
	for _, h := range found.resume {
		k.o.Log.Info("the gate halts a release no longer", "event", "gate_resumed", "policy", h.Policy, "build", h.Build,
			"version", version(h.Build))
	}
}
