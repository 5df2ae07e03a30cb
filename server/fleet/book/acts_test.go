package book

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// Every write of the book is one entry of the audit, or two where it changes two policies, with what an admin wrote before and after;
// what changes nothing, what is refused and what is only tried are none.
func TestWritesAreAudited(t *testing.T) {
	d := newDesk(t, fleetOf(3))
	ctx := t.Context()
	o := answer.WriteOptions{By: answer.Origin{Actor: "token:ada", Via: answer.ViaPage}, Confirm: true}
	later := testDay.Add(time.Hour)
	put := func(priority int, name string) error {
		_, err := d.PutPolicy(ctx, policy.Policy{Name: name, Priority: priority, Updates: &policy.Updates{Mode: "none"}}, o)
		return err
	}
	from, err := release.ParseDay("2026-09-01")
	d.must(err)
	freeze := policy.Freeze{Name: "end", From: from, To: from, Reason: "a launch"}
	for _, c := range []struct {
		do   func() error
		want string // changes of the entries, the newest last
	}{
		{func() error { return put(5, "one") }, `policy.put policy/one  [{"path":"","from":null,"to":{"name":"one","priority":5,"updates":{"mode":"none"}}}]`},
		{func() error { return put(5, "one") }, ``},
		{func() error { return put(6, "one") }, `policy.put policy/one  [{"path":"/priority","from":5,"to":6}]`},
		{func() error { return put(7, "two") }, `policy.put policy/two  [{"path":"","from":null,"to":{"name":"two","priority":7,"updates":{"mode":"none"}}}]`},
		{
			func() error { _, err := d.MovePolicy(ctx, "one", true, o); return err },
			`policy.put policy/one  [{"path":"/priority","from":6,"to":7}]policy.put policy/two  [{"path":"/priority","from":7,"to":6}]`,
		},
		{
			func() error { _, err := d.DeletePolicy(ctx, "two", o); return err },
			`policy.delete policy/two  [{"path":"","from":{"name":"two","priority":6,"updates":{"mode":"none"}},"to":null}]`,
		},
		{
			func() error { _, _, _, err := d.PutHold(ctx, "26.6.2", "VPN", true, nil, o); return err },
			`hold.put hold/26.6.2 VPN [{"path":"","from":null,"to":{"reason":"VPN","subject":"26.6.2","successors":true}}]`,
		},
		{func() error { _, _, _, err := d.PutHold(ctx, "26.6.2", "VPN", true, nil, o); return err }, ``},
		{
			func() error { _, _, _, err := d.PutHold(ctx, "26.6.2", "VPN", true, &later, o); return err },
			`hold.put hold/26.6.2 VPN [{"path":"/until","from":null,"to":"2026-08-19T10:00:00Z"}]`,
		},
		{
			func() error { _, err := d.PutFreeze(ctx, freeze, o); return err },
			`freeze.put freeze/end a launch [{"path":"","from":null,"to":{"from":"2026-09-01","name":"end","reason":"a launch","to":"2026-09-01"}}]`,
		},
		{func() error { _, _, err := d.ClearPause(ctx, o); return err }, ``},
		{func() error { _, _, err := d.SetPause(ctx, "a fire", o); return err }, `pause.put pause a fire [{"path":"","from":null,"to":{"reason":"a fire"}}]`},
		{func() error { _, _, err := d.ClearPause(ctx, o); return err }, `pause.delete pause  [{"path":"","from":{"reason":"a fire"},"to":null}]`},
		{func() error {
			dry := o
			dry.DryRun = true
			_, _, _, err := d.PutGroup(ctx, "lab", []string{"A"}, dry)
			return err
		}, ``},
		{
			func() error { _, _, _, err := d.PutGroup(ctx, "lab", []string{"A"}, o); return err },
			`group.put group/lab  [{"path":"","from":null,"to":{"devices":["A"],"name":"lab"}}]`,
		},
	} {
		before, err := d.audit.Head(ctx)
		d.must(err)
		d.must(c.do())
		entries, err := d.audit.After(ctx, before.N, 10)
		d.must(err)
		got := ""
		for _, e := range entries {
			changes, err := json.Marshal(e.Changes)
			d.must(err)
			got += e.Action + " " + e.Object + " " + e.Reason + " " + string(changes)
			if e.Actor != "token:ada" || e.Via != "page" {
				t.Errorf("%s: by %s, %s", e.Action, e.Actor, e.Via)
			}
		}
		if got != c.want {
			t.Errorf("entered: %s\nwant:    %s", got, c.want)
		}
	}
	if h := d.Current().Stored.Hold("26.6.2"); h == nil || h.By != "token:ada" || !slices.Equal(d.Current().Stored.Holds, []release.Hold{*h}) {
		t.Errorf("the hold is %+v", h)
	}
}

// What a replica wrote and did not chain before it died is in the book, and is chained once by whoever comes next.
func TestNotesOfTheDead(t *testing.T) {
	d := newDesk(t, nil)
	ctx := t.Context()
	_, _, _, err := d.PutGroup(ctx, "lab", []string{"A"}, answer.WriteOptions{By: answer.Origin{Actor: "token:ada"}})
	d.must(err)
	notes, err := storage.New(d.db).Notes(ctx, storage.BookPartition)
	if err != nil || len(notes) != 1 {
		t.Fatalf("%d notes, %v", len(notes), err)
	}
	d.must(d.db.Drop(ctx, storage.AuditPartition)) // as if it had not come to that
	other := audit.New(audit.Options{Store: storage.New(d.db), Log: d.o.Log, Now: d.o.Now})
	for range 2 {
		d.must(other.Collect(ctx))
	}
	if head, err := other.Head(ctx); err != nil || head.N != 1 {
		t.Errorf("the head is %+v, %v", head, err)
	}
}
