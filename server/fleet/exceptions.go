package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/storage"
)

// DeviceExemption is an exemption that lasts, as a device shows it (rules 12).
type DeviceExemption struct {
	Until  time.Time `json:"until"` // UTC
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"` // UTC; lengthening it does not change it
	By     string    `json:"by"`
}

// DeviceUpdate is an update now that lasts, as a device shows it (rules 12).
type DeviceUpdate struct {
	Version release.Version `json:"version"`
	Until   time.Time       `json:"until"` // UTC; 7 days after it was asked
	Reason  string          `json:"reason"`
	By      string          `json:"by"`
}

// Exemption is the exemption of one Mac.
type Exemption struct {
	Device string `json:"device"`
	Serial string `json:"serial"`
	Name   string `json:"name"`
	DeviceExemption
}

// ExemptionResult answers a write of an exemption.
type ExemptionResult struct {
	Exemption Exemption `json:"exemption"`
	Changed   bool      `json:"changed"`

	Created bool `json:"-"`
}

// UpdateResult answers an update now.
type UpdateResult struct {
	UpdateNow DeviceUpdate `json:"update_now"`
	Changed   bool         `json:"changed"`
}

// exemptionOf is the exemption that lasts; nil if none does.
func exemptionOf(rec *storage.Record, now time.Time) *DeviceExemption {
	x := rec.Exemption
	if x == nil || !now.Before(x.Until) {
		return nil
	}
	return &DeviceExemption{Until: x.Until.UTC(), Reason: x.Reason, Since: x.Since.UTC(), By: x.By}
}

// updateOf is the update now that lasts; nil if none does.
func updateOf(rec *storage.Record, now time.Time) *DeviceUpdate {
	u := rec.UpdateNow
	if u == nil || !now.Before(u.EndsAt()) {
		return nil
	}
	return &DeviceUpdate{Version: u.Version, Until: u.EndsAt().UTC(), Reason: u.Reason, By: u.By}
}

func namedExemption(rec *storage.Record, x *DeviceExemption) Exemption {
	return Exemption{Device: rec.Facts.ID, Serial: rec.Facts.Serial, Name: rec.Facts.Name, DeviceExemption: *x}
}

// maxReason bounds the characters of a reason.
const maxReason = 500

func reasonFault(reason string) []policy.FieldError {
	if n := utf8.RuneCountInString(strings.TrimSpace(reason)); n == 0 || n > maxReason {
		return []policy.FieldError{{Field: "reason", Reason: fmt.Sprintf("must have 1 to %d characters", maxReason)}}
	}
	return nil
}

// PutExemption keeps OS updates and BSIs from one Mac until a time, at most MaxExemption ahead (rules 12). A new end or reason
// keeps the beginning.
func (f *Fleet) PutExemption(ctx context.Context, idOrSerial string, until time.Time, reason string, by Origin) (
	ExemptionResult, error,
) {
	now := f.now()
	until = until.UTC().Truncate(time.Second)
	faults := reasonFault(reason)
	switch latest := now.Add(f.o.MaxExemption); {
	case !until.After(now):
		faults = append(faults, policy.FieldError{Field: "until", Reason: "must be in the future"})
	case until.After(latest):
		faults = append(faults, policy.FieldError{
			Field:  "until",
			Reason: "must not be after " + latest.Format(time.RFC3339) + ", the longest that an exemption may last",
		})
	}
	if len(faults) > 0 {
		return ExemptionResult{}, answer.Invalid("the exemption is not valid", faults...)
	}
	x, err := f.examine(ctx, idOrSerial, false, nil)
	if err != nil {
		return ExemptionResult{}, err
	}
	before := exemptionOf(x.Record, now)
	act := Act{
		Action: "exemption.put", Object: "device/" + x.Record.Facts.ID, Reason: reason, Before: exemptionState(before),
		After: exemptionState(&DeviceExemption{Until: until, Reason: reason}),
	}
	res, err := f.except(ctx, x.Record, by, act, reconcile.Exempt(until, reason, by.Actor))
	if err != nil {
		return ExemptionResult{}, err
	}
	if res == nil { // it is so already
		return ExemptionResult{Exemption: namedExemption(x.Record, before)}, nil
	}
	after := exemptionOf(res.Record, now)
	if after == nil { // the commit came after its end
		after = &DeviceExemption{Until: until, Reason: reason, Since: now, By: by.Actor}
	}
	return ExemptionResult{
		Exemption: namedExemption(res.Record, after), Changed: !res.Nothing,
		Created: exemptionOf(res.Before.Record, now) == nil,
	}, nil
}

// DeleteExemption ends the exemption of a Mac before its time: its lanes are planned as if newly declared, with fair notice.
func (f *Fleet) DeleteExemption(ctx context.Context, idOrSerial string, by Origin) error {
	x, err := f.examine(ctx, idOrSerial, false, nil)
	if err != nil {
		return err
	}
	before := exemptionOf(x.Record, x.now)
	if before == nil {
		return notExempt(idOrSerial)
	}
	act := Act{Action: "exemption.delete", Object: "device/" + x.Record.Facts.ID, Before: exemptionState(before)}
	_, err = f.except(ctx, x.Record, by, act, reconcile.EndExemption(by.Actor))
	return err
}

// exemptionState is an exemption as the audit compares it; nil for none.
func exemptionState(x *DeviceExemption) any {
	if x == nil {
		return nil
	}
	return map[string]any{"until": x.Until, "reason": x.Reason}
}

// Exemption reads the exemption of a Mac.
func (f *Fleet) Exemption(ctx context.Context, idOrSerial string) (Exemption, error) {
	x, err := f.examine(ctx, idOrSerial, false, nil)
	if err != nil {
		return Exemption{}, err
	}
	e := exemptionOf(x.Record, x.now)
	if e == nil {
		return Exemption{}, notExempt(idOrSerial)
	}
	return namedExemption(x.Record, e), nil
}

func notExempt(idOrSerial string) error {
	return answer.NotFound(fmt.Sprintf("the device %q has no exemption", idOrSerial))
}

// Exemptions lists the exemptions that last, by the Macs' ids.
func (f *Fleet) Exemptions(ctx context.Context, limit int, cursor string) (Page[Exemption], error) {
	now := f.now()
	macs := f.index.Exempt(now)
	page, err := answer.List("exemptions", limit, cursor, len(macs), func(i int) string { return macs[i].ID },
		func(i int) *storage.Record { return macs[i].Record() })
	if err != nil {
		return Page[Exemption]{}, err
	}
	if err := f.store.TellExceptions(ctx, page.Items); err != nil {
		return Page[Exemption]{}, fmt.Errorf("read the reasons of exemptions: %w", err)
	}
	out := Page[Exemption]{Items: make([]Exemption, 0, len(page.Items)), Next: page.Next}
	for _, rec := range page.Items {
		if x := exemptionOf(rec, now); x != nil {
			out.Items = append(out.Items, namedExemption(rec, x))
		}
	}
	return out, nil
}

// PutUpdateNow has one Mac install at once what is declared to it (rules 12). It is refused with held, paused, exempt, frozen or
// no_target when nothing would come of it.
func (f *Fleet) PutUpdateNow(ctx context.Context, idOrSerial, reason string, by Origin) (UpdateResult, error) {
	if faults := reasonFault(reason); len(faults) > 0 {
		return UpdateResult{}, answer.Invalid("the update is not valid", faults...)
	}
	x, err := f.examine(ctx, idOrSerial, false, nil)
	if err != nil {
		return UpdateResult{}, err
	}
	if !x.Record.Facts.Enrolled {
		return UpdateResult{}, notEnrolled()
	}
	u, err := x.updateNow(reason, by.Actor)
	if err != nil {
		return UpdateResult{}, err
	}
	if had := x.Record.UpdateNow; had != nil && had.Lane == u.Lane && had.Build == u.Build && had.Reason == u.Reason {
		if shown := updateOf(x.Record, x.now); shown != nil {
			return UpdateResult{UpdateNow: *shown}, nil
		}
	}
	act := Act{
		Action: "update.put", Object: "device/" + x.Record.Facts.ID, Reason: reason, Before: updateState(x.Record.UpdateNow),
		After: updateState(u),
	}
	if _, err := f.except(ctx, x.Record, by, act, reconcile.UpdateNow(*u)); err != nil {
		return UpdateResult{}, err
	}
	return UpdateResult{
		UpdateNow: DeviceUpdate{Version: u.Version, Until: u.EndsAt(), Reason: u.Reason, By: u.By}, Changed: true,
	}, nil
}

// updateState is an update now as the audit compares it; nil for none.
func updateState(u *plan.UpdateNow) any {
	if u == nil {
		return nil
	}
	return map[string]any{"version": u.Version, "build": u.Build, "until": u.EndsAt(), "reason": u.Reason}
}

// updateNow is an update now of what is declared to the Mac, or why there can be none.
func (x *examined) updateNow(reason, by string) (*plan.UpdateNow, error) {
	p := x.plan
	switch {
	case p.Outcome == plan.Held:
		return nil, answer.Conflict("held", "a hold keeps the release from the Mac")
	case p.Paused != nil:
		return nil, answer.Conflict("paused", "enforcement is paused")
	case exemptionOf(x.Record, x.now) != nil:
		return nil, answer.Conflict("exempt", "the Mac is exempt until "+x.Record.Exemption.Until.Format(time.RFC3339))
	case !p.Enforced():
		return nil, answer.Conflict("no_target", "nothing is declared to the Mac that it could install now")
	}
	u := &plan.UpdateNow{Lane: p.Lane, Build: p.Target.Build, Version: p.Target.Version, At: x.now, Reason: reason, By: by}
	with := *x.mac
	with.UpdateNow = u
	for _, l := range x.cur.Plan(&with, x.now).Lanes {
		if l.Lane == u.Lane && l.Now {
			return u, nil
		}
	}
	return nil, answer.Conflict("frozen", "a strict freeze lasts")
}

// DeleteUpdateNow takes an update now back: the lane has the deadline that it had.
func (f *Fleet) DeleteUpdateNow(ctx context.Context, idOrSerial string, by Origin) error {
	x, err := f.examine(ctx, idOrSerial, false, nil)
	if err != nil {
		return err
	}
	none := answer.NotFound(fmt.Sprintf("the device %q has no update now", idOrSerial))
	if updateOf(x.Record, x.now) == nil {
		return none
	}
	act := Act{Action: "update.delete", Object: "device/" + x.Record.Facts.ID, Before: updateState(x.Record.UpdateNow)}
	res, err := f.except(ctx, x.Record, by, act, reconcile.TakeBackUpdateNow(by.Actor))
	if err == nil && res != nil && res.Nothing {
		return none
	}
	return err
}

// except changes the exceptions of one Mac, which is entered first. The result is nil when nothing would change.
func (f *Fleet) except(ctx context.Context, rec *storage.Record, by Origin, act Act, cause reconcile.Cause) (
	res *reconcile.Result, err error,
) {
	if !rec.Facts.Enrolled {
		return nil, notEnrolled()
	}
	if audit.Nothing(act) {
		return nil, nil
	}
	err = f.audit.Do(ctx, by, func() (err error) {
		res, err = f.changed(ctx, rec.Facts.ID, cause)
		if errors.As(err, new(reconcile.NotEnrolled)) {
			return notEnrolled()
		}
		return err
	}, act)
	return res, err
}

func notEnrolled() error {
	return answer.Conflict("not_enrolled", "the device is not enrolled: it cannot be told anything")
}
