package compliance

import (
	"os"
	"testing"
	"time"

	"plimsoll/status"
)

// waits is a Mac that was served its update and reports its usual status, but not the update's declaration yet.
func waits(b *testing.B) Input {
	l := &life{index: summer, mac: air(), planner: floor, now: at("2026-08-22T09:00")}
	plan := l.planner(l)
	l.fetch()
	body, err := os.ReadFile("../testdata/full-report.json")
	if err != nil {
		b.Fatal(err)
	}
	r, err := status.Parse(body)
	if err != nil {
		b.Fatal(err)
	}
	in := Input{Mac: &l.mac, Plan: plan, Index: summer, Status: status.Merge(nil, r), Manifest: l.manifest, Now: l.now.Add(time.Hour)}
	in.Before = Judge(in).Summary
	if in.Before.Phase != Served {
		b.Fatal(in.Before.Phase)
	}
	return in
}

func BenchmarkJudgeServed(b *testing.B) {
	in := waits(b)
	b.ReportAllocs()
	for b.Loop() {
		Judge(in)
	}
}

// BenchmarkEvents compares a Mac with what it was: nothing happened.
func BenchmarkEvents(b *testing.B) {
	in := waits(b)
	v := Judge(in)
	before := Snapshot{Summary: in.Before, Facts: &in.Mac.Facts, Now: in.Now}
	after := Snapshot{Summary: v.Summary, Facts: &in.Mac.Facts, Now: in.Now, Reasons: v.Reasons}
	b.ReportAllocs()
	for b.Loop() {
		if e := Events(before, after); len(e) > 0 {
			b.Fatal(e)
		}
	}
}

func BenchmarkReasonsAt(b *testing.B) {
	in := waits(b)
	b.ReportAllocs()
	for b.Loop() {
		ReasonsAt(in.Before, &in.Mac.Facts, in.Now, false)
	}
}

func BenchmarkNeedsResync(b *testing.B) {
	in := waits(b)
	b.ReportAllocs()
	for b.Loop() {
		NeedsResync(in.Manifest, in.Status, in.Now)
	}
}
