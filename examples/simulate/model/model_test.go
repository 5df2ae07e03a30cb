package model

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"plimsoll/declarations/release"
)

func scenarios(t *testing.T, names ...string) []Scenario {
	t.Helper()
	all, err := Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		return all
	}
	var chosen []Scenario
	for _, name := range names {
		found := false
		for _, s := range all {
			if s.Name == name {
				chosen, found = append(chosen, s), true
			}
		}
		if !found {
			t.Fatalf("there is no scenario %q", name)
		}
	}
	return chosen
}

func simulated(t *testing.T, n int, seed uint64, u Users, names ...string) Report {
	t.Helper()
	r, err := Run(n, seed, u, scenarios(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// written is everything that a run writes.
func written(t *testing.T, r Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&b).Encode(r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSameSeedSameBytes(t *testing.T) {
	first := written(t, simulated(t, 60, 7, Default))
	if second := written(t, simulated(t, 60, 7, Default)); !bytes.Equal(first, second) {
		t.Error("two runs with the same seed differ")
	}
	if other := written(t, simulated(t, 60, 8, Default)); bytes.Equal(first, other) {
		t.Error("two seeds give the same fleet")
	}
}

// Nobody updates by himself, every Mac is on every day, and no install fails: the deadline alone decides, so each release is
// installed at 12:00 on its due date or before, by the westernmost Mac's clock.
func TestWithinTheLimit(t *testing.T) {
	for _, tt := range []struct {
		name string
		most float64 // days from the release's appearance
	}{
		{"ours, 14 days", 14 + 20.0/24},
		{"ours, 21 days", 21 + 20.0/24},
		{"ours, 30 days", 30 + 20.0/24},
		// Five days of notice from the first moment, 2025-09-20T16:36Z, end at noon of the 26th at the latest.
		{"ours, 7 days", 7 + 20.0/24},
	} {
		r := simulated(t, 150, 1, Users{}, tt.name).Results[0]
		if r.Missed < 150 {
			t.Errorf("%s: only %d releases were missed", tt.name, r.Missed)
		}
		if r.Worst < 0 || float64(r.Worst) > tt.most {
			t.Errorf("%s: the last Mac took %s days, want at most %.1f", tt.name, r.Worst, tt.most)
		}
	}
}

// On 2025-09-29 Apple posted a release 14 days after the one before: counted from the newest, 30 days begin again.
func TestAfterNewestDrifts(t *testing.T) {
	r := simulated(t, 150, 1, Users{}, "30 days after the newest", "ours, 30 days")
	if field, ours := r.Results[0].Worst, r.Results[1].Worst; field < 35 || ours > 31 {
		t.Errorf("the last Mac took %s days after the newest and %s by ours, want over 35 and at most 31", field, ours)
	}
}

func TestNoEnforcement(t *testing.T) {
	if r := simulated(t, 100, 1, Users{}, "no enforcement").Results[0]; r.In30 != 0 || r.Restarts != 0 || r.Tokens != 0 || r.Worst >= 0 {
		t.Errorf("nobody was told anything and nobody updates by himself, but %+v", r)
	}
}

func TestClosedDays(t *testing.T) {
	r := simulated(t, 200, 3, Default, "ours, 14 days", "ours, 14 days, Tue to Thu", "ours, 14 days, freeze")
	open, days, freeze := r.Results[0], r.Results[1], r.Results[2]
	if open.FriToMon == 0 || open.YearEnd == 0 {
		t.Errorf("without closed days: %d deadlines on Friday to Monday and %d at the year's end, want some", open.FriToMon, open.YearEnd)
	}
	if days.FriToMon != 0 || days.Deadlines == 0 {
		t.Errorf("Tue to Thu: %d of %d deadlines are on other days", days.FriToMon, days.Deadlines)
	}
	if freeze.YearEnd != 0 || freeze.Deadlines == 0 {
		t.Errorf("freeze: %d of %d deadlines are in it", freeze.YearEnd, freeze.Deadlines)
	}
}

func TestFaultyRelease(t *testing.T) {
	u := Users{FaultyFailsFor: 0.3}
	r := simulated(t, 1500, 1, u, "faulty release, no rings", "faulty release, rings", "ours, 14 days, rings")
	without, with, perfect := r.Results[0], r.Results[1], r.Results[2]
	if without.Halts != 0 || without.Hit == 0 {
		t.Errorf("without rings: %d halts, %d Macs hit", without.Halts, without.Hit)
	}
	if with.Halts == 0 || with.HitAtHalt < 3 || with.HitAtHalt > without.Hit/2 {
		t.Errorf("with rings: %d halts, the first after %d Macs; %d Macs hit by the end, %d without rings", with.Halts, with.HitAtHalt,
			with.Hit, without.Hit)
	}
	if perfect.Halts != 0 || perfect.Hit != 0 {
		t.Errorf("a perfect release: %d halts, %d Macs hit", perfect.Halts, perfect.Hit)
	}
}

func TestCatalogues(t *testing.T) {
	all, err := Catalogues()
	if err != nil {
		t.Fatal(err)
	}
	if want := int(End.Sub(Start) / day); len(all) != want {
		t.Fatalf("%d days, want %d", len(all), want)
	}
	on := func(date string) *release.Catalog {
		at, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		return all[int(at.Sub(Start)/day)]
	}
	for _, tt := range []struct {
		date, build string
		known       bool
	}{
		{"2025-09-21", "25A354", true},
		{"2025-09-29", "25A362", false},
		{"2025-09-30", "25A362", true},
		{"2025-11-03", "25B78", false},
		{"2025-11-04", "25B78", true},
		{"2025-12-12", "25C56", false},
		{"2025-12-13", "25C56", true},
	} {
		r := release.NewIndex(on(tt.date)).Build(tt.build)
		if (r != nil) != tt.known {
			t.Errorf("%s on %s: known %v, want %v", tt.build, tt.date, r != nil, tt.known)
		}
	}
	if r := release.NewIndex(on("2025-11-04")).Build("25B78"); r == nil || !r.Exploited {
		t.Error("26.1 fixes exploited vulnerabilities, and is not marked")
	}
	if on("2025-10-03") != on("2025-10-04") {
		t.Error("nothing was released on 2025-10-03, but the catalogue is another")
	}
}

func TestPeople(t *testing.T) {
	all, err := Catalogues()
	if err != nil {
		t.Fatal(err)
	}
	x := release.NewIndex(all[0])
	majors, off := map[int]int{}, 0
	u := Users{OffAtWeekends: 1}
	for _, p := range people(500, 1, &u, x, boardsOf(all[0])) {
		majors[p.facts.Version.Major()]++
		if !x.Knows(p.facts.Version, p.facts.Build) {
			t.Errorf("Mac %d runs %s (%s), which was not released", p.n, p.facts.Version, p.facts.Build)
		}
		for d := range 28 {
			weekend := Start.AddDate(0, 0, d).Weekday()%6 == 0
			if p.on(1, &u, d) == weekend {
				off++
			}
		}
	}
	if off != 0 {
		t.Errorf("on %d days Macs are on at a weekend, or off on a weekday", off)
	}
	for _, major := range []int{14, 15, 26} {
		if majors[major] < 50 {
			t.Errorf("%d of 500 Macs run macOS %d", majors[major], major)
		}
	}
}

func TestDraw(t *testing.T) {
	sum := 0.0
	const n = 20000
	for i := range n {
		v := draw(1, i, drawFails, i%7)
		if v < 0 || v >= 1 {
			t.Fatalf("drew %v", v)
		}
		sum += v
	}
	if mean := sum / n; math.Abs(mean-0.5) > 0.01 {
		t.Errorf("the mean of %d draws is %v", n, mean)
	}
}

// The Macs of one seed are not those of another in another order.
func TestSeedsAreApart(t *testing.T) {
	seen := map[float64]bool{}
	for seed := range uint64(8) {
		for mac := range 64 {
			v := draw(seed, mac, drawFaulty, 0)
			if seen[v] {
				t.Fatalf("seed %d, Mac %d: drawn before", seed, mac)
			}
			seen[v] = true
		}
	}
}

func TestShares(t *testing.T) {
	r := Result{days: []float64{1, 2, 2, 3, 10, 20, 30, 31, 40, math.Inf(1)}}
	for _, tt := range []struct{ days, want float64 }{{0, 0}, {1, 10}, {2, 30}, {2.5, 30}, {30, 70}, {100, 90}} {
		if got := r.within(tt.days); got != tt.want {
			t.Errorf("within %v days: %v %%, want %v", tt.days, got, tt.want)
		}
	}
	for _, tt := range []struct {
		share float64
		want  string
	}{{0.1, "1.0"}, {0.5, "10.0"}, {0.9, "40.0"}, {0.95, "open"}, {1, "open"}} {
		if got := r.part(tt.share).String(); got != tt.want {
			t.Errorf("share %v: %s days, want %s", tt.share, got, tt.want)
		}
	}
}

func TestSVGIsXML(t *testing.T) {
	var b bytes.Buffer
	r := simulated(t, 20, 1, Default, "no enforcement", "ours, 7 days")
	if err := r.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != 2 {
		t.Errorf("%d curves, want 2", lines)
	}
}
