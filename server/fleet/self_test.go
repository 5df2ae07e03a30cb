package fleet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// linkOf is the link that the Mac's own enforcement declaration carries.
func (w *world) linkOf(id string) string {
	w.t.Helper()
	url, _ := w.sync(id)["plimsoll.os-update"]["DetailsURL"].(string)
	link, ok := strings.CutPrefix(url, "https://mdm.example.com/self/")
	if !ok {
		w.t.Fatalf("DetailsURL is %q", url)
	}
	return link
}

// A user delays by an hour at a time, from 24 h before the deadline: the new deadline is the later of the deadline + 1 h and now + 2 h,
// at most max_hours (rules 9).
func TestUserDelays(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(`{"name":"everyone","label":"All Macs","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-28T12:00:00"},"delay":{"max_hours":2},"details_url":"self"}`, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	link := w.linkOf("MAC-1")
	if again := w.linkOf("MAC-1"); again != link {
		t.Errorf("the link changed: %s, %s", link, again)
	}
	s, err := w.Self(ctx, link)
	if err != nil || s.Required == nil || s.Required.Version != "26.6.2" || s.Policy != "All Macs" || s.CanDelay || s.DelaysLeft != 2 || s.Fine {
		t.Fatalf("a week before: %+v, %v", s, err)
	}
	var e *Error
	noon := func(day, hour int) declarations.Local {
		return declarations.LocalAt(time.Date(2026, 8, day, hour, 0, 0, 0, time.UTC), 0)
	}
	if _, err := w.SelfDelay(ctx, link, declarations.LocalAt(w.now(), 0), Origin{}); !errors.As(err, &e) || e.Code != "too_early" {
		t.Errorf("a delay a week before: %v", err)
	}
	w.pass(5 * 24 * time.Hour)
	w.Contact("MAC-1")
	w.pass(time.Date(2026, 8, 28, 8, 0, 0, 0, time.UTC).Sub(w.now()))
	if s, err = w.SelfDelay(ctx, link, noon(28, 8), Origin{}); err != nil || *s.DeadlineLocal != "2026-08-28T13:00:00" || s.DelaysLeft != 1 {
		t.Fatalf("first delay at 8: %+v, %v", s, err)
	}
	if got := w.sync("MAC-1")["plimsoll.os-update"]["TargetLocalDateTime"]; got != "2026-08-28T13:00:00" {
		t.Errorf("the Mac's next sync has the deadline %v", got)
	}
	w.pass(6 * time.Hour) // 14:00, overdue since an hour
	if s, err = w.SelfDelay(ctx, link, noon(28, 14), Origin{}); err != nil || *s.DeadlineLocal != "2026-08-28T16:00:00" || s.DelaysLeft != 0 {
		t.Fatalf("second delay at 14: %+v, %v", s, err)
	}
	if _, err := w.SelfDelay(ctx, link, noon(28, 14), Origin{}); !errors.As(err, &e) || e.Code != "no_delays_left" {
		t.Errorf("a third hour: %v", err)
	}
	if _, err := w.SelfDelay(ctx, link, noon(28, 14).Add(72*time.Hour), Origin{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a clock that shows three days later: %v", err)
	}
	w.report("MAC-1", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
	if s, err = w.Self(ctx, link); err != nil || !s.Fine || s.Required != nil {
		t.Errorf("after the update: %+v, %v", s, err)
	}
	for name, bad := range map[string]string{"cut": link[:len(link)-1], "forged": "TUFDLTI." + strings.SplitN(link, ".", 2)[1], "empty": "", "no signature": "TUFDLTE", "nonsense": "%%%.%%%"} {
		if _, err := w.Self(ctx, bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s link: %v", name, err)
		}
	}
	w.must(w.CheckOut(ctx, "MAC-1"))
	if _, err := w.Self(ctx, link); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the enrolment ended: %v", err)
	}
}

// An upgrade that is offered on demand is enforced when the user asks, with a deadline that is past everywhere (rules 9).
func TestUserAsksForUpgrade(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "15.7.9", "24G830")
	if _, err := w.putPolicy(`{"name":"everyone","priority":10,"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":30},"details_url":"self"}`, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	link := w.links.Of("MAC-1", w.index.Get("MAC-1").Life)
	s, err := w.Self(ctx, link)
	if err != nil || s.Offered == nil || s.Offered.Version != "26.6.2" || !s.Fine {
		t.Fatalf("before: %+v, %v", s, err)
	}
	if d := w.device("MAC-1"); d.State != "compliant" {
		t.Errorf("an offer makes the Mac %s", d.State)
	}
	if s, err = w.SelfUpgrade(ctx, link, Origin{}); err != nil || !s.Asked || s.Required == nil || *s.DeadlineLocal != "2026-08-18T21:00:00" {
		t.Fatalf("asked on August 19 at 9 UTC, when it is August 18, 21:00 at UTC-12: %+v, %v", s, err)
	}
	if got := w.sync("MAC-1")["plimsoll.os-update"]; got["TargetOSVersion"] != "26.6.2" || got["TargetLocalDateTime"] != "2026-08-18T21:00:00" {
		t.Errorf("enforced: %v", got)
	}
	var e *Error
	if _, err := w.SelfUpgrade(ctx, link, Origin{}); !errors.As(err, &e) || e.Code != "not_offered" {
		t.Errorf("asked twice: %v", err)
	}
	page, err := w.DeviceEvents(ctx, "MAC-1", 100, "")
	w.must(err)
	for _, ev := range page.Items {
		if ev.Type == "upgrade_requested" {
			return
		}
	}
	t.Error("the timeline does not say that the user asked")
}

// Without https Macs have no pages of their own, and whoever asks for them is told.
func TestNoPagesWithoutHTTPS(t *testing.T) {
	w := newWorld(t)
	w.links.URL = "http://mdm.example.com"
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	res, err := w.putPolicy(`{"name":"everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-28T12:00:00"},"details_url":"self"}`, WriteOptions{})
	if err != nil || len(res.Warnings) != 1 || res.Warnings[0].Code != "self_page_missing" {
		t.Errorf("warnings %+v, %v", res.Warnings, err)
	}
	if got := w.sync("MAC-1")["plimsoll.os-update"]; got == nil || got["DetailsURL"] != nil {
		t.Errorf("enforced: %v", got)
	}
	if _, err := w.Self(context.Background(), w.links.Of("MAC-1", w.index.Get("MAC-1").Life)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a link that was given out while it was https: %v", err)
	}
}

// The user's page tells of an exemption, of a freeze and of an update now, each while it applies (rules 11 and 12).
func TestUserIsToldOfExceptions(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14},"delay":{"max_hours":2},"details_url":"self"}`, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	link := w.linkOf("MAC-1")
	self := func() Self {
		t.Helper()
		s, err := w.Self(ctx, link)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := self(); s.ExemptUntil != nil || s.Freeze != nil || s.UpdateNow || s.Required == nil {
		t.Errorf("at first: %+v", s)
	}
	today := release.DayOf(w.now())
	put := func(name string, from, to release.Day, strict bool, groups ...string) {
		t.Helper()
		f := policy.Freeze{Name: name, From: from, To: to, Reason: "secret of the admins", Strict: strict, Groups: groups}
		if _, err := w.PutFreeze(ctx, f, WriteOptions{By: Origin{Actor: "ada"}, Confirm: true}); err != nil {
			t.Fatal(err)
		}
	}
	put("later", today+10, today+12, false)
	put("others", today, today+30, false, "shops")
	if s := self(); s.Freeze != nil {
		t.Errorf("a freeze that has not begun, or is another's: %+v", s.Freeze)
	}
	put("now", today, today+3, false)
	put("longer", today, today+5, false)
	if s := self(); s.Freeze == nil || s.Freeze.To != today+5 {
		t.Errorf("in two freezes: %+v", s.Freeze)
	}
	if _, err := w.PutUpdateNow(ctx, "MAC-1", "an incident", Origin{Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	if s := self(); !s.UpdateNow || s.Freeze != nil || s.CanDelay || s.DelaysLeft != 0 || s.Overdue {
		t.Errorf("an update now goes before an ordinary freeze and a delay: %+v", s)
	}
	if err := w.DeleteUpdateNow(ctx, "MAC-1", Origin{Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	until := w.now().Add(48 * time.Hour)
	if _, err := w.PutExemption(ctx, "MAC-1", until, "secret of the admins", Origin{Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	if s := self(); s.ExemptUntil == nil || !s.ExemptUntil.Equal(until) || s.Required != nil || s.UpdateNow {
		t.Errorf("exempt: %+v", s)
	}
	w.pass(49 * time.Hour)
	if s := self(); s.ExemptUntil != nil {
		t.Errorf("after its end: %+v", s)
	}
}
