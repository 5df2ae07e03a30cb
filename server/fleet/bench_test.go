package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// crowd fills a fleet's memory with n Macs of all boards and some versions.
func crowd(b *testing.B, n int) *world {
	b.Helper()
	t := &testing.T{}
	w := &world{t: t, notifier: &fakeNotifier{queued: map[string][]string{}, asked: map[string][]string{}}, clock: testDay, path: b.TempDir() + "/p.db"}
	w.open()
	b.Cleanup(func() { _ = w.db.Close() })
	boards := release.Snapshot().Releases[len(release.Snapshot().Releases)-1].Devices
	versions := [][2]string{{"26.5", "25F71"}, {"26.6.1", "25G76"}, {"26.6.2", "25G83"}, {"15.7.7", "24G720"}, {"14.8.9", "23J631"}}
	book := w.Current()
	records := make([]*storage.Record, n)
	for i := range records {
		v := versions[i%len(versions)]
		rec := &storage.Record{Facts: status.Facts{
			ID: fmt.Sprintf("MAC-%06d", i), Serial: fmt.Sprintf("C02%06d", i), Name: "Mac", Model: "Mac14,2", Board: boards[i%len(boards)], BoardFrom: "report",
			Version: release.Version(v[0]), Build: v[1], Enrolled: true, EnrolledAt: testDay, LastContactAt: testDay, LastReportAt: testDay,
			Capabilities: status.Capabilities{Known: true, Enforcement: true, Settings: true, Items: 1<<17 - 1},
		}, LookedAt: testDay}
		plan := book.Plan(rec.PlanningMac(false, ""), testDay)
		rec.Summary = compliance.Judge(compliance.Input{Mac: rec.PlanningMac(false, ""), Plan: plan, Index: book.Index, Now: testDay, Zone: time.UTC}).Summary
		records[i] = rec
	}
	if err := w.index.Fill(records); err != nil {
		b.Fatal(err)
	}
	return w
}

// The impact of a policy over 100,000 Macs (issue: at most 3 s on two cores).
func BenchmarkImpact100k(b *testing.B) {
	w := crowd(b, 100_000)
	fourteen := 14
	p := policy.Policy{Name: "auto", Priority: 1, Updates: &policy.Updates{Mode: "automatic", WithinDays: &fourteen}}
	for b.Loop() {
		res, err := w.PutPolicy(context.Background(), p, WriteOptions{DryRun: true})
		if err != nil || res.Impact.Devices == 0 {
			b.Fatalf("%+v, %v", res.Impact, err)
		}
	}
}

// The impact of a freeze over 100,000 Macs (at most 3 s on two cores).
func BenchmarkFreezeImpact100k(b *testing.B) {
	w := crowd(b, 100_000)
	if _, err := w.putPolicy(autoPolicy, WriteOptions{Confirm: true}); err != nil {
		b.Fatal(err)
	}
	f := policy.Freeze{Name: "late-summer", From: release.DayOf(testDay), To: release.DayOf(testDay) + 20, Reason: "sales"}
	for b.Loop() {
		res, err := w.PutFreeze(context.Background(), f, WriteOptions{DryRun: true})
		if err != nil || res.Impact.Devices == 0 {
			b.Fatalf("%+v, %v", res.Impact, err)
		}
	}
}

// A look of the gates at 100,000 Macs (at most 1 s).
func BenchmarkGates100k(b *testing.B) {
	w := crowd(b, 100_000)
	const ringed = `{"name":"ringed","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2,"rings":[` +
		`{"name":"canary","percent":5,"within_days":2},{"name":"early","percent":20,"within_days":7},{"name":"broad","min_age_days":5}],"gate":{}}`
	if _, err := w.putPolicy(ringed, WriteOptions{Confirm: true}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w.must(w.TurnGates(context.Background()))
	}
}

// GET /v1/compliance at 100,000 Macs (at most 5 ms).
func BenchmarkCompliance100k(b *testing.B) {
	w := crowd(b, 100_000)
	for b.Loop() {
		if c, err := w.Compliance(context.Background()); err != nil || c.Devices != 100_000 {
			b.Fatalf("%+v, %v", c.Devices, err)
		}
	}
}

// A filtered page of 100 at 100,000 Macs (at most 5 ms), in each order.
func BenchmarkDevices100k(b *testing.B) {
	w := crowd(b, 100_000)
	for _, sort := range []string{"serial", "deadline", "last_seen"} {
		b.Run(sort, func(b *testing.B) {
			for b.Loop() {
				p, err := w.Devices(context.Background(), DeviceQuery{State: "unmanaged", Version: "26.6.1", Sort: sort, Limit: 100})
				if err != nil || len(p.Items) != 100 {
					b.Fatalf("%d, %v", len(p.Items), err)
				}
			}
		})
	}
}

// The sweep of 100,000 Macs when nothing follows for them.
func BenchmarkIdleSweep100k(b *testing.B) {
	w := crowd(b, 100_000)
	for b.Loop() {
		if failed := w.lead.Sweep(context.Background(), false); failed > 0 {
			b.Fatal(failed)
		}
	}
}

// A sweep's look at 100,000 Macs from memory after a change of the book.
func BenchmarkGlance100k(b *testing.B) {
	w := crowd(b, 100_000)
	book := w.desired()
	for b.Loop() {
		n, record := w.index.Records()
		for i := range n {
			rec := record(i)
			reconcile.Follows(rec, w.memory(rec.Facts.ID), book, testDay)
		}
	}
}
