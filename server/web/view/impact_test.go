package view

import (
	"slices"
	"testing"

	"plimsoll/server/fleet"
)

func TestTheImpactInOneSentence(t *testing.T) {
	first, last := "2026-08-28T12:00:00", "2026-08-31T12:00:00"
	for _, tt := range []struct {
		name   string
		impact fleet.Impact
		want   string
	}{
		{"nothing", fleet.Impact{}, "No Mac restarts because of this."},
		{
			"one Mac",
			fleet.Impact{Devices: 1, Restarting: 1, FirstRestartLocal: &first, LastRestartLocal: &first},
			"1 Mac restarts by Friday 28 August 2026, 12:00.",
		},
		{
			"more, not all of which can",
			fleet.Impact{
				Devices: 9, Restarting: 3, NoLongerAsked: 2, Cannot: 1, FirstRestartLocal: &first, LastRestartLocal: &last,
			},
			"3 Macs restart by Monday 31 August 2026, 12:00, the first by Friday 28 August 2026, 12:00; 2 are no longer asked; " +
				"1 cannot be updated this way.",
		},
	} {
		m := ImpactOf(&tt.impact)
		if m.Lead != tt.want || m.Any != (tt.impact.Devices > 0) {
			t.Errorf("%s: %q, want %q", tt.name, m.Lead, tt.want)
		}
	}
	if m := ImpactOf(nil); m.Any || m.Lead != "" {
		t.Errorf("no impact: %+v", m)
	}
}

func TestTheImpactOnOneMac(t *testing.T) {
	guard := "more than half of all Macs would restart"
	m := ImpactOf(&fleet.Impact{
		Devices: 2, DueWithin24h: 1, Guard: &guard,
		Sample: []fleet.ImpactSample{{Device: "a/b", Serial: "C02AAA"}, {Device: "c"}},
	})
	want := []ImpactRow{
		{Device: "C02AAA", Link: "/devices/a%2Fb", Before: "nothing asked", After: "nothing asked"},
		{Device: "c", Link: "/devices/c", Before: "nothing asked", After: "nothing asked"},
	}
	if !slices.Equal(m.Sample, want) {
		t.Errorf("%+v", m.Sample)
	}
	if m.Guard != "More than half of all Macs would restart." {
		t.Errorf("the guard: %q", m.Guard)
	}
	for _, n := range m.Numbers {
		if n.Loud != (n.Label == "due within 24 hours") {
			t.Errorf("%s is loud: %t", n.Label, n.Loud)
		}
	}
}

func TestWords(t *testing.T) {
	for given, want := range map[string][]string{
		"": nil, "a": {"a"}, "a, b": {"a", "b"}, "a;b\r\nc\td ": {"a", "b", "c", "d"}, " , ": nil,
	} {
		if got := Words(given); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}
