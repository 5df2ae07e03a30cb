package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

const autoPolicy = `{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":3}`

func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// An exemption is written, listed, told and ended; it ends by itself at its time, and with the Mac's life.
func TestExemptions(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	w.enrol("MAC-2", "C02BBB", "26.5", "25F71")
	if _, err := w.putPolicy(autoPolicy, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.sync("MAC-1")
	until := w.now().Add(10 * 24 * time.Hour)
	res, err := w.PutExemption(ctx, "C02AAA", until, "a trade fair", Origin{Actor: "ada"})
	if err != nil || !res.Created || !res.Changed || res.Exemption.Device != "MAC-1" || !res.Exemption.Until.Equal(until) || res.Exemption.By != "ada" {
		t.Fatalf("created: %+v, %v", res, err)
	}
	if res, err = w.PutExemption(ctx, "MAC-1", until, "a trade fair", Origin{Actor: "ben"}); err != nil || res.Created || res.Changed || res.Exemption.By != "ada" {
		t.Errorf("the same again: %+v, %v", res, err)
	}
	if _, ok := w.sync("MAC-1")["plimsoll.os-update"]; ok {
		t.Error("an exempt Mac has an enforcement")
	}
	d := w.device("MAC-1")
	if d.State != "exempt" || d.Exemption == nil || d.Exemption.Reason != "a trade fair" || w.device("MAC-2").Exemption != nil {
		t.Errorf("the device: %+v", d)
	}
	listed, err := w.Devices(ctx, DeviceQuery{State: "exempt"})
	if err != nil || len(listed.Items) != 1 || listed.Items[0].Exemption == nil || *listed.Items[0].Exemption != *d.Exemption {
		t.Errorf("in the list: %+v, %v", listed.Items, err)
	}
	all, err := w.Exemptions(ctx, 0, "")
	if err != nil || len(all.Items) != 1 || all.Items[0] != res.Exemption {
		t.Errorf("exemptions: %+v, %v", all, err)
	}
	if n := w.Stats().Exempt; n != 1 {
		t.Errorf("%d Macs are exempt", n)
	}
	w.reopen()
	if x, err := w.Exemption(ctx, "MAC-1"); err != nil || x != res.Exemption {
		t.Errorf("after a restart: %+v, %v", x, err)
	}
	if err := w.DeleteExemption(ctx, "MAC-2", Origin{Actor: "ada"}); code(err) != "not_found" {
		t.Errorf("none to end: %v", err)
	}
	w.pass(10 * 24 * time.Hour)
	if x, err := w.Exemption(ctx, "MAC-1"); code(err) != "not_found" {
		t.Errorf("after its end: %+v, %v", x, err)
	}
	w.reconcileAll()
	w.reconcileAll()
	events, err := w.DeviceEvents(ctx, "MAC-1", 100, "")
	w.must(err)
	ended := slices.DeleteFunc(events.Items, func(e Event) bool { return e.Type != "exemption_ended" })
	if len(ended) != 1 || len(must(w.Exemptions(ctx, 0, "")).Items) != 0 {
		t.Errorf("ended %d times", len(ended))
	}
	// Due on August 31, two days ahead: 3 days of notice make it the first noon at least 72 hours later at UTC+14.
	if d := w.device("MAC-1"); d.DeadlineLocal == nil || *d.DeadlineLocal != "2026-09-02T12:00:00" {
		t.Errorf("the deadline after it: %v of %+v", *d.DeadlineLocal, d)
	}
	if h := w.versions("MAC-1"); len(h.Exempt) != 1 || h.Exempt[0].To.After(w.now()) {
		t.Errorf("the course of versions keeps when the Mac was exempt: %+v", h.Exempt)
	}
	_, err = w.PutExemption(ctx, "MAC-1", w.now().Add(time.Hour), "again", Origin{Actor: "ada"})
	w.must(err)
	w.must(w.Authenticate(ctx, "MAC-1", status.CheckIn{UDID: "MAC-1", Serial: "C02AAA", Model: "Mac14,2", Version: "26.5", Build: "25F71"}))
	w.must(w.TokenUpdate(ctx, "MAC-1", "com.apple.mgmt.External.1"))
	if d := w.device("MAC-1"); d.Exemption != nil {
		t.Errorf("it survived the Mac's life: %+v", d.Exemption)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Bad input names its fields and changes nothing.
func TestFaultyExceptions(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	longest := w.now().Add(90 * 24 * time.Hour)
	for _, tt := range []struct {
		name   string
		until  time.Time
		reason string
		fields string
	}{
		{"no reason", longest, " ", "reason"},
		{"a reason without end", longest, strings.Repeat("x", 501), "reason"},
		{"now", w.now(), "x", "until"},
		{"no time", time.Time{}, "x", "until"},
		{"too long", longest.Add(time.Second), "x", "until"},
		{"both", longest.Add(time.Second), "", "reason until"},
	} {
		_, err := w.PutExemption(ctx, "MAC-1", tt.until, tt.reason, Origin{Actor: "ada"})
		var e *Error
		if !errors.As(err, &e) || e.Kind != ErrInvalid {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var fields []string
		for _, f := range e.Fields {
			fields = append(fields, f.Field)
		}
		if got := strings.Join(fields, " "); got != tt.fields {
			t.Errorf("%s: faults of %q, want %q", tt.name, got, tt.fields)
		}
	}
	if _, err := w.PutUpdateNow(ctx, "MAC-1", "", Origin{Actor: "ada"}); code(err) != "invalid" {
		t.Errorf("an update without reason: %v", err)
	}
	if d := w.device("MAC-1"); d.Exemption != nil || d.UpdateNow != nil {
		t.Errorf("something was written: %+v", d)
	}
	if _, err := w.PutExemption(ctx, "MAC-1", longest, "x", Origin{Actor: "ada"}); err != nil {
		t.Errorf("the longest: %v", err)
	}
	w.must(w.CheckOut(ctx, "MAC-1"))
	if _, err := w.PutExemption(ctx, "MAC-1", longest, "x", Origin{Actor: "ada"}); code(err) != "not_enrolled" {
		t.Errorf("a Mac that is not enrolled: %v", err)
	}
	if _, err := w.PutExemption(ctx, "MAC-9", longest, "x", Origin{Actor: "ada"}); code(err) != "not_found" {
		t.Errorf("an unknown Mac: %v", err)
	}
}

// An update now is refused with what goes before it.
func TestUpdateNowRefused(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name, want string
		do         func(w *world) error
	}{
		{"held", "held", func(w *world) error {
			for _, s := range []string{"26.6", "26.6.1", "26.6.2", "26.5.1", "26.5.2"} {
				if _, _, _, err := w.PutHold(ctx, s, "VPN", true, nil, WriteOptions{Confirm: true}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"paused", "paused", func(w *world) error {
			_, _, err := w.SetPause(ctx, "incident", WriteOptions{Confirm: true})
			return err
		}},
		{"exempt", "exempt", func(w *world) error {
			_, err := w.PutExemption(ctx, "MAC-1", w.now().Add(time.Hour), "a fair", Origin{Actor: "ada"})
			return err
		}},
		{"frozen", "frozen", func(w *world) error {
			f := policy.Freeze{Name: "f", From: release.DayOf(w.now()), To: release.DayOf(w.now()) + 5, Reason: "sale", Strict: true}
			_, err := w.PutFreeze(ctx, f, WriteOptions{Confirm: true})
			return err
		}},
		{"an ordinary freeze", "", func(w *world) error {
			f := policy.Freeze{Name: "f", From: release.DayOf(w.now()), To: release.DayOf(w.now()) + 5, Reason: "sale"}
			_, err := w.PutFreeze(ctx, f, WriteOptions{Confirm: true})
			return err
		}},
		{"nothing to install", "no_target", func(w *world) error {
			w.report("MAC-1", strings.ReplaceAll(strings.ReplaceAll(`{"StatusItems":{"device":{"operating-system":{"version":"V","build-version":"B"}}},"Errors":[]}`, `"V"`, `"26.6.2"`), `"B"`, `"25G90"`))
			return nil
		}},
		{"not enrolled", "not_enrolled", func(w *world) error { return w.CheckOut(ctx, "MAC-1") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
			if _, err := w.putPolicy(autoPolicy, WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			w.must(tt.do(w))
			w.reconcileAll()
			if _, err := w.PutUpdateNow(ctx, "MAC-1", "a hole", Origin{Actor: "ada"}); code(err) != tt.want || (err == nil) != (tt.want == "") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// The deadline is the moment as UTC-12 reads it; taken back, the lane has the deadline that it had.
func TestUpdateNow(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(autoPolicy, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	before := w.sync("MAC-1")["plimsoll.os-update"]["TargetLocalDateTime"]
	res, err := w.PutUpdateNow(ctx, "MAC-1", "a hole", Origin{Actor: "ada"})
	if err != nil || !res.Changed || res.UpdateNow.Version != "26.6.2" || !res.UpdateNow.Until.Equal(w.now().Add(7*24*time.Hour)) {
		t.Fatalf("asked: %+v, %v", res, err)
	}
	if again, err := w.PutUpdateNow(ctx, "MAC-1", "a hole", Origin{Actor: "ben"}); err != nil || again.Changed || again.UpdateNow != res.UpdateNow {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if got := w.sync("MAC-1")["plimsoll.os-update"]["TargetLocalDateTime"]; got != "2026-08-18T21:00:00" { // 09:00 at UTC
		t.Errorf("the deadline is %v", got)
	}
	if d := w.device("MAC-1"); d.State != "pending" || d.UpdateNow == nil || *d.UpdateNow != res.UpdateNow {
		t.Errorf("the device: %+v", d)
	}
	w.must(w.DeleteUpdateNow(ctx, "MAC-1", Origin{Actor: "ada"}))
	if err := w.DeleteUpdateNow(ctx, "MAC-1", Origin{Actor: "ada"}); code(err) != "not_found" {
		t.Errorf("taken back twice: %v", err)
	}
	if got := w.sync("MAC-1")["plimsoll.os-update"]["TargetLocalDateTime"]; got != before {
		t.Errorf("taken back, the deadline is %v; it was %v", got, before)
	}
}
