package fleet

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/status/compliance"
)

// pushWaiting does what the push loop does, once.
func (w *world) pushWaiting() {
	w.t.Helper()
	w.pushes.Once(context.Background())
}

// The order of telling a Mac is: queue the command, push, note it (rules 10). Outstanding ends after 4 h, then 8; a Mac whose push was never
// noted, because the process died in between, is told again.
func TestTelling(t *testing.T) {
	w := newWorld(t)
	var failed map[string]error
	var down error
	w.notifier.push = func([]string) (map[string]error, error) { return failed, down }
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	w.pushWaiting()
	w.sync("MAC-1")
	if _, err := w.putPolicy(floor, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	n := w.notifier.commands("MAC-1")
	w.reconcileAll()
	if got := w.notifier.commands("MAC-1") - n; got != 1 || w.index.Get("MAC-1").Told != "" {
		t.Fatalf("%d commands queued, told %q before the push", got, w.index.Get("MAC-1").Told)
	}
	w.reconcileAll()
	if got := w.notifier.commands("MAC-1") - n; got != 1 {
		t.Fatalf("while the push waits %d commands were queued", got)
	}
	down = errors.New("APNs cannot be reached")
	w.pushWaiting()
	if rec := w.index.Get("MAC-1"); rec.Told != "" || rec.Push != "" {
		t.Fatalf("after APNs could not be reached: told %q, push %q", rec.Told, rec.Push)
	}
	down = nil
	w.pushWaiting()
	rec := w.index.Get("MAC-1")
	if rec.Told != rec.Advertised || rec.Told == "" {
		t.Fatalf("after the push: told %q, advertised %q", rec.Told, rec.Advertised)
	}
	again := func(wait time.Duration, want int, what string) {
		t.Helper()
		w.pass(wait)
		before := w.notifier.commands("MAC-1")
		if failed := w.lead.Sweep(context.Background(), false); failed > 0 {
			t.Fatal("the sweep failed")
		}
		w.pushWaiting()
		if got := w.notifier.commands("MAC-1") - before; got != want {
			t.Errorf("%s: %d commands, want %d", what, got, want)
		}
	}
	again(4*time.Hour-time.Second, 0, "just before 4 h")
	again(time.Second, 1, "after 4 h")
	again(8*time.Hour-time.Second, 0, "just before 8 h more")
	again(time.Second, 1, "after 8 h more")
	w.sync("MAC-1")
	again(48*time.Hour, 0, "after it synced")

	// A process that dies between queueing and pushing: the next one tells again.
	if _, err := w.DeletePolicy(context.Background(), "everyone", WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	before := w.notifier.commands("MAC-1")
	w.reopen()
	w.reconcileAll()
	if got := w.notifier.commands("MAC-1") - before; got != 1 {
		t.Errorf("after a restart with the push not noted %d commands were queued, want 1", got)
	}
	failed = map[string]error{"MAC-1": errors.New("BadDeviceToken: the device token is not valid")}
	w.pushWaiting()
	if d := w.device("MAC-1"); w.index.Get("MAC-1").Push == "" {
		t.Errorf("the reason why the push failed is not kept: %+v", d.Reasons)
	}
	told := w.notifier.commands("MAC-1")
	w.reconcileAll()
	if got := w.notifier.commands("MAC-1") - told; got != 0 {
		t.Errorf("a failed push was followed by %d commands with nothing having changed", got)
	}
	w.must(w.BootstrapToken(context.Background(), "MAC-1", !w.index.Get("MAC-1").Facts.BootstrapToken))
	if got := w.notifier.commands("MAC-1") - told; got != 1 {
		t.Errorf("after a failed push a change of the Mac queued %d commands, want 1: nothing is outstanding", got)
	}
	w.pushWaiting()
	failed = nil
	w.must(w.TokenUpdate(context.Background(), "MAC-1", "com.apple.mgmt.External.1"))
	if rec := w.index.Get("MAC-1"); rec.Push != "" || rec.Told != "" {
		t.Errorf("a new push token does not end the failure: %q, told %q", rec.Push, rec.Told)
	}
	if got := w.notifier.commands("MAC-1") - told; got != 2 {
		t.Errorf("with a new push token %d commands were queued, want one more", got-1)
	}
	w.pushWaiting()
	if rec := w.index.Get("MAC-1"); rec.Told != rec.Advertised {
		t.Errorf("after the push with the new token: told %q, advertised %q", rec.Told, rec.Advertised)
	}
}

// A Mac that answers the command with an error is told again: at the next change of it, or with the patience of one whose push failed.
func TestCommandFailed(t *testing.T) {
	w := newWorld(t)
	w.notifier.push = func([]string) (map[string]error, error) { return nil, nil }
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	w.pushWaiting()
	w.sync("MAC-1")
	if _, err := w.putPolicy(floor, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.pushWaiting()
	commands := w.notifier.commands("MAC-1")
	want := func(what string, n int) {
		t.Helper()
		if got := w.notifier.commands("MAC-1") - commands; got != n {
			t.Errorf("%s %d commands were queued, want %d", what, got, n)
		}
		commands = w.notifier.commands("MAC-1")
	}
	w.must(w.CommandFailed(context.Background(), "MAC-1", refusedSync("1")))
	if d := w.device("MAC-1"); !slices.ContainsFunc(d.Reasons, func(r policy.Reason) bool { return r.Code == compliance.CommandFailed }) {
		t.Errorf("nothing says that the command was refused: %+v", d.Reasons)
	}
	look := func() {
		if failed := w.lead.Sweep(context.Background(), false); failed > 0 {
			t.Fatal("the sweep failed")
		}
	}
	w.pass(4*time.Hour - time.Second)
	look()
	want("just before 4 h", 0)
	w.pass(time.Second)
	look()
	want("after 4 h", 1)
	w.pushWaiting()
	w.must(w.CommandFailed(context.Background(), "MAC-1", refusedSync("2")))
	w.must(w.BootstrapToken(context.Background(), "MAC-1", true))
	want("after a change of the Mac", 1)
	w.pushWaiting()
	w.sync("MAC-1")
	w.must(w.CommandFailed(context.Background(), "MAC-1", refusedSync("3")))
	if rec := w.index.Get("MAC-1"); rec.Push != "" {
		t.Errorf("a Mac that has synced is noted as one that could not be told: %q", rec.Push)
	}
}

func refusedSync(uuid string) CommandFailure {
	return CommandFailure{UUID: uuid, RequestType: "DeclarativeManagement", Status: "Error", Errors: []ChainError{{Code: 12021, Domain: "MCMDMErrorDomain", Description: "not a valid request type"}}}
}

// A full queue is no reason to refuse what a Mac sends: it is woken, and told later.
func TestFullQueue(t *testing.T) {
	w := newWorld(t)
	w.notifier.push = func([]string) (map[string]error, error) { return nil, nil }
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	w.pushWaiting()
	w.sync("MAC-1")
	w.notifier.full = true
	if _, err := w.putPolicy(floor, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.report("MAC-1", `{"StatusItems":{"device":{"operating-system":{"version":"26.6","build-version":"25G72"}}},"Errors":[]}`)
	if d := w.device("MAC-1"); d.OS.Version != "26.6" {
		t.Errorf("the report was not taken: %+v", d.OS)
	}
	pushed := len(w.notifier.pushed)
	w.pushWaiting()
	if len(w.notifier.pushed) == pushed {
		t.Error("the Mac was not woken")
	}
	w.notifier.full = false
	commands := w.notifier.commands("MAC-1")
	w.pass(4 * time.Hour)
	if failed := w.lead.Sweep(context.Background(), false); failed > 0 || w.notifier.commands("MAC-1") != commands+1 {
		t.Errorf("4 h later %d commands were queued, want 1", w.notifier.commands("MAC-1")-commands)
	}
}

// Two changes in a row tell a Mac once, and a re-enrolment forgets what was to be pushed.
func TestCoalescing(t *testing.T) {
	w := newWorld(t)
	w.notifier.push = func([]string) (map[string]error, error) { return nil, nil }
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	w.pushWaiting()
	w.sync("MAC-1")
	n := w.notifier.commands("MAC-1")
	if _, err := w.putPolicy(floor, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DeletePolicy(context.Background(), "everyone", WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	if got := w.notifier.commands("MAC-1") - n; got != 0 {
		t.Errorf("a policy that came and went told the Mac %d times", got)
	}
	if _, err := w.putPolicy(floor, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.must(w.CheckOut(context.Background(), "MAC-1"))
	pushed := len(w.notifier.pushed)
	w.pushWaiting()
	if len(w.notifier.pushed) != pushed {
		t.Error("a Mac that checked out was pushed")
	}
}
