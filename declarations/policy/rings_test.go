package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"plimsoll/declarations/release"
	"plimsoll/status"
)

const ringed = `{"name":"ringed","updates":{"mode":"automatic","within_days":14},"notice_days":2,"rings":[
	{"name":"canary","groups":["it"],"within_days":2},{"name":"early","percent":10,"within_days":7,"min_age_days":3},{"name":"broad","min_age_days":5}],
	"gate":{"min_macs":20,"max_bad_percent":5}}`

// The value that rules 13 gives for this Mac.
func TestRingHash(t *testing.T) {
	if h := RingHash("ringed", "00000000-0000-4000-8000-000000001000"); math.Abs(h-97.9391) > 0.00005 {
		t.Errorf("h = %.4f, want 97.9391", h)
	}
}

func ringBook(t rapid.TB, src string, groups ...Group) *Book {
	t.Helper()
	w := given(t, src, "2026-01-01", august...)
	w.in.Groups = groups
	return w.book()
}

func TestRingOf(t *testing.T) {
	b := ringBook(t, ringed, Group{"it", []string{"ID-IT"}}, Group{"early", []string{"ID-E"}})
	for id, want := range map[string]string{"ID-IT": "canary", "00000000-0000-4000-8000-000000001000": "broad"} {
		r := b.Rules[0]
		if got := r.Rings[b.RingOf(r, &status.Facts{ID: id})].Name; got != want {
			t.Errorf("%s is in %s, want %s", id, got, want)
		}
	}
	// About a tenth is in the ring of 10 percent.
	n := 0
	for i := range 10000 {
		if b.RingOf(b.Rules[0], &status.Facts{ID: fmt.Sprintf("ID-%d", i)}) == 1 {
			n++
		}
	}
	if n < 900 || n > 1100 {
		t.Errorf("%d of 10,000 Macs are in the ring of 10 percent", n)
	}
}

// Membership needs no state, and raising a percentage moves Macs only inwards.
func TestRaisingAPercentageMovesInwards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Float64Range(0.5, 40).Draw(t, "first")
		second := rapid.Float64Range(0.5, 40).Draw(t, "second")
		grow := rapid.SampledFrom([]int{0, 1}).Draw(t, "which")
		more := [2]float64{first, second}
		more[grow] += rapid.Float64Range(0, 19).Draw(t, "by")
		src := func(p [2]float64) string {
			return fmt.Sprintf(`{"name":"r","updates":{"mode":"automatic","within_days":14},"rings":[{"name":"a","percent":%g},{"name":"b","percent":%g},{"name":"c"}]}`, p[0], p[1])
		}
		before, after := ringBook(t, src([2]float64{first, second})), ringBook(t, src(more))
		for i := range 200 {
			f := &status.Facts{ID: fmt.Sprintf("MAC-%d", i)}
			x, y := before.RingOf(before.Rules[0], f), after.RingOf(after.Rules[0], f)
			if y > x {
				t.Fatalf("%s moves from ring %d to %d", f.ID, x, y)
			}
			if again := before.RingOf(before.Rules[0], f); again != x {
				t.Fatalf("%s is in ring %d, then in %d", f.ID, x, again)
			}
		}
	})
}

func TestValidateDaysAndRings(t *testing.T) {
	auto := func(rest string) string {
		return `{"updates":{"mode":"automatic","within_days":14},"notice_days":2,` + rest + `}`
	}
	rings := func(list string) string { return auto(`"rings":[` + list + `]`) }
	for _, tt := range []struct{ name, src, field, says string }{
		{"rules 13's example", ringed, "", ""},
		{"days", `{"updates":{"mode":"automatic","within_days":14,"days":["tue","wed","thu"]}}`, "", ""},
		{"no day", `{"updates":{"mode":"automatic","within_days":14,"days":[]}}`, "updates.days", "at least one"},
		{"no such day", `{"updates":{"mode":"automatic","within_days":14,"days":["mon","tues"]}}`, "updates.days[1]", "must be a weekday"},
		{"a day twice", `{"updates":{"mode":"automatic","within_days":14,"days":["mon","mon"]}}`, "updates.days[1]", "again"},
		{"days with a fixed deadline", `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00","days":["mon"]}}`, "updates.days", "mode is minimum"},
		{"days of BSIs", `{"background_security":{"mode":"automatic","within_days":2,"days":["mon"]}}`, "", ""},
		{"no day of BSIs", `{"background_security":{"mode":"automatic","within_days":2,"days":["noon"]}}`, "background_security.days[0]", "must be a weekday"},
		{"days without BSIs", `{"background_security":{"mode":"none","days":["mon"]}}`, "background_security.days", "mode is none"},
		{"deadline at the epoch", `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"1970-01-01T00:00:00"}}`, "updates.deadline", "must lie between 2000 and 2099"},
		{"one ring", rings(`{"name":"a"}`), "rings", "between 2 and 10"},
		{"eleven rings", rings(strings.Repeat(`{"name":"a","percent":1},`, 10) + `{"name":"z"}`), "rings", "between 2 and 10"},
		{"equal names", rings(`{"name":"a","percent":1},{"name":"a"}`), "rings[1].name", "another ring"},
		{"no name", rings(`{"name":"a","percent":1},{"name":"Broad Ring"}`), "rings[1].name", "1 to 63"},
		{"percent 0", rings(`{"name":"a","percent":0},{"name":"b"}`), "rings[0].percent", "above 0"},
		{"percent over 100", rings(`{"name":"a","percent":100.5},{"name":"b"}`), "rings[0].percent", "above 0"},
		{"percentages over 100", rings(`{"name":"a","percent":60},{"name":"b","percent":41},{"name":"c"}`), "rings[1].percent", "more than 100"},
		{"percentages of 100", rings(`{"name":"a","percent":60},{"name":"b","percent":40},{"name":"c"}`), "", ""},
		{"a ring that takes none", rings(`{"name":"a"},{"name":"b"}`), "rings[0]", "groups or percent"},
		{"a last ring that does not take the rest", rings(`{"name":"a","percent":1},{"name":"b","percent":5}`), "rings[1].percent", "takes the rest"},
		{"a last ring with groups", rings(`{"name":"a","percent":1},{"name":"b","groups":["x"]}`), "rings[1].groups", "takes the rest"},
		{"days that fall", rings(`{"name":"a","percent":1,"within_days":7},{"name":"b","percent":1,"within_days":5},{"name":"c"}`), "rings[1].within_days", "at least the 7"},
		{"days above those of updates", rings(`{"name":"a","percent":1,"within_days":20},{"name":"c"}`), "rings[0].within_days", "at most updates.within_days"},
		{"days of the last ring", rings(`{"name":"a","percent":1},{"name":"c","within_days":14}`), "rings[1].within_days", "last ring"},
		{"no days at all", rings(`{"name":"a","percent":1,"within_days":0},{"name":"c"}`), "rings[0].within_days", "between 1 and 365"},
		{"age of the first", rings(`{"name":"a","percent":1,"min_age_days":1},{"name":"c"}`), "rings[0].min_age_days", "first ring"},
		{"ages that fall", rings(`{"name":"a","percent":1},{"name":"b","percent":1,"min_age_days":4},{"name":"c","min_age_days":3}`), "rings[2].min_age_days", "at least the 4"},
		{"too old for the notice", rings(`{"name":"a","percent":1},{"name":"c","min_age_days":12}`), "rings[1].min_age_days", "between 0 and 11"},
		{"as old as the notice lets", rings(`{"name":"a","percent":1},{"name":"c","min_age_days":11}`), "", ""},
		{"min_age_days beside rings", `{"updates":{"mode":"automatic","within_days":14,"min_age_days":1},"rings":[{"name":"a","percent":1},{"name":"b"}]}`, "updates.min_age_days", "there are rings"},
		{"rings of a minimum", `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"},"rings":[{"name":"a","percent":1},{"name":"b"}]}`, "rings", "not automatic"},
		{"a gate without rings", auto(`"gate":{}`), "gate", "no rings"},
		{"min_macs", auto(`"rings":[{"name":"a","percent":1},{"name":"b"}],"gate":{"min_macs":0}`), "gate.min_macs", "between 1 and 100000"},
		{"max_bad_percent", auto(`"rings":[{"name":"a","percent":1},{"name":"b"}],"gate":{"max_bad_percent":101}`), "gate.max_bad_percent", "between 0 and 100"},
		{"a zone", auto(`"time_zone":"Europe/Berlin"`), "", ""},
		{"no zone", auto(`"time_zone":"Local"`), "time_zone", "IANA"},
		{"an unknown zone", auto(`"time_zone":"Mars/Olympus"`), "time_zone", "IANA"},
		{"at enrolment", auto(`"at_enrolment":"newest"`), "", ""},
		{"at enrolment, another word", auto(`"at_enrolment":"oldest"`), "at_enrolment", "newest or floor"},
		{"at enrolment, unmanaged", `{"at_enrolment":"floor"}`, "at_enrolment", "not managed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pol(t, tt.src)
			faults, _ := Validate(&p, nil, ringBook(t, automatic14), at(t, "2026-08-20"))
			if tt.field == "" {
				if len(faults) != 0 {
					t.Errorf("%+v", faults)
				}
				return
			}
			if !slices.ContainsFunc(faults, func(f FieldError) bool { return f.Field == tt.field && strings.Contains(f.Reason, tt.says) }) {
				t.Errorf("%+v, want %s: … %s", faults, tt.field, tt.says)
			}
		})
	}
}

func TestRingWarnings(t *testing.T) {
	codes := func(list []Reason) (out []string) {
		for _, r := range list {
			out = append(out, r.Code+" "+fmt.Sprint(r.Evidence["ring"]))
			if strings.ContainsAny(r.Text, "{}") || r.Advice == "" {
				t.Errorf("%+v is not complete", r)
			}
		}
		return out
	}
	b := ringBook(t, automatic14, Group{"it", []string{"X"}})
	for src, want := range map[string][]string{
		ringed: nil, // early opens by time on day 4, canary's deadline is on day 2; broad on day 11 after day 7
		`{"updates":{"mode":"automatic","within_days":14},"rings":[{"name":"a","groups":["it"],"within_days":8},{"name":"b"}]}`: {"ring_opens_early b"},
		`{"updates":{"mode":"automatic","within_days":14},"rings":[{"name":"a","groups":["it"],"within_days":7},{"name":"b"}]}`: nil,
	} {
		p := pol(t, src)
		if _, got := Validate(&p, nil, b, at(t, "2026-08-20")); !slices.Equal(codes(got), want) {
			t.Errorf("%s\nwarns %v, want %v", src, codes(got), want)
		}
	}
	p := pol(t, ringed)
	if got := codes(SmallRings(&p, []int{20, 19, 3})); !slices.Equal(got, []string{"ring_too_small early"}) {
		t.Errorf("small rings: %v", got)
	}
}

func TestValidateFreeze(t *testing.T) {
	day := func(s string) release.Day { d, _ := release.ParseDay(s); return d }
	base := Freeze{Name: "year-end", From: day("2026-12-19"), To: day("2027-01-04"), Reason: "closed"}
	b := ringBook(t, automatic14)
	for _, tt := range []struct {
		name   string
		edit   func(*Freeze)
		before *Freeze
		now    string
		field  string
	}{
		{"sound", func(*Freeze) {}, nil, "2026-12-01", ""},
		{"it has begun", func(*Freeze) {}, nil, "2026-12-30", ""},
		{"its last day at UTC-12", func(*Freeze) {}, nil, "2027-01-05T11:59", ""},
		{"it is over", func(*Freeze) {}, nil, "2027-01-05T12:00", "to"},
		{"it is over and unchanged", func(f *Freeze) { f.Reason = "relabelled" }, &base, "2027-02-05", ""},
		{"it ends before it begins", func(f *Freeze) { f.To = f.From - 1 }, nil, "2026-12-01", "to"},
		{"45 days", func(f *Freeze) { f.To = f.From + 44 }, nil, "2026-12-01", ""},
		{"46 days", func(f *Freeze) { f.To = f.From + 45 }, nil, "2026-12-01", "to"},
		{"no reason", func(f *Freeze) { f.Reason = "" }, nil, "2026-12-01", "reason"},
		{"no from", func(f *Freeze) { f.From = 0 }, nil, "2026-12-01", "from"},
		{"no name", func(f *Freeze) { f.Name = "Year end" }, nil, "2026-12-01", "name"},
	} {
		f := base
		tt.edit(&f)
		faults, _ := ValidateFreeze(&f, tt.before, b, at(t, tt.now))
		got := ""
		if len(faults) > 0 {
			got = faults[0].Field
		}
		if got != tt.field || len(faults) > 1 {
			t.Errorf("%s: %+v, want a fault of %q", tt.name, faults, tt.field)
		}
	}
	unknown := base
	unknown.Groups, unknown.ExcludeGroups = []string{"shops"}, []string{"office"}
	if faults, warnings := ValidateFreeze(&unknown, nil, b, at(t, "2026-12-01")); len(faults) != 0 || len(warnings) != 2 {
		t.Errorf("unknown groups: %+v, %+v", faults, warnings)
	}
}

func TestFreezesOf(t *testing.T) {
	w := given(t, automatic14, "2026-01-01", august...)
	w.in.Groups = []Group{{"shops", []string{"S1", "B"}}, {"office", []string{"B"}}}
	w.in.Freezes = []Freeze{
		{Name: "second", From: 200, To: 210}, {Name: "shops", From: 100, To: 110, Groups: []string{"shops"}, ExcludeGroups: []string{"office"}},
	}
	b := w.book()
	for id, want := range map[string]string{"S1": "shops second", "B": "second", "X": "second"} {
		var got []string
		for _, f := range b.FreezesOf(&status.Facts{ID: id}) {
			got = append(got, f.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is covered by %v, want %s", id, got, want)
		}
	}
}

func TestWeekdays(t *testing.T) {
	w, err := weekdays([]string{"mon", "fri"})
	if err != nil {
		t.Fatal(err)
	}
	for d := release.Day(20000); d < 20014; d++ {
		day := d.Time().Weekday()
		if w.Has(d) != (day == time.Monday || day == time.Friday) || !Weekdays(0).Has(d) {
			t.Errorf("%s (%s): %v", d, day, w.Has(d))
		}
	}
}
