package book

import (
	"testing"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
)

func freezeOf(t *testing.T, name, from, to string) policy.Freeze {
	t.Helper()
	f := policy.Freeze{Name: name, Reason: "the launch"}
	for text, into := range map[string]*release.Day{from: &f.From, to: &f.To} {
		day, err := release.ParseDay(text)
		if err != nil {
			t.Fatal(err)
		}
		*into = day
	}
	return f
}

// The Macs are months behind, so their deadline is the fair one: 5 x 24 h after Wednesday, August 19, 09:00 UTC, read at UTC+14, is
// Tuesday, August 25. A freeze over that day sends it to the first day after it, and its end brings it back (rules 11, Fair).
func TestFreezeMovesDeadlines(t *testing.T) {
	fleet := fleetOf(20)
	d := newDesk(t, fleet)
	ctx := t.Context()
	d.must(second(d.put(`{"name":"all","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":5}`,
		answer.WriteOptions{Confirm: true})))
	deadline := func() string {
		c := d.Current()
		return c.Plan(planningMac(fleet[0], c), testDay).Deadline.String()
	}
	if got := deadline(); got != "2026-08-25T12:00:00" {
		t.Fatalf("without a freeze the deadline is %s", got)
	}
	launch := freezeOf(t, "launch", "2026-08-25", "2026-08-27")

	res, err := d.PutFreeze(ctx, launch, answer.WriteOptions{DryRun: true})
	if err != nil || res.Impact == nil || res.Impact.TokensChanged != 20 {
		t.Errorf("a dry run: %+v, %v", res.Impact, err)
	}
	if got := deadline(); got != "2026-08-25T12:00:00" {
		t.Errorf("a dry run moves the deadline to %s", got)
	}

	before := d.changes
	res, err = d.PutFreeze(ctx, launch, answer.WriteOptions{By: answer.Origin{Actor: "ada"}})
	if err != nil || !res.Created || !res.Changed || res.Freeze.By != "ada" || !res.Freeze.CreatedAt.Equal(testDay) {
		t.Fatalf("put: %+v, %v", res, err)
	}
	if got := deadline(); got != "2026-08-28T12:00:00" || d.changes == before {
		t.Errorf("with the freeze the deadline is %s, and %d changes were told", got, d.changes-before)
	}
	if res, err = d.PutFreeze(ctx, launch, answer.WriteOptions{By: answer.Origin{Actor: "bob"}}); err != nil || res.Changed || res.Freeze.By != "ada" {
		t.Errorf("the same again: %+v, %v", res, err)
	}

	// Of a group that does not exist it covers nobody, and says so.
	launch.Groups = []string{"shops"}
	if res, err = d.PutFreeze(ctx, launch, answer.WriteOptions{Confirm: true}); err != nil || res.Created || len(res.Warnings) != 1 {
		t.Errorf("of an unknown group: %+v, %v", res, err)
	}
	if got := deadline(); got != "2026-08-25T12:00:00" {
		t.Errorf("a freeze of others moves the deadline to %s", got)
	}

	_ = wantCode(t, "not the one", second(d.DeleteFreeze(ctx, "launch", answer.WriteOptions{IfMatch: `"old"`})), "precondition_failed")
	d.must(second(d.DeleteFreeze(ctx, "launch", answer.WriteOptions{Confirm: true})))
	_ = wantCode(t, "deleted twice", second(d.DeleteFreeze(ctx, "launch", answer.WriteOptions{})), "not_found")
	_ = wantCode(t, "read when it is gone", third(d.Freeze(ctx, "launch")), "not_found")
}

// A freeze that makes many Macs due within days, because it ends, asks for confirmation as any other write does.
func TestEndingAFreezeIsGuarded(t *testing.T) {
	d := newDesk(t, fleetOf(40))
	ctx := t.Context()
	d.must(second(d.PutFreeze(ctx, freezeOf(t, "summer", "2026-08-15", "2026-09-20"), answer.WriteOptions{})))
	d.must(second(d.put(`{"name":"all","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2}`, answer.WriteOptions{})))
	e := wantCode(t, "lifted", second(d.DeleteFreeze(ctx, "summer", answer.WriteOptions{})), "confirm_required")
	if e.Impact == nil || e.Impact.NewlyDueWithin7d != 40 {
		t.Errorf("the impact: %+v", e.Impact)
	}
	d.must(second(d.DeleteFreeze(ctx, "summer", answer.WriteOptions{Confirm: true})))
}

// 26.6.2 posted on December 12 would be due on the 26th. The freeze leaves no day after half of its days, the 19th: such a
// release has its deadline after the due date, and the writer of the freeze is told, with the policy (rules 11).
func TestFreezeWarnsOfLateDeadlines(t *testing.T) {
	d := newDesk(t, fleetOf(2))
	ctx := t.Context()
	d.must(second(d.put(`{"name":"all","priority":10,"updates":{"mode":"automatic","within_days":14}}`, answer.WriteOptions{Confirm: true})))
	res, err := d.PutFreeze(ctx, freezeOf(t, "year-end", "2026-12-19", "2027-01-04"), answer.WriteOptions{Confirm: true})
	if err != nil || len(res.Warnings) != 1 {
		t.Fatalf("%+v, %v", res.Warnings, err)
	}
	if e := res.Warnings[0].Evidence; e["first"] != "2026-12-12" || e["last"] != "2026-12-21" || e["policy"] != "all" {
		t.Errorf("%+v", e)
	}
	// Another freeze is not blamed for it.
	if res, err = d.PutFreeze(ctx, freezeOf(t, "launch", "2026-10-05", "2026-10-06"), answer.WriteOptions{Confirm: true}); err != nil || len(res.Warnings) != 0 {
		t.Errorf("a short freeze: %+v, %v", res.Warnings, err)
	}
}
