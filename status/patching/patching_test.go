package patching

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"plimsoll/declarations/release"
)

const board = "J413AP"

var posted = release.DayOf(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))

// on is ten o'clock on a day, counted from the posting.
func on(day int) time.Time { return (posted + release.Day(day)).Time().Add(10 * time.Hour) }

func catalogue(t *testing.T, day release.Day) *Catalogue {
	t.Helper()
	return NewCatalogue([]*release.Release{
		{Version: "26.3", Build: "25D125", Kind: release.KindOS, Posted: posted - 40, Devices: []string{board}},
		{Version: "26.4", Build: "25E246", Kind: release.KindOS, Posted: posted, Exploited: true, Devices: []string{board}},
		{Version: "26.4", Build: "25E247", Kind: release.KindOS, Posted: posted + 2, Devices: []string{"J999AP"}},
		{
			Version: "26.4", Build: "25E246a", Kind: release.KindBSI, Letter: "a", PrerequisiteBuild: "25E246", Posted: posted + 5,
			Devices: []string{board},
		},
		{Version: "27.0", Build: "26A100", Kind: release.KindOS, Posted: posted + 200, Devices: []string{board}},
	}, day)
}

// enrolled is a Mac that enrolled on a day with a version.
func enrolled(day int, version release.Version) *Mac {
	m := &Mac{Board: board, LastContact: on(39)}
	m.History.Begin(on(day), time.Time{})
	m.History.Saw(on(day), version, "b"+string(version), "")
	return m
}

func (m *Mac) saw(day int, version release.Version) *Mac {
	m.History.Saw(on(day), version, "b"+string(version), "")
	return m
}

func (m *Mac) left(day, last int) *Mac { m.History.End(on(day), on(last)); return m }

func (m *Mac) seen(day int) *Mac { m.LastContact = on(day); return m }

// twenty Macs, each with how it stands with 26.4 on day 39, by hand.
func twenty() []*Mac {
	exempt := enrolled(-30, "26.3")
	exempt.History.Exempted(on(-1), on(60))
	again := enrolled(-30, "26.3").left(1, 1)
	again.History.Begin(on(5), time.Time{})
	return []*Mac{
		enrolled(-30, "26.3").saw(0, "26.4"),                  // patched on the day of the posting
		enrolled(-30, "26.3").saw(1, "26.4"),                  // patched on day 1
		enrolled(-30, "26.2").saw(-20, "26.3").saw(1, "26.4"), // patched on day 1
		enrolled(-30, "26.3").saw(3, "26.4"),                  // patched on day 3
		enrolled(-30, "26.3").saw(5, "26.4.1"),                // patched on day 5, by a later one
		enrolled(-30, "26.3").saw(13, "26.4"),                 // patched on day 13
		enrolled(-30, "26.3").saw(20, "26.4"),                 // patched on day 20
		enrolled(-30, "26.3").left(6, 4),                      // gone, last heard on day 4
		enrolled(-30, "26.3").saw(2, "26.4").left(30, 30),     // patched on day 2; that it left does not matter
		enrolled(-30, "26.3").seen(10),                        // silent since day 10
		enrolled(-30, "26.3").seen(31),                        // silent since day 31
		exempt,                                                // exempt
		enrolled(-30, "26.3"),                                 // open
		enrolled(-30, "26.3").saw(7, "26.3.1"),                // open: 26.3.1 is no 26.4
		enrolled(3, "26.3").saw(9, "26.4"),                    // late, patched
		enrolled(3, "26.3"),                                   // late, open
		enrolled(-30, "26.4"),                                 // had it before
		enrolled(-30, "15.7.4"),                               // another major
		enrolled(-30, "26.3").saw(8, "27.0"),                  // patched on day 8, by an upgrade
		again.saw(6, "26.4"),                                  // left unpatched, came back, patched on day 6
		enrolled(3, "26.3").left(8, 8),                        // the 21st: late, and gone: counted nowhere
	}
}

func count(t *testing.T, macs []*Mac, day int) Counts {
	t.Helper()
	d := posted + release.Day(day)
	counts, cat := NewCounts(), catalogue(t, d)
	for _, m := range macs {
		counts.Add(m, cat, d)
	}
	return counts
}

func days(n int) *int { return &n }

func TestTwentyMacs(t *testing.T) {
	sla, err := ParseSLA("21")
	if err != nil {
		t.Fatal(err)
	}
	key := Key{Version: "26.4"}
	got := Report(count(t, twenty(), 39)[Scope{}], Question{
		AsOf: posted + 39, Closed: true, CompleteFrom: posted - 10, From: posted, To: posted + 30, SLA: &sla, Release: &key,
	})
	want := []Release{{
		Version: "26.4", Posted: posted, Exploited: true,
		Macs: 16, Patched: 10, Gone: 1, Silent: 2, Exempt: 1, Open: 2,
		Late: Late{Macs: 2, Patched: 1, Open: 1},
		// By hand: 15/16, 13/15, 12/13, 11/12, one gone, 9/10, 8/9, 7/8, one silent, 5/6, 4/5.
		Curve:  [][2]float64{{0, 0.0625}, {1, 0.1875}, {2, 0.25}, {3, 0.3125}, {5, 0.38125}, {6, 0.45}, {8, 0.51875}, {13, 0.598958}, {20, 0.679167}},
		Median: days(8),
		Within: map[string]Within{"48h": {3, 13, 0}, "7d": {7, 8, 1}, "14d": {9, 5, 2}, "30d": {10, 4, 2}, "21d": {10, 4, 2}},
	}}
	if d := cmp.Diff(want, got.Releases); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// The same Macs on an earlier day are as the facts up to its end were, whatever came later.
func TestAnEarlierDay(t *testing.T) {
	macs := twenty()
	early := count(t, macs, 4)[Scope{}][Key{Version: "26.4"}]
	// Patched by day 4: those of days 0, 1, 1, 2, 3. Of the other eleven one (left on day 1) is gone and the exempt one is exempt.
	late := early.LateDone + early.LateOpen
	if early.Patched.total() != 5 || early.Gone.total() != 1 || early.Exempt != 1 || early.Macs() != 16 || late != 3 {
		t.Errorf("day 4: %+v", early)
	}
	for _, m := range macs {
		m.saw(45, "26.4.2").left(50, 50)
	}
	if again := count(t, macs, 4)[Scope{}][Key{Version: "26.4"}]; !early.Equal(again) {
		t.Errorf("what came later changed day 4: %+v, %+v", early, again)
	}
}

// An exemption counts on the days whose end it covers; another end of it replaces the one before, and a new one is another.
func TestExempt(t *testing.T) {
	m := enrolled(-30, "26.3").seen(60)
	m.History.Exempted(on(2), on(9))
	m.History.Exempted(on(2), on(6)) // an admin gave it another end
	m.History.Exempted(on(10), on(30))
	m.History.EndExemption(on(12))
	m.History.EndExemption(on(20)) // it had ended
	m.History.Exempted(on(40), (posted + 42).Time())
	for day, want := range map[int]int{1: 0, 2: 1, 5: 1, 6: 0, 9: 0, 10: 1, 11: 1, 12: 0, 20: 0, 40: 1, 41: 1, 42: 0} {
		if c := count(t, []*Mac{m}, day)[Scope{}][Key{Version: "26.4"}]; c.Exempt != want || c.Open != 1-want {
			t.Errorf("day %d: %d exempt, %d open, want %d exempt", day, c.Exempt, c.Open, want)
		}
	}
	if !m.History.Trim(on(13)) || len(m.History.Exempt) != 1 || m.History.Trim(on(13)) {
		t.Errorf("trimmed: %+v", m.History.Exempt)
	}
}

func TestScopes(t *testing.T) {
	a, b := enrolled(-30, "26.3").saw(1, "26.4"), enrolled(-30, "26.3")
	a.Policy, a.Groups = "all", []string{"eng", "it", "it"}
	b.Policy, b.Groups = "all", []string{"eng"}
	counts := count(t, []*Mac{a, b, enrolled(-30, "26.3")}, 10)
	for scope, want := range map[Scope]int{{}: 3, {Policy: "all"}: 2, {Group: "eng"}: 2, {Group: "it"}: 1} {
		if got := counts[scope][Key{Version: "26.4"}].Macs(); got != want {
			t.Errorf("%+v: %d Macs, want %d", scope, got, want)
		}
	}
	if len(counts) != 4 {
		t.Errorf("%d scopes, want 4", len(counts))
	}
}

func TestImprovements(t *testing.T) {
	key := Key{Version: "26.4", Letter: "a"}
	on264 := func() *Mac {
		m := enrolled(-30, "26.3")
		m.History.Saw(on(1), "26.4", "25E246", "")
		return m
	}
	patched := on264()
	patched.History.Saw(on(7), "26.4", "25E246", "a")
	higher := on264()
	higher.History.Saw(on(9), "26.4.1", "25E250", "")
	otherBuild := enrolled(-30, "26.4")
	counts := count(t, []*Mac{on264(), patched, higher, otherBuild, enrolled(-30, "26.3")}, 39)
	c := counts[Scope{}][key]
	if c == nil || c.Macs() != 3 || !reflect.DeepEqual(c.Patched, Days{{2, 1}, {4, 1}}) || c.Open != 1 {
		t.Errorf("26.4 (a): %+v", c)
	}
}

// A Mac whose own build was posted two days later has its days counted from there.
func TestPostingOfTheBoard(t *testing.T) {
	m := enrolled(-30, "26.3").saw(4, "26.4")
	m.Board = "J999AP"
	open := enrolled(-30, "26.3")
	open.Board = "J999AP"
	counts := count(t, []*Mac{m, open}, 10)[Scope{}]
	got := Report(counts, Question{AsOf: posted + 10, From: posted, To: posted}).Releases
	if len(got) != 1 || got[0].Posted != posted || !reflect.DeepEqual(got[0].Curve, [][2]float64{{2, 0.5}}) {
		t.Fatalf("%+v", got)
	}
	if w := got[0].Within["7d"]; w != (Within{1, 1, 0}) { // day 8 of its own, of which the end was seen
		t.Errorf("7d: %+v", w)
	}
	if w := got[0].Within["14d"]; w != (Within{1, 0, 1}) {
		t.Errorf("14d: %+v", w)
	}
}

func expand(times ...int) Days {
	var d Days
	for _, t := range times {
		d.add(t, 1)
	}
	return d
}

// The curves and their percentiles are those of R's survfit, for five data sets of its package survival (testdata/survfit.R).
func TestSurvfit(t *testing.T) {
	b, err := os.ReadFile("testdata/survfit.csv")
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(b))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type set struct {
		events, censored Days
		survival         map[int]float64
		reached          map[string]string
	}
	sets := map[string]*set{}
	for _, row := range rows[1:] {
		name, quantile := strings.CutSuffix(row[0], " quantile")
		s := sets[name]
		if s == nil {
			s = &set{survival: map[int]float64{}, reached: map[string]string{}}
			sets[name] = s
		}
		if quantile {
			s.reached[row[4]] = row[1]
			continue
		}
		day, events, censored := number(t, row[1]), number(t, row[2]), number(t, row[3])
		if events > 0 {
			s.events.add(day, events)
			if s.survival[day], err = strconv.ParseFloat(row[4], 64); err != nil {
				t.Fatal(err)
			}
		}
		if censored > 0 {
			s.censored.add(day, censored)
		}
	}
	if len(sets) != 5 {
		t.Fatalf("%d data sets", len(sets))
	}
	for name, s := range sets {
		curve := Curve(s.events, s.censored)
		if len(curve) != len(s.survival) {
			t.Errorf("%s: %d steps, want %d", name, len(curve), len(s.survival))
		}
		for _, step := range curve {
			if want, ok := s.survival[step.Day]; !ok || math.Abs(1-step.Share-want) > 1e-6 {
				t.Errorf("%s: survival on day %d is %v, want %v", name, step.Day, 1-step.Share, want)
			}
		}
		for share, want := range s.reached {
			p, err := strconv.ParseFloat(share, 64)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if day := reaches(curve, p); day != nil {
				got = strconv.Itoa(*day)
			}
			if got != want {
				t.Errorf("%s: %s is reached on day %q, want %q", name, share, got, want)
			}
		}
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Freireich et al. 1963, weeks of remission of children with acute leukaemia, the standard example; the estimates are those that
// textbooks print (Kleinbaum and Klein, Survival Analysis, tables of chapter 2).
func TestFreireich(t *testing.T) {
	for _, c := range []struct {
		name             string
		events, censored Days
		want             map[int]float64 // survival, to three places
		median           *int
	}{
		{
			"6-MP", expand(6, 6, 6, 7, 10, 13, 16, 22, 23), expand(6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35),
			map[int]float64{6: .857, 7: .807, 10: .753, 13: .690, 16: .627, 22: .538, 23: .448},
			days(23),
		},
		{
			"placebo", expand(1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23), nil,
			map[int]float64{1: .905, 2: .810, 3: .762, 4: .667, 5: .571, 8: .381, 11: .286, 12: .190, 15: .143, 17: .095, 22: .048, 23: 0},
			days(8),
		},
	} {
		curve := Curve(c.events, c.censored)
		if len(curve) != len(c.want) {
			t.Errorf("%s: %d steps, want %d", c.name, len(curve), len(c.want))
		}
		for _, s := range curve {
			if got := math.Round((1-s.Share)*1000) / 1000; got != c.want[s.Day] {
				t.Errorf("%s: survival at %d is %v, want %v", c.name, s.Day, got, c.want[s.Day])
			}
		}
		if d := cmp.Diff(c.median, reaches(curve, 0.5)); d != "" {
			t.Errorf("%s: median %s", c.name, d)
		}
	}
}

func draw(rt *rapid.T, name string) Days {
	var d Days
	for _, day := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 40).Draw(rt, name) {
		d.add(day, 1)
	}
	return d
}

// share is the curve's value on a day.
func share(curve []Step, day int) float64 {
	s := 0.0
	for _, p := range curve {
		if p.Day <= day {
			s = p.Share
		}
	}
	return s
}

const rounding = 1.1e-6

func TestCurveProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events, censored := draw(rt, "events"), draw(rt, "censored")
		curve := Curve(events, censored)
		last := 0.0
		for _, s := range curve {
			if s.Share <= last || s.Share > 1 {
				rt.Fatalf("the curve falls, or stands, at %d: %v", s.Day, curve)
			}
			last = s.Share
		}
		day := rapid.IntRange(0, 60).Draw(rt, "day")

		plain := Curve(events)
		for d := range 61 {
			done := 0
			for _, p := range events {
				if p[0] <= d {
					done += p[1]
				}
			}
			if n := events.total(); n > 0 && math.Abs(share(plain, d)-float64(done)/float64(n)) > rounding {
				rt.Fatalf("day %d: %v is not the plain share of %d in %d", d, share(plain, d), done, n)
			}
		}

		more := append(Days{}, events...)
		more.add(day, 1)
		one := Curve(more, censored)
		other := append(Days{}, censored...)
		other.add(day, 1)
		lost := Curve(events, other)
		for d := range 61 {
			before, after := share(curve, d), share(one, d)
			if d < day && after > before+rounding || d >= day && after < before-rounding {
				rt.Fatalf("a Mac that is patched on day %d changes day %d from %v to %v", day, d, before, after)
			}
			if share(lost, d) > before+rounding {
				rt.Fatalf("a Mac that is censored on day %d raises day %d from %v to %v", day, d, before, share(lost, d))
			}
		}
	})
}

func TestReportProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		asOf := rapid.IntRange(0, 60).Draw(rt, "as of")
		var macs []*Mac
		for range rapid.IntRange(0, 15).Draw(rt, "macs") {
			m := enrolled(rapid.IntRange(-40, 20).Draw(rt, "enrolled"),
				rapid.SampledFrom([]release.Version{"26.2", "26.3", "26.4", "15.7"}).Draw(rt, "v"))
			if rapid.Bool().Draw(rt, "exempt") {
				m.History.Exempted(on(rapid.IntRange(-5, 60).Draw(rt, "since")), on(rapid.IntRange(-5, 60).Draw(rt, "until")))
			}
			m.seen(rapid.IntRange(-40, 70).Draw(rt, "seen"))
			day := 20
			for range rapid.IntRange(0, 3).Draw(rt, "changes") {
				day += rapid.IntRange(0, 20).Draw(rt, "later")
				m.saw(day, rapid.SampledFrom([]release.Version{"26.3", "26.4", "26.4.1", "27.0"}).Draw(rt, "next"))
			}
			if rapid.Bool().Draw(rt, "leaves") {
				m.left(day+1, day)
				if rapid.Bool().Draw(rt, "returns") {
					m.History.Begin(on(day+3), time.Time{})
					m.saw(day+3, "26.4")
				}
			}
			macs = append(macs, m)
		}
		q := Question{AsOf: posted + release.Day(asOf), From: posted - 100, To: posted + 100}
		first, err := json.Marshal(Report(count(t, macs, asOf)[Scope{}], q))
		if err != nil {
			rt.Fatal(err)
		}
		rand.Shuffle(len(macs), func(i, j int) { macs[i], macs[j] = macs[j], macs[i] })
		p := Report(count(t, macs, asOf)[Scope{}], q)
		second, _ := json.Marshal(p)
		if string(first) != string(second) {
			rt.Fatalf("order matters:\n%s\n%s", first, second)
		}
		for _, r := range p.Releases {
			if r.Patched+r.Gone+r.Silent+r.Exempt+r.Open != r.Macs || r.Late.Patched+r.Late.Open != r.Late.Macs {
				rt.Fatalf("the parts do not add up: %+v", r)
			}
			for key, w := range r.Within {
				if w.Yes+w.No+w.Unknown != r.Macs || w.Yes > r.Patched {
					rt.Fatalf("within %s does not add up: %+v", key, r)
				}
			}
		}
	})
}

func TestHistory(t *testing.T) {
	var h History
	if h.Saw(on(0), "26.3", "b", "") {
		t.Error("a Mac without a life keeps a version")
	}
	h.End(on(0), on(0)) // no life: nothing
	h.Begin(on(0), time.Time{})
	if !h.Saw(on(0), "26.3", "b", "") || h.Saw(on(1), "26.3", "b", "") || !h.Saw(on(2), "26.3", "b", "a") || h.Saw(on(2), "", "", "") {
		t.Error("a version is kept once, and a letter is news")
	}
	h.Saw(on(1), "26.4", "c", "") // the clock went back
	h.Begin(on(9), on(5))         // enrolled again without leaving
	h.End(on(8), on(20))          // the clock went back, and the last contact lies after the end
	h.Begin(on(12), time.Time{})
	want := History{Lives: []Life{
		{From: on(0), To: on(9), Last: on(5), Had: []Version{
			{on(0), "26.3", "b", ""}, {on(2), "26.3", "b", "a"}, {on(2), "26.4", "c", ""},
		}},
		{From: on(9), To: on(9), Last: on(9)},
		{From: on(12)},
	}}
	if d := cmp.Diff(want, h); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}
	raw, err := json.Marshal(h)
	var back History
	if err != nil || json.Unmarshal(raw, &back) != nil || !cmp.Equal(h, back) {
		t.Errorf("%s is not read back: %v", raw, err)
	}
	if !h.Trim(on(10)) || len(h.Lives) != 1 || h.Trim(on(10)) {
		t.Errorf("trimmed: %+v", h)
	}
	h.Saw(on(13), "26.4", "c", "")
	h.Saw(on(14), "26.5", "d", "")
	h.Saw(on(15), "26.6", "e", "")
	if !h.Trim(on(15)) || len(h.Lives[0].Had) != 2 || h.Lives[0].Had[0].Version != "26.5" {
		t.Errorf("trimmed: what the Mac had on the day is to stay: %+v", h)
	}
}

func TestParseSLA(t *testing.T) {
	for _, c := range []struct {
		in        string
		days      int
		exploited string // the key for an exploited release
		bad       bool
	}{
		{"21", 21, "21d", false},
		{"1", 1, "1d", false},
		{"cyber-essentials", 14, "14d", false},
		{"essential-eight", 30, "30d", false},
		{"essential-eight-ml3", 30, "48h", false},
		{"cis", 30, "30d", false},
		{"", 0, "", true},
		{"0", 0, "", true},
		{"366", 0, "", true},
		{"07", 0, "", true},
		{"-3", 0, "", true},
		{"pci", 0, "", true},
	} {
		s, err := ParseSLA(c.in)
		if (err != nil) != c.bad || s.Days != c.days {
			t.Errorf("%q: %+v, %v", c.in, s, err)
			continue
		}
		if _, key := s.limit(true); !c.bad && key != c.exploited {
			t.Errorf("%q: exploited releases have the limit %s, want %s", c.in, key, c.exploited)
		}
	}
	for _, p := range Profiles {
		if p.Source == "" || p.SourceDate == "" {
			t.Errorf("%s has no source with a date", p.Profile)
		}
	}
}

func TestEmptyReport(t *testing.T) {
	got, err := json.Marshal(Report(nil, Question{AsOf: posted, Closed: true, From: posted, To: posted}))
	want := `{"format":1,"as_of":"2026-03-02","closed":true,"complete_from":null,"sla":null,"releases":[]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}
