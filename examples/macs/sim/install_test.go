package sim

import (
	"slices"
	"testing"
	"time"
)

// A whole update, by the Mac's own clock, with the sequence of states that the server sees.
func TestUpdate(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem, enforce(t, "26.6.2", "", "2026-12-01T12:00:00"))
	var states []string
	for range 40 {
		b.pass(10 * time.Second)
		b.must(b.Poll(t.Context()))
		b.must(b.Step(t.Context()))
	}
	c := b.client(b.Spec().UDID)
	for _, r := range c.reports {
		if s, ok := item(r, "softwareupdate.install-state").(string); ok {
			states = append(states, s)
		}
		if item(r, "softwareupdate.install-state") == "downloading" {
			continue
		}
		if item(r, "softwareupdate.install-state") == "waiting" {
			if p := item(r, "softwareupdate.pending-version"); p == nil || p.(map[string]any)["target-local-date-time"] != "2026-12-01T12:00:00" || p.(map[string]any)["build-version"] != "25G83" {
				t.Errorf("pending-version %v", p)
			}
		}
	}
	if want := []string{"none", "waiting", "downloading", "prepared", "installing", "none"}; !slices.Equal(states, want) {
		t.Errorf("install-state went %q, want %q", states, want)
	}
	r := b.last()
	if item(r, "device.operating-system.version") != "26.6.2" || item(r, "device.operating-system.build-version") != "25G83" || item(r, "device.operating-system.marketing-name") != "macOS 26.6.2" {
		t.Errorf("last report %v", r)
	}
	if b.Targeted() || !b.Settled() || b.stats.Updates.Load() != 1 {
		t.Errorf("targeted %v, settled %v, updates %d", b.Targeted(), b.Settled(), b.stats.Updates.Load())
	}
	b.noViolations()
}

// The same by hand, as scenario tests drive it; with one failure on the way.
func TestUpdateByHand(t *testing.T) {
	b := synced(t, macSpec("15.7.7", "24G720"), Faults{}, everyItem, enforce(t, "15.7.9", "24G830", "2026-12-01T12:00:00"))
	ctx := t.Context()
	steps := []struct {
		name string
		do   func() error
		want string
	}{
		{"download", b.StartDownload, "downloading"},
		{"downloaded", b.FinishDownload, "prepared"},
		{"install", b.StartInstall, "installing"},
		{"failure", func() error { return b.FailInstall(DiskText) }, "failed"},
		{"waiting again", b.Wait, "waiting"},
		{"download again", b.StartDownload, "downloading"},
		{"downloaded again", b.FinishDownload, "prepared"},
		{"install again", b.StartInstall, "installing"},
		{"done", b.FinishInstall, "none"},
	}
	for _, s := range steps {
		b.must(s.do())
		b.must(b.Report(ctx, false))
		if got := item(b.last(), "softwareupdate.install-state"); got != s.want {
			t.Fatalf("%s: install-state %v, want %s", s.name, got, s.want)
		}
		if s.want == "failed" {
			f, _ := item(b.last(), "softwareupdate.failure-reason").(map[string]any)
			if f["count"] != 1.0 || f["reason"] != DiskText || f["timestamp"] != "2026-11-23T09:00:00Z" {
				t.Errorf("failure-reason %v", f)
			}
		}
	}
	if f, _ := item(b.last(), "softwareupdate.failure-reason").(map[string]any); f["count"] != 0.0 {
		t.Errorf("after success failure-reason is %v", f)
	}
	if err := b.StartInstall(); err == nil {
		t.Error("an install without a target began")
	}
	b.noViolations()
}

func TestBSI(t *testing.T) {
	for _, absence := range []Absence{AbsentItems, EmptyItems, BaseItems} {
		spec := macSpec("26.3.1", "25D2128")
		spec.NoBSI = absence
		b := synced(t, spec, Faults{}, everyItem, enforce(t, "26.3.1", "25D771280a", "2026-12-01T12:00:00"))
		for range 20 {
			b.pass(10 * time.Second)
			b.must(b.Step(t.Context()))
		}
		r := b.last()
		if item(r, "device.operating-system.supplemental.extra-version") != "(a)" ||
			item(r, "device.operating-system.supplemental.build-version") != "25D771280a" ||
			item(r, "device.operating-system.build-version") != nil || b.OS().Build != "25D2128" {
			t.Errorf("after the BSI: %v", r)
		}
		b.pass(time.Minute)
		b.set(spec.UDID, b.now, true, everyItem)
		b.must(b.Poll(t.Context()))
		b.must(b.RemoveBSI())
		b.must(b.Step(t.Context()))
		if got, ok := item(b.last(), "device.operating-system.supplemental.extra-version").(string); !ok || got != "" {
			t.Errorf("after its removal extra-version is %v", got)
		}
		b.noViolations()
	}
}
