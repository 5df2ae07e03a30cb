package plan

import (
	"fmt"
	"testing"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// tenPolicies is a book with ten policies over the built-in catalogue; the last one, for every Mac, governs.
func tenPolicies(t testing.TB) *Book {
	t.Helper()
	in := policy.Input{Catalog: release.Snapshot()}
	for i := range 9 {
		assign := fmt.Sprintf(`{"groups":["g%d"]}`, i)
		if i%3 == 0 {
			assign = fmt.Sprintf(`{"when":"model startsWith 'Mac%d,' && version < '26.10'"}`, 30+i)
		}
		in.Policies = append(in.Policies, stored(t, fmt.Sprintf(`{"name":"p%d","priority":%d,"assign":%s,"updates":{"mode":"automatic","within_days":14}}`, i, 100-i, assign), "2026-01-01"))
		in.Groups = append(in.Groups, policy.Group{Name: fmt.Sprintf("g%d", i), Devices: []string{fmt.Sprintf("SERIAL%d", i)}})
	}
	in.Policies = append(in.Policies, stored(t, `{"name":"all","priority":1,"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3},
		"background_security":{"mode":"automatic","within_days":2},"settings":{"AutomaticActions":{"Download":"AlwaysOn"}},"details_url":"https://it.example.com/updates"}`, "2026-01-01"))
	b, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkPlan(b *testing.B) {
	book := tenPolicies(b)
	now := at(b, "2026-08-22T10:00")
	for _, bb := range []struct {
		name string
		mac  *Mac
	}{
		{"new", mac("15.7.7", "24G720")},
		{"promised", mac("15.7.7", "24G720")},
		{"satisfied", mac("26.6.2", "25G83")},
	} {
		bb.mac.Facts.Board, bb.mac.Asks = "J413AP", true
		if bb.name == "promised" {
			bb.mac.Lanes = book.Plan(bb.mac, now).NextLanes
		}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				book.Plan(bb.mac, now)
			}
		})
	}
}

// One plan with ten policies, of which the one that governs has four rings, and ten freezes (at most 25 µs).
func BenchmarkPlanRingsAndFreezes(b *testing.B) {
	in := tenPolicies(b).Input
	last := len(in.Policies) - 1
	in.Policies[last] = stored(b, `{"name":"all","priority":1,"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"days":["tue","wed","thu"]},"notice_days":2,
		"rings":[{"name":"canary","groups":["g1"],"within_days":2},{"name":"early","percent":10,"within_days":5},{"name":"more","percent":30,"within_days":9,"min_age_days":3},{"name":"broad","min_age_days":5}],
		"gate":{},"background_security":{"mode":"automatic","within_days":2}}`, "2026-01-01")
	for i := range 10 {
		f := freeze(b, fmt.Sprint("freeze-", i), fmt.Sprintf("2026-%02d-05", i+3), fmt.Sprintf("2026-%02d-20", i+3), i%2 == 0)
		if i%3 == 0 {
			f.ExcludeGroups = []string{"g2"}
		}
		in.Freezes = append(in.Freezes, f)
	}
	book, err := Compile(in)
	if err != nil {
		b.Fatal(err)
	}
	m, now := mac("26.5", "25F71"), at(b, "2026-08-22T10:00")
	m.Facts.Board, m.Asks = "J413AP", true
	if p := book.Plan(m, now); p.Ring != "broad" && p.Ring != "more" && p.Ring != "early" {
		b.Fatalf("ring %q", p.Ring)
	}
	b.ReportAllocs()
	for b.Loop() {
		book.Plan(m, now)
	}
}

func BenchmarkCompile(b *testing.B) {
	in := tenPolicies(b).Input
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(in); err != nil {
			b.Fatal(err)
		}
	}
}
