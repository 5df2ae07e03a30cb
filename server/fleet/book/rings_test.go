package book

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet/answer"
)

// ringsOf says of the newest release "ring devices why asked/done/bad" of each ring, and what it waits for.
func (d *desk) ringsOf(policy string) string {
	d.t.Helper()
	rings, err := d.Rings(d.t.Context(), policy)
	d.must(err)
	if len(rings.Releases) == 0 {
		return "no releases"
	}
	r := rings.Releases[0]
	text := r.Build
	for _, ring := range r.Rings {
		why := "closed"
		if ring.Why != nil {
			why = *ring.Why + " " + ring.OpenSince.Format("01-02")
		}
		text += fmt.Sprintf(", %s %d %s %d/%d/%d", ring.Ring, ring.Devices, why, ring.Asked, ring.Done, ring.Bad)
	}
	if r.HaltedSince != nil {
		text += ", halted"
	}
	if r.WaitsFor != nil {
		text += ", waits for " + *r.WaitsFor
	}
	return text
}

// 40 Macs are in the first ring by their group; of the others h = SHA-256 decides, so that only their sum is known here.
func TestRings(t *testing.T) {
	d, fleet, set := rollingOut(t)
	ctx := t.Context()
	// Rule 2 opens the second ring 3 days before August 29, so that the gate comes first.
	d.must(second(d.put(strings.Replace(stepped, `"within_days":7`, `"within_days":12`, 1), answer.WriteOptions{Confirm: true})))
	early := 0
	for _, rec := range fleet[40:] {
		if d.Current().Plan(planningMac(rec, d.Current()), testDay).Ring == "early" {
			early++
		}
	}
	want := func(what, text string) {
		t.Helper()
		text = strings.NewReplacer("EARLY", fmt.Sprint("early ", early), "BROAD", fmt.Sprint("broad ", 20-early)).Replace(text)
		if got := d.ringsOf("stepped"); !strings.HasSuffix(got, text) || !strings.HasPrefix(got, "25G83, canary 40 first") {
			t.Errorf("%s: %s, want … %s", what, got, text)
		}
	}
	want("too young", "40/0/0, EARLY closed 0/0/0, BROAD closed 0/0/0, waits for age")
	set(time.Date(2026, 8, 23, 9, 0, 0, 0, time.UTC))
	want("nothing is known", "40/0/0, EARLY closed 0/0/0, BROAD closed 0/0/0, waits for macs")
	done(fleet[:30]...)
	failing(fleet[30:35]...)
	want("it fails", "40/30/5, EARLY closed 0/0/0, BROAD closed 0/0/0, waits for bad")
	d.must(d.TurnGates(ctx))
	want("halted", "40/30/5, EARLY closed 0/0/0, BROAD closed 0/0/0, halted, waits for bad")
	done(fleet[30:35]...)
	d.must(d.TurnGates(ctx))
	want("opened", "40/35/0, EARLY gate 08-23 0/0/0, BROAD closed 0/0/0")
	// By rule 2 the last ring opens 3 days before its deadline of August 31, 12:00, read at UTC: on August 28, 12:00.
	set(time.Date(2026, 8, 28, 11, 59, 59, 0, time.UTC))
	for _, rec := range fleet {
		rec.Facts.LastContactAt = time.Date(2026, 8, 27, 9, 0, 0, 0, time.UTC)
	}
	want("a second before", "40/35/0, EARLY gate 08-23 0/0/0, BROAD closed 0/0/0")
	set(time.Date(2026, 8, 28, 12, 0, 0, 0, time.UTC))
	want("by time", "40/35/0, EARLY gate 08-23 0/0/0, BROAD time 08-28 0/0/0")

	d.must(second(d.put(`{"name":"plain","priority":5,"updates":{"mode":"automatic","within_days":14}}`, answer.WriteOptions{Confirm: true})))
	if got := d.ringsOf("plain"); got != "no releases" {
		t.Errorf("without rings: %s", got)
	}
	_ = wantCode(t, "no such policy", second(d.Rings(ctx, "none")), "not_found")
}

// An opening by hand goes before a halt, holds for the rings before it, and reaches the Macs.
func TestOpenRing(t *testing.T) {
	d, fleet, set := rollingOut(t)
	ctx := t.Context()
	set(time.Date(2026, 8, 20, 9, 0, 0, 0, time.UTC))
	failing(fleet[:10]...)
	d.must(d.TurnGates(ctx))
	d.wantBook("before", "", "40/0/10")
	target := func() string {
		r := d.Current().Plan(planningMac(fleet[59], d.Current()), d.o.Now()).Target
		if r == nil {
			return ""
		}
		return r.Build
	}
	if got := target(); got == "25G83" {
		t.Fatalf("a halted release is the target of a Mac in a closed ring")
	}
	for _, c := range []struct{ name, policy, build, ring, code string }{
		{"no such policy", "none", "25G83", "early", "not_found"},
		{"no such build", "stepped", "25Z999", "early", "not_found"},
		{"no such ring", "stepped", "25G83", "late", "invalid"},
	} {
		_ = wantCode(t, c.name, second(d.OpenRing(ctx, c.policy, c.build, c.ring, "why not", answer.WriteOptions{})), c.code)
	}
	res, err := d.OpenRing(ctx, "stepped", "25G83", "canary", "x", answer.WriteOptions{})
	if err != nil || res.Changed {
		t.Errorf("the first ring: %+v, %v", res, err)
	}
	res, err = d.OpenRing(ctx, "stepped", "25G83", "broad", "x", answer.WriteOptions{DryRun: true})
	if err != nil || res.Impact == nil {
		t.Errorf("a dry run: %+v, %v", res, err)
	}
	d.wantBook("after a dry run", "", "40/0/10")
	res, err = d.OpenRing(ctx, "stepped", "25G83", "broad", "tested", answer.WriteOptions{By: answer.Origin{Actor: "ada"}, Confirm: true})
	if err != nil || !res.Changed {
		t.Fatalf("opened: %+v, %v", res, err)
	}
	d.wantBook("opened", "broad hand", "40/0/10")
	if o := d.Current().Stored.Openings[0]; o.By != "ada" || o.Reason != "tested" || o.Policy != "stepped" || o.Build != "25G83" {
		t.Errorf("recorded: %+v", o)
	}
	if got := target(); got != "25G83" {
		t.Errorf("the target of a Mac in an opened ring is %q", got)
	}
	for _, ring := range []string{"broad", "early"} {
		res, err = d.OpenRing(ctx, "stepped", "25G83", ring, "again", answer.WriteOptions{Confirm: true})
		if err != nil || res.Changed {
			t.Errorf("%s again: %+v, %v", ring, res, err)
		}
	}
}

// A ring with fewer Macs than the gate must see is warned of when the policy is written.
func TestSmallRingsAreWarnedOf(t *testing.T) {
	d, _, _ := rollingOut(t)
	small := func(text string) (rings []string) {
		res, err := d.put(text, answer.WriteOptions{Confirm: true})
		d.must(err)
		for _, w := range res.Warnings {
			if w.Code == "ring_too_small" {
				rings = append(rings, fmt.Sprint(w.Evidence["ring"], " ", w.Evidence["macs"]))
			}
		}
		return rings
	}
	if got := small(stepped); len(got) != 1 || !strings.HasPrefix(got[0], "early ") {
		t.Errorf("min_macs 20: %q", got)
	}
	if got := small(strings.Replace(stepped, `"min_macs":20`, `"min_macs":41`, 1)); len(got) != 2 || got[0] != "canary 40" {
		t.Errorf("min_macs 41: %q", got)
	}
	if got := small(strings.Split(stepped, `,"gate"`)[0] + "}"); len(got) != 0 {
		t.Errorf("without a gate: %q", got)
	}
}
