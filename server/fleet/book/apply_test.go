package book

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
)

func none(name string, priority int) Object {
	return Object{Policy: &policy.Policy{Name: name, Priority: priority, Updates: &policy.Updates{Mode: "none"}}}
}

func group(name string, devices ...string) Object {
	return Object{Group: &policy.Group{Name: name, Devices: devices}}
}

func hold(subject, reason string) Object {
	return Object{Hold: &release.Hold{Subject: subject, Reason: reason, Successors: true}}
}

// actions are the objects of an answer with what becomes of each.
func actions(res ApplyResult) string {
	var all []string
	for _, o := range res.Objects {
		all = append(all, o.Kind+"/"+o.Name+" "+o.Action)
	}
	return strings.Join(all, ", ")
}

// Files become the server's objects in one commit: two policies swap their priorities, what is as it is stays, and prune deletes what
// an apply wrote and nothing that was set by hand.
func TestApply(t *testing.T) {
	d := newDesk(t, fleetOf(3))
	ctx := t.Context()
	o := answer.WriteOptions{By: answer.Origin{Actor: "token:ci", Via: answer.ViaAPI}, Confirm: true}
	apply := func(prune bool, objects ...Object) ApplyResult {
		t.Helper()
		dry := o
		dry.DryRun = true
		before := d.Current().Revision
		planned, err := d.Apply(ctx, objects, prune, dry)
		d.must(err)
		if d.Current().Revision != before || planned.Impact == nil {
			t.Error("a dry run changed something, or has no impact")
		}
		with := o
		with.IfMatch = `"` + planned.Revision + `"`
		res, err := d.Apply(ctx, objects, prune, with)
		d.must(err)
		if actions(res) != actions(planned) || d.Current().Revision > before+1 {
			t.Errorf("planned %s, did %s in %d commits", actions(planned), actions(res), d.Current().Revision-before)
		}
		return res
	}
	if got := actions(apply(false, none("one", 5), none("two", 6), group("lab", "A", "B"))); got != "group/lab create, policy/one create, policy/two create" {
		t.Error(got)
	}
	d.must(fourth(d.PutHold(ctx, "26.6.2", "set at night", true, nil, answer.WriteOptions{By: answer.Origin{Actor: "token:ada"}, Confirm: true})))
	res := apply(true, none("one", 6), none("two", 5), group("lab", "A", "C"))
	if got := actions(res); got != "group/lab update, hold/26.6.2 keep, policy/one update, policy/two update" {
		t.Error(got)
	}
	if g := res.Objects[0]; !slices.Equal(g.Fields[0].Added, []string{"C"}) || !slices.Equal(g.Fields[0].Removed, []string{"B"}) || res.Objects[1].ChangedBy != "token:ada" {
		t.Errorf("%+v", res.Objects)
	}
	if got := actions(apply(true, none("one", 6), group("lab", "A", "C"))); got != "group/lab none, hold/26.6.2 keep, policy/one none, policy/two delete" {
		t.Error(got)
	}
	if h := d.Current().Stored.Hold("26.6.2"); h == nil || d.Current().Stored.Policy("two") != nil {
		t.Error("the hold by hand is gone, or the policy is not")
	}
	if entries, err := d.audit.After(ctx, 0, 100); err != nil || len(entries) != 8 || entries[7].Action != "policy.delete" || entries[7].Actor != "token:ci" {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	// An edit by hand is a difference, with who made it; the object stays managed.
	_, err := d.PutPolicy(ctx, *none("one", 9).Policy, answer.WriteOptions{By: answer.Origin{Actor: "user:eve@example.com"}, Confirm: true})
	d.must(err)
	dry := o
	dry.DryRun = true
	planned, err := d.Apply(ctx, []Object{none("one", 6), group("lab", "A", "C")}, false, dry)
	d.must(err)
	if p := planned.Objects[2]; p.Action != ActionUpdate || p.ChangedBy != "user:eve@example.com" || !p.Managed {
		t.Errorf("%+v", p)
	}
	// What was deleted by hand and made again by hand is managed no more.
	_, err = d.DeleteGroup(ctx, "lab", o)
	d.must(err)
	d.must(fourth(d.PutGroup(ctx, "lab", []string{"A"}, o)))
	if got := actions(apply(true, none("one", 6))); got != "group/lab keep, hold/26.6.2 keep, policy/one update" {
		t.Error(got)
	}
}

func fourth[A, B, C any](_ A, _ B, _ C, err error) error { return err }

// Of two applies that were planned with the same state the second is refused; a change of the catalogue or a gate is none.
func TestApplyIfMatch(t *testing.T) {
	d := newDesk(t, nil)
	ctx := t.Context()
	o := answer.WriteOptions{By: answer.Origin{Actor: "token:ci"}, Confirm: true, DryRun: true}
	planned, err := d.Apply(ctx, []Object{none("one", 5)}, false, o)
	d.must(err)
	d.must(d.o.Store.RaiseBook(ctx, 50)) // as the catalogue or a gate does
	o.DryRun, o.IfMatch = false, `"`+planned.Revision+`"`
	_, err = d.Apply(ctx, []Object{none("one", 5)}, false, o)
	d.must(err)
	var e *answer.Error
	if _, err = d.Apply(ctx, []Object{none("two", 6)}, false, o); !errors.As(err, &e) || e.Code != "precondition_failed" {
		t.Errorf("the second: %v", err)
	}
}

// All faults of all objects are named, nothing is written, and a freeze that is over is left out with a warning.
func TestApplyFaults(t *testing.T) {
	d := newDesk(t, nil)
	ctx := t.Context()
	o := answer.WriteOptions{By: answer.Origin{Actor: "token:ci"}, Confirm: true}
	day := func(text string) release.Day {
		v, err := release.ParseDay(text)
		d.must(err)
		return v
	}
	over := Object{Freeze: &policy.Freeze{Name: "over", From: day("2025-12-20"), To: day("2026-01-04"), Reason: "holidays"}}
	res, err := d.Apply(ctx, []Object{over}, false, o)
	if err != nil || len(res.Objects) != 0 || len(res.Warnings) != 1 || res.Warnings[0].Code != "freeze_over" {
		t.Errorf("%+v, %v", res, err)
	}
	before := d.Current().Revision
	var e *answer.Error
	_, err = d.Apply(ctx, []Object{
		none("one", 5), none("one", 6), none("Bad Name", 7), none("two", 5), hold("x", ""), group("lab", " "), group("Bad Group"),
	}, false, o)
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range e.Fields {
		got[f.Field] = true
	}
	for _, want := range []string{
		"objects.1.name", "objects.2.name", "objects.3.priority", "objects.4.name", "objects.4.reason", "objects.5.devices.0", "objects.6.name",
	} {
		if !got[want] {
			t.Errorf("%s is not named: %v", want, e.Fields)
		}
	}
	if d.Current().Revision != before {
		t.Error("something was written")
	}
}

// 1,000 policies and 10,000 members of groups go in one commit.
func TestApplyMany(t *testing.T) {
	d := newDesk(t, fleetOf(50))
	ctx := t.Context()
	var objects []Object
	for i := range 1000 {
		objects = append(objects, none(fmt.Sprintf("p-%04d", i), i+1))
	}
	for i := range 100 {
		var devices []string
		for k := range 100 {
			devices = append(devices, fmt.Sprintf("S-%d-%d", i, k))
		}
		objects = append(objects, group(fmt.Sprintf("g-%03d", i), devices...))
	}
	began := time.Now()
	res, err := d.Apply(ctx, objects, false, answer.WriteOptions{By: answer.Origin{Actor: "token:ci"}, Confirm: true})
	d.must(err)
	t.Logf("%d objects in %v", len(res.Objects), time.Since(began))
	if len(d.Current().Stored.Policies) != 1000 || len(d.Current().Stored.Groups) != 100 {
		t.Error("not all of it is there")
	}
}
