package editor

import (
	"net/url"
	"strings"
	"testing"
)

func ringNames(f *Form) string {
	var names []string
	for _, r := range f.Rings {
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}

func TestRingRows(t *testing.T) {
	v := url.Values{
		"updates.mode": {"automatic"}, "updates.within_days": {"14"}, "updates.min_age_days": {"3"}, "priority": {"1"}, "name": {"x"},
		"rings[0].name": {" pilot "}, "rings[0].groups": {"it, qa"}, "rings[0].percent": {"2.5 %"}, "rings[0].within_days": {"2"},
		"rings[1].name": {"early"}, "rings[1].percent": {"ten"}, "rings[1].min_age_days": {"soon"},
		"rings[2].name": {"broad"}, "gate": {"on"}, "gate.min_macs": {"many"}, "rings[9].name": {"unreachable"},
		"updates.days": {"tue", "thu", "noday"},
	}
	f := Read(v)
	p, wrong := f.Policy(nil)
	var at []string
	for _, w := range wrong {
		at = append(at, w.Field)
	}
	if got := strings.Join(at, " "); got != "rings[1].percent rings[1].min_age_days gate.min_macs" {
		t.Errorf("faults at %s", got)
	}
	if len(p.Rings) != 3 || p.Rings[0].Name != "pilot" || len(p.Rings[0].Groups) != 2 || *p.Rings[0].Percent != 2.5 || *p.Rings[0].WithinDays != 2 {
		t.Errorf("%+v", p.Rings)
	}
	if p.Updates.MinAgeDays != nil || strings.Join(p.Updates.Days, " ") != "tue thu" {
		t.Errorf("%+v", p.Updates)
	}
}

func TestRingsAreAddedAndRemoved(t *testing.T) {
	f := New(1)
	for _, step := range []struct{ step, names string }{
		{"save", ""},
		{"ring-add", "pilot everyone"},
		{"ring-add", "pilot  everyone"},
		{"ring-remove:7", "pilot  everyone"},
		{"ring-remove:1", "pilot everyone"},
		{"ring-remove:x", "pilot everyone"},
		{"ring-remove:0", ""},
	} {
		did := f.Edit(step.step)
		if got := ringNames(&f); got != step.names || did != strings.HasPrefix(step.step, "ring-") {
			t.Errorf("%s: %q, %v", step.step, got, did)
		}
	}
	f.Rings = []Ring{{Name: "a", Percent: "5"}, {Name: "b", Groups: "it", Percent: "10", WithinDays: "7", MinAgeDays: "3"}, {Name: "c", MinAgeDays: "5"}}
	f.RemoveRing(2) // the one before it becomes the last, which takes the rest
	if last := f.Rings[1]; last != (Ring{Name: "b", MinAgeDays: "3"}) {
		t.Errorf("the last ring is %+v", last)
	}
	f.Rings = []Ring{{Name: "a", Percent: "5"}, {Name: "b", Percent: "10", MinAgeDays: "3"}, {Name: "c", MinAgeDays: "5"}}
	f.RemoveRing(0) // the next becomes the first, which has no age
	if first := f.Rings[0]; first != (Ring{Name: "b", Percent: "10"}) {
		t.Errorf("the first ring is %+v", first)
	}
}
