package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/storage"
)

const floor = `{"name":"everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-28T12:00:00"}}`

func TestNormalUpdate(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if d := w.device("MAC-1"); d.State != "unmanaged" || len(d.Reasons) == 0 {
		t.Fatalf("without a policy: state %q, reasons %v", d.State, d.Reasons)
	}
	if _, err := w.putPolicy(floor, WriteOptions{Create: true}); err != nil {
		t.Fatal(err)
	}
	before := w.notifier.commands("MAC-1")
	w.reconcileAll()
	if n := w.notifier.commands("MAC-1") - before; n != 1 {
		t.Fatalf("a policy queued %d commands, want 1", n)
	}
	w.reconcileAll()
	if n := w.notifier.commands("MAC-1") - before; n != 1 {
		t.Fatalf("sweeping again queued another command: %d", n)
	}
	d := w.device("MAC-1")
	if d.State != "pending" || d.Phase != "planned" || d.Target == nil || d.Target.Build != "25G83" {
		t.Fatalf("after the policy: state %q, phase %q, target %+v", d.State, d.Phase, d.Target)
	}
	got := w.sync("MAC-1")
	enforcement := got["plimsoll.os-update"]
	if enforcement["TargetOSVersion"] != "26.6.2" || enforcement["TargetLocalDateTime"] != "2026-08-28T12:00:00" || enforcement["TargetBuildVersion"] != nil {
		t.Fatalf("enforced: %v", enforcement)
	}
	if d := w.device("MAC-1"); d.Phase != "served" || len(d.Flags) > 0 && d.Flags[0] == "not_synced" {
		t.Fatalf("after the sync: phase %q, flags %v", d.Phase, d.Flags)
	}
	w.pass(time.Hour)
	w.report("MAC-1", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
	if d := w.device("MAC-1"); d.State != "compliant" || len(d.Reasons) != 0 {
		t.Fatalf("after the update: state %q, reasons %v", d.State, d.Reasons)
	}
	if got := w.sync("MAC-1"); got["plimsoll.os-update"] != nil {
		t.Fatal("enforcement is still declared to a Mac that has its target")
	}
	w.outbox.Flush(context.Background())
	page, err := w.DeviceEvents(context.Background(), "C02AAA", 100, "")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, e := range page.Items {
		types[e.Type] = true
	}
	for _, want := range []string{"enrolled", "target_set", "manifest_served", "updated", "compliant"} {
		if !types[want] {
			t.Errorf("the timeline lacks %q: %v", want, types)
		}
	}
	all, err := w.Events(context.Background(), "", 1000)
	if err != nil || len(all.Items) != len(page.Items) {
		t.Errorf("the fleet's timeline has %d events, the Mac's %d (%v)", len(all.Items), len(page.Items), err)
	}
	if next, err := w.Events(context.Background(), all.Next, 1000); err != nil || len(next.Items) != 0 {
		t.Errorf("after the end there are %d events (%v)", len(next.Items), err)
	}
}

func TestRestartFindsEverything(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(floor, WriteOptions{Create: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	want := w.sync("MAC-1")
	token, err := w.Tokens(context.Background(), "MAC-1")
	w.must(err)
	w.outbox.Flush(context.Background())
	w.reopen()
	again, err := w.Tokens(context.Background(), "MAC-1")
	w.must(err)
	if string(again) != string(token) {
		t.Errorf("tokens changed over a restart: %s, %s", token, again)
	}
	if got := w.sync("MAC-1"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("declarations changed over a restart: %v, %v", want, got)
	}
	c, err := w.Compliance(context.Background())
	if err != nil || c.Devices != 1 || c.States["pending"] != 1 {
		t.Errorf("after a restart: %+v, %v", c, err)
	}
}

// A change between two requests of one sync can do no harm (rules 7): what was advertised is answered.
func TestDeclarationsComeFromTheManifest(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(floor, WriteOptions{Create: true}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Items(ctx, "MAC-1")
	w.must(err)
	if _, err := w.DeletePolicy(ctx, "everyone", WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	if _, err := w.Declaration(ctx, "MAC-1", declarations.KindConfiguration, declarations.IDOSUpdate); err != nil {
		t.Errorf("a declaration of the manifest is not served any more: %v", err)
	}
	if _, err := w.Declaration(ctx, "MAC-1", declarations.KindConfiguration, "plimsoll.settings"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is not in the manifest: %v, want not found", err)
	}
	if got := w.sync("MAC-1"); got[declarations.IDOSUpdate] != nil {
		t.Error("after the next sync the enforcement is still there")
	}
}

// Authenticate begins a new life: everything but identity and groups is cleared (rules 4).
func TestNewLife(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(floor, WriteOptions{Create: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.sync("MAC-1")
	w.pass(time.Hour)
	w.must(w.Authenticate(ctx, "MAC-1", status.CheckIn{UDID: "MAC-1", Serial: "C02AAA", Model: "Mac14,2", Version: "26.5", Build: "25F71"}))
	if d := w.device("MAC-1"); d.Enrolled {
		t.Error("between Authenticate and TokenUpdate the Mac counts as enrolled")
	}
	if _, err := w.Tokens(ctx, "MAC-1"); !errors.Is(err, ErrForbidden) {
		t.Errorf("tokens before TokenUpdate: %v", err)
	}
	if _, err := w.Declaration(ctx, "MAC-1", declarations.KindConfiguration, declarations.IDOSUpdate); errors.Is(err, ErrNotFound) || err == nil {
		t.Errorf("a declaration of the old life: %v; it must be neither served nor called unknown", err)
	}
	n := w.notifier.commands("MAC-1")
	w.must(w.TokenUpdate(ctx, "MAC-1", "com.apple.mgmt.External.1"))
	if w.notifier.commands("MAC-1") != n+1 {
		t.Error("re-enrolment queues no command")
	}
	st, err := w.Status(ctx, "MAC-1")
	if err != nil || len(st.Items) != 0 {
		t.Errorf("merged status survived: %v, %v", st.Items, err)
	}
	m, err := w.Declarations(ctx, "MAC-1", time.Time{})
	if err != nil || m.ServedAt != nil {
		t.Errorf("the manifest survived: %+v, %v", m, err)
	}
	if old, err := w.Declarations(ctx, "MAC-1", w.now().Add(-30*time.Minute)); err != nil || len(old.Declarations) == 0 {
		t.Errorf("what the Mac held half an hour ago is not known: %+v, %v", old, err)
	}
	w.must(w.CheckOut(ctx, "MAC-1"))
	c, err := w.Compliance(ctx)
	if err != nil || c.Devices != 0 {
		t.Errorf("a Mac that checked out is counted: %+v, %v", c, err)
	}
}

func TestGuard(t *testing.T) {
	w := newWorld(t)
	for i := range 12 {
		w.enrol(fmt.Sprintf("MAC-%02d", i), fmt.Sprintf("C02%03d", i), "26.5", "25F71")
	}
	hits := `{"name":"now","priority":10,"updates":{"mode":"automatic","within_days":7},"notice_days":2}`
	_, err := w.putPolicy(hits, WriteOptions{Create: true})
	var e *Error
	if !errors.As(err, &e) || e.Code != "confirm_required" || e.Impact == nil || e.Impact.NewlyDueWithin7d != 12 {
		t.Fatalf("12 of 12 Macs due in two days: %v", err)
	}
	if len(w.Current().Policies) != 0 {
		t.Fatal("the refused policy was stored")
	}
	res, err := w.putPolicy(hits, WriteOptions{Create: true, DryRun: true})
	if err != nil || res.Impact == nil || res.Impact.Devices != 12 || res.Impact.TokensChanged != 12 || len(res.Impact.ByTarget) != 1 || len(res.Impact.Sample) != 12 {
		t.Fatalf("dry run: %+v, %v", res.Impact, err)
	}
	if _, err := w.putPolicy(hits, WriteOptions{Create: true, Confirm: true}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		o    WriteOptions
		code string
	}{
		"existing name before equal priority": {hits, WriteOptions{Create: true}, "exists"},
		"equal priority":                      {`{"name":"other","priority":10,"updates":{"mode":"none"}}`, WriteOptions{Create: true}, "equal_priority"},
		"deadline past":                       {`{"name":"late","priority":5,"updates":{"mode":"minimum","version":"26.6","deadline":"2026-08-01T12:00:00"}}`, WriteOptions{Create: true}, "confirm_required"},
		"not what If-Match names":             {hits, WriteOptions{IfMatch: `"nonsense"`}, "precondition_failed"},
		"unknown version":                     {`{"name":"v","priority":6,"updates":{"mode":"minimum","version":"26.99","deadline":"2026-12-01T12:00:00"}}`, WriteOptions{Create: true}, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.putPolicy(c.text, c.o)
			if !errors.As(err, &e) || e.Code != c.code {
				t.Errorf("got %v, want code %s", err, c.code)
			}
		})
	}
	if res, err := w.putPolicy(hits, WriteOptions{}); err != nil || res.Changed {
		t.Errorf("putting an unchanged policy: changed %v, %v", res.Changed, err)
	}
}

func TestTimePassing(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(floor, WriteOptions{Create: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.sync("MAC-1")
	w.pass(time.Date(2026, 8, 28, 12, 0, 0, 0, time.UTC).Sub(w.now()))
	c, err := w.Compliance(context.Background())
	if err != nil || c.States["overdue"] != 1 || c.Flags["silent"] != 1 || c.Flags["past_deadline"] != 1 {
		t.Fatalf("at the deadline, 9 days without contact: %v %v %v", c.States, c.Flags, err)
	}
	if failed := w.lead.Sweep(context.Background(), false); failed > 0 {
		t.Fatal("the sweep failed")
	}
	count := func() map[string]int {
		page, err := w.DeviceEvents(context.Background(), "MAC-1", 100, "")
		w.must(err)
		n := map[string]int{}
		for _, e := range page.Items {
			n[e.Type]++
		}
		return n
	}
	if n := count(); n["overdue"] != 1 || n["silent"] != 1 {
		t.Fatalf("events: %v", n)
	}
	w.pass(time.Minute)
	if failed := w.lead.Sweep(context.Background(), false); failed > 0 {
		t.Fatal("the sweep failed")
	}
	if n := count(); n["overdue"] != 1 || n["silent"] != 1 {
		t.Fatalf("the same events came again: %v", n)
	}
	// Back from silence: the passed promise is made anew, once, with fair notice (rules 6.4).
	got := w.sync("MAC-1")
	if at := got["plimsoll.os-update"]["TargetLocalDateTime"]; at != "2026-08-30T12:00:00" {
		t.Errorf("after more than 7 days of silence the deadline is %v; fair notice of a day, read at UTC+14, ends on 2026-08-30 at noon", at)
	}
	if n := count(); n["back"] != 1 {
		t.Errorf("no event that the Mac came back: %v", n)
	}
}

func TestSerialNumberThatSeveralClaim(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	w.enrol("MAC-2", "C02AAA", "26.5", "25F71")
	var e *Error
	if _, err := w.Device(context.Background(), "C02AAA"); !errors.As(err, &e) || e.Code != "several_devices" {
		t.Errorf("a serial number that two claim: %v", err)
	}
	if _, err := w.Device(context.Background(), "C02BBB"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a serial number that nobody has: %v", err)
	}
	w.must(w.CheckOut(context.Background(), "MAC-1"))
	if d := w.device("C02AAA"); d.ID != "MAC-2" {
		t.Errorf("after one checked out: %s", d.ID)
	}
	w.must(w.CheckOut(context.Background(), "MAC-2"))
	if _, err := w.Device(context.Background(), "C02AAA"); !errors.As(err, &e) || e.Code != "several_devices" {
		t.Errorf("a serial number of two that checked out: %v", err)
	}
	w.must(w.Forget(context.Background(), "MAC-2", Origin{Actor: "admin"}))
	if d := w.device("C02AAA"); d.ID != "MAC-1" {
		t.Errorf("after one was forgotten: %s", d.ID)
	}
}

func TestRecordIsSmall(t *testing.T) {
	w := newWorld(t)
	id := "8F4CC2B5-4C4B-5D5A-9F0E-5F0C5C1B7B1A"
	w.enrol(id, "C02XG0FDJGH5", "26.3.1", "25D2128")
	if _, err := w.putPolicy(`{"name":"engineering-macs","priority":100,"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14},"background_security":{"mode":"automatic","within_days":2}}`, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.sync(id)
	b, err := w.index.Get(id).Encode()
	if err != nil || len(b) > 600 {
		t.Errorf("the record has %d bytes, more than 600: %s (%v)", len(b), b, err)
	}
	back, err := storage.DecodeRecord(b)
	if err != nil || back.Summary.State != w.index.Get(id).Summary.State || back.Lanes != w.index.Get(id).Lanes {
		t.Errorf("the record does not survive: %+v, %v", back, err)
	}
}

// A Mac whose macOS is too old for declarations is not sent a command that it does not know, and is told what it needs instead.
func TestTooOldForDeclarations(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.must(w.Authenticate(ctx, "OLD", status.CheckIn{UDID: "OLD", Serial: "C02OLD", Model: "MacBookPro16,1", Version: "12.7.6", Build: "21H1320"}))
	w.must(w.TokenUpdate(ctx, "OLD", "com.apple.mgmt.External.1"))
	w.must(w.DeviceAnswer(ctx, "OLD", map[string]any{"QueryResponses": map[string]any{"SoftwareUpdateDeviceID": "J152FAP"}}))
	if _, err := w.putPolicy(floor, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	if n := w.notifier.commands("OLD"); n != 0 {
		t.Errorf("%d DeclarativeManagement commands were queued", n)
	}
	d := w.device("OLD")
	if d.State != "incompatible" || d.Board != "J152FAP" || len(d.Reasons) == 0 || d.Reasons[0].Code != "upgrade_needs_installer" {
		t.Errorf("state %s, board %s, reasons %+v", d.State, d.Board, d.Reasons)
	}
}

func TestHoldMovesTheTarget(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(`{"name":"auto","priority":1,"updates":{"mode":"automatic","within_days":90}}`, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if d := w.device("MAC-1"); d.Target == nil || d.Target.Version != "26.6.2" {
		t.Fatalf("target %+v", d.Target)
	}
	if _, _, _, err := w.PutHold(context.Background(), "26.6.2", "breaks our VPN", true, nil, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if d := w.device("MAC-1"); d.Target == nil || d.Target.Version != release.Version("26.6.1") {
		t.Errorf("with 26.6.2 held the target is %+v", d.Target)
	}
	if _, _, err := w.SetPause(context.Background(), "incident", WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if d := w.device("MAC-1"); d.State != "unmanaged" || d.Target != nil {
		t.Errorf("while paused: %s %+v", d.State, d.Target)
	}
}
