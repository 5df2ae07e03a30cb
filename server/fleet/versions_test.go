package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"plimsoll/status"
	"plimsoll/status/patching"
	"plimsoll/storage"
)

// versions is a Mac's course of versions as the store has it.
func (w *world) versions(id string) *patching.History {
	w.t.Helper()
	var h *patching.History
	w.must(w.store.ViewMac(context.Background(), id, func(m *storage.Mac) (err error) { h, err = m.Patching(); return err }))
	if h == nil {
		w.t.Fatalf("%s has no course of versions", id)
	}
	return h
}

// The course of versions is written with the check-ins and reports that tell it, and only with those.
func TestCourseOfVersions(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.enrol("a", "SA", "26.6", "25G72")
	for range 3 { // the heartbeat tells nothing new
		w.pass(24 * time.Hour)
		w.report("a", `{"StatusItems":{"device":{"operating-system":{"version":"26.6","build-version":"25G72"}}},"Errors":[]}`)
	}
	if h := w.versions("a"); len(h.Lives) != 1 || len(h.Lives[0].Had) != 1 || !h.Lives[0].From.Equal(testDay) || h.Lives[0].Had[0].Version != "26.6" {
		t.Fatalf("after three days: %+v", h)
	}
	w.report("a", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
	at := w.now()
	if h := w.versions("a"); len(h.Lives[0].Had) != 2 || !h.Lives[0].Had[1].At.Equal(at) || h.Lives[0].Had[1].Build != "25G83" {
		t.Fatalf("after the update: %+v", h)
	}
	w.pass(time.Hour)
	w.must(w.Authenticate(ctx, "a", status.CheckIn{UDID: "a", Serial: "SA", Model: "Mac14,2", Version: "26.6.2", Build: "25G83"}))
	if h := w.versions("a"); h.Open() || h.Lives[0].Board != "J413AP" || !h.Lives[0].Last.Equal(at) || !h.Lives[0].To.Equal(w.now()) {
		t.Fatalf("enrolling again ends the life: %+v", h)
	}
	w.must(w.TokenUpdate(ctx, "a", "com.apple.mgmt.External.1"))
	w.pass(time.Hour)
	w.must(w.CheckOut(ctx, "a"))
	h := w.versions("a")
	if len(h.Lives) != 2 || h.Open() || len(h.Lives[1].Had) != 1 || h.Lives[1].Had[0].Version != "26.6.2" {
		t.Fatalf("after it checked out: %+v", h)
	}
}

// An auditor's question is answered from closed days, and the answer outlives the Macs.
func TestPatchReport(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.clock = time.Date(2026, 8, 10, 9, 0, 0, 0, time.UTC) // before 26.6.2 was posted
	for n := range 4 {
		id := fmt.Sprintf("m%d", n)
		w.enrol(id, "S"+id, "26.6", "25G72")
	}
	if _, err := w.putPolicy(`{"name":"p","priority":1,"updates":{"mode":"automatic","within_days":14}}`, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	for day := 0; day < 20; day++ {
		w.pass(24 * time.Hour)
		for n := range 4 {
			id, version, build := fmt.Sprintf("m%d", n), "26.6", "25G72"
			if n < 2 && day >= 10+n {
				version, build = "26.6.2", "25G83"
			}
			w.report(id, fmt.Sprintf(`{"StatusItems":{"device":{"operating-system":{"version":%q,"build-version":%q}}},"Errors":[]}`, version, build))
		}
		w.must(w.CloseDays(ctx))
	}
	q := PatchingQuestion{Release: "26.6.2", Policy: "p", SLA: "14"}
	p, err := w.Patching(ctx, q)
	w.must(err)
	if len(p.Releases) != 1 || p.Releases[0].Macs != 4 || p.Releases[0].Patched != 2 || p.Releases[0].Open != 2 {
		t.Fatalf("%+v", p)
	}
	q.AsOf = p.AsOf.String()
	before, err := json.Marshal(p)
	w.must(err)
	w.must(w.Forget(ctx, "m0", Origin{Actor: "test"}))
	w.must(w.CheckOut(ctx, "m1"))
	w.pass(3 * 24 * time.Hour)
	w.must(w.CloseDays(ctx))
	w.reopen()
	again, err := w.Patching(ctx, q)
	w.must(err)
	if after, _ := json.Marshal(again); string(after) != string(before) {
		t.Errorf("a closed day changed:\n%s\n%s", before, after)
	}
	q.AsOf = ""
	later, err := w.Patching(ctx, q)
	w.must(err)
	if r := later.Releases[0]; r.Macs != 4 || r.Patched != 2 || later.AsOf <= p.AsOf {
		t.Errorf("the Macs that left count on: %+v", later)
	}
}
