package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status/compliance"
)

// The bounds of a delay that a user takes (rules 9).
const (
	delayBefore = 24 * time.Hour
	delayStep   = time.Hour
	delayNotice = 2 * time.Hour // from the user's now
)

// visit examines the Mac that a link belongs to. A forged, cut, foreign or dead link is ErrNotFound, and says nothing more;
// so is every link while --url is not https.
func (f *Fleet) visit(ctx context.Context, link string) (*examined, error) {
	rec := f.ByLink(link)
	if rec == nil || !f.links.Pages() {
		return nil, answer.NotFound("there is no such page")
	}
	return f.examine(ctx, rec.Facts.ID, false, nil)
}

// Self is the page of one Mac as data.
func (f *Fleet) Self(ctx context.Context, link string) (Self, error) {
	x, err := f.visit(ctx, link)
	if err != nil {
		return Self{}, err
	}
	return f.self(x), nil
}

func (f *Fleet) self(x *examined) Self {
	facts, s := &x.Record.Facts, &x.v.Summary
	out := Self{
		State: string(s.StateNow(x.now)), Name: facts.Name, ModelName: facts.ModelName,
		CurrentVersion: string(facts.Version), CurrentLetter: facts.Letter, Phase: string(s.Phase), Reasons: []SelfReason{},
	}
	for _, r := range x.v.Reasons {
		out.Reasons = append(out.Reasons, SelfReason{r.Code, r.Text})
	}
	if p := x.plan.Policy; p != nil {
		if out.Policy = p.Label; out.Policy == "" {
			out.Policy = p.Name
		}
	}
	if x.plan.Enforced() {
		out.Required, out.Letter, out.Exploited = plan.TargetOf(x.plan.Target), x.plan.Target.Letter, x.plan.Target.Exploited
		out.DeadlineLocal = plan.LocalText(x.plan.Deadline)
		out.Overdue = s.StateNow(x.now) == compliance.Overdue
	}
	out.Fine = out.Required == nil && (out.State == string(compliance.Compliant) || out.State == string(compliance.Unmanaged))
	if e := exemptionOf(x.Record, x.now); e != nil {
		out.ExemptUntil = &e.Until
	}
	urgent := false
	for _, l := range x.plan.Lanes {
		if out.Required != nil && l.Lane == x.plan.Lane {
			urgent, out.UpdateNow = l.Urgent, l.Now
		}
	}
	out.Freeze = x.freeze(urgent || out.UpdateNow)
	f.offer(x, &out)
	f.delays(x, &out)
	return out
}

// freeze is the freeze of the Mac that lasts anywhere, the one that ends last; nil if none does. Of what is urgent, or asked by
// an update now, only a strict one keeps anything.
func (x *examined) freeze(onlyStrict bool) *SelfFreeze {
	var found *SelfFreeze
	for _, z := range x.cur.FreezesOf(&x.Record.Facts) {
		lasts := !x.now.Before(z.BeginsAt()) && x.now.Before(z.EndsAt())
		if lasts && (z.Strict || !onlyStrict) && (found == nil || z.To > found.To) {
			found = &SelfFreeze{From: z.From, To: z.To}
		}
	}
	return found
}

// offer finds the upgrade that the policy offers on demand, and whether the user asked for it.
func (f *Fleet) offer(x *examined, out *Self) {
	out.Offered = plan.TargetOf(x.cur.Offer(x.mac, x.now))
	for _, l := range x.plan.Lanes {
		out.Asked = out.Asked || l.Wished
	}
}

// delays tells how long the user may still delay, from 24 h before the deadline.
func (f *Fleet) delays(x *examined, out *Self) {
	if !x.plan.Enforced() || out.UpdateNow { // an update now goes before a delay
		return
	}
	out.MaxHours = x.plan.Policy.Rule().DelayHours
	out.DelaysLeft = max(0, out.MaxHours-f.delayed(x).Hours)
	if out.DelaysLeft == 0 {
		return
	}
	from := x.plan.Deadline.Add(-delayBefore)
	opens := from.At(declarations.FirstZone)
	if x.plan.Zone != nil {
		opens = from.In(x.plan.Zone)
	}
	if x.now.Before(opens) {
		out.DelayFromLocal = plan.LocalText(from)
		return
	}
	out.CanDelay = true
}

// delayed is what the user took in the obligation that the declared lane is in now.
func (f *Fleet) delayed(x *examined) plan.Delayed {
	lane := x.plan.Lane
	since := x.plan.NextLanes[lane].Since
	if d := x.Record.Delayed; d != nil && d.Lane == lane && d.Since.Equal(since) {
		return *d
	}
	return plan.Delayed{Lane: lane, Since: since}
}

// SelfDelay takes one hour more: the new deadline is the later of the deadline + 1 h and the user's now + 2 h. userNow is
// what the user's clock shows; it must be what some clock on earth can show.
func (f *Fleet) SelfDelay(ctx context.Context, link string, userNow declarations.Local, by Origin) (Self, error) {
	x, err := f.visit(ctx, link)
	if err != nil {
		return Self{}, err
	}
	if x.plan.Zone != nil { // the server acts on this deadline, in its own zone (rules 14)
		userNow = declarations.LocalIn(x.now, x.plan.Zone)
	}
	const slack = 5 * time.Minute
	if userNow < declarations.LocalAt(x.now.Add(-slack), declarations.LastZone) ||
		userNow > declarations.LocalAt(x.now.Add(slack), declarations.FirstZone) {
		return Self{}, answer.Invalid("the delay is not valid", policy.FieldError{
			Field:  "now",
			Reason: "is not what any clock shows now; check the computer's date, time and time zone",
		})
	}
	switch s := f.self(x); {
	case s.MaxHours == 0:
		return Self{}, answer.Conflict("delay_not_allowed", "nothing is due that can be delayed")
	case s.DelaysLeft == 0:
		return Self{}, answer.Conflict("no_delays_left", fmt.Sprintf("all %d hours have been taken", s.MaxHours))
	case userNow < x.plan.Deadline.Add(-delayBefore):
		return Self{}, answer.Conflict("too_early", "the deadline can be delayed from 24 hours before it")
	}
	next := f.delayed(x)
	next.Hours++
	next.Until = max(x.plan.Deadline.Add(delayStep), userNow.Add(delayNotice))
	act := Act{
		Action: "device.delay", Before: map[string]any{"deadline": x.plan.Deadline.String()},
		After: map[string]any{"deadline": next.Until.String()},
	}
	if err := f.took(ctx, x.Record.Facts.ID, by, act, reconcile.Delay(next, Event{
		Type: "delayed", Text: "the user delayed the deadline to " + next.Until.String(),
		Data: map[string]any{"from": x.plan.Deadline.String(), "to": next.Until.String(), "hours": next.Hours},
	})); err != nil {
		return Self{}, err
	}
	return f.Self(ctx, link)
}

// SelfUpgrade asks for the upgrade that is offered on demand: it is enforced with a deadline that is past everywhere.
func (f *Fleet) SelfUpgrade(ctx context.Context, link string, by Origin) (Self, error) {
	x, err := f.visit(ctx, link)
	if err != nil {
		return Self{}, err
	}
	s := f.self(x)
	if s.Offered == nil {
		return Self{}, answer.Conflict("not_offered", "no upgrade is offered to this Mac, or it was asked for already")
	}
	wish := plan.Wish{Major: s.Offered.Version.Major(), At: x.now}
	act := Act{Action: "device.upgrade", After: map[string]any{"version": s.Offered.Version, "build": s.Offered.Build}}
	if err := f.took(ctx, x.Record.Facts.ID, by, act, reconcile.Wish(wish, Event{
		Type: "upgrade_requested", Text: "the user asked for macOS " + string(s.Offered.Version),
		Data: map[string]any{"version": s.Offered.Version, "build": s.Offered.Build},
	})); err != nil {
		return Self{}, err
	}
	return f.Self(ctx, link)
}

// took keeps what the user of a Mac did. by says where from; the actor is the Mac.
func (f *Fleet) took(ctx context.Context, id string, by Origin, act Act, cause reconcile.Cause) error {
	by.Actor, act.Object = "mac:"+id, "device/"+id
	return f.audit.Do(ctx, by, func() error {
		err := f.change(ctx, id, cause)
		var notEnrolled reconcile.NotEnrolled
		if errors.As(err, &notEnrolled) {
			return answer.NotFound("there is no such page")
		}
		return err
	}, act)
}
