package release

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"
	"time"
)

// Rules 2, and versions as Apple's feed has them.
func TestVersionOrder(t *testing.T) {
	order := []Version{"", "9.9", "13.7.8", "14.8.5", "14.8.7", "15.7.9", "26", "26.0.1", "26.1", "26.4", "26.4.1", "26.6", "26.6.2", "26.10", "26.10.1", "27.0", "100.0"}
	for i, a := range order {
		for j, b := range order {
			c := a.Compare(b)
			if (c < 0) != (i < j) || (c > 0) != (i > j) {
				t.Errorf("%s compared with %s is %d", a, b, c)
			}
			if (a.key() == b.key()) != (i == j) {
				t.Errorf("%s and %s: keys %q and %q", a, b, a.key(), b.key())
			}
		}
	}
	for _, same := range [][2]Version{{"26.4", "26.4.0"}, {"26", "26.0.0.0"}, {"26.4", "026.04"}, {"26.0.1", "26.0.1.0"}} {
		if same[0].Compare(same[1]) != 0 || same[0].key() != same[1].key() {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, major := range map[string]int{"26.4": 26, "15.7.9": 15, "27": 27, "1.2.3.4": 1, "26.4.0": 26} {
		if v, err := ParseVersion(s); err != nil || string(v) != s || v.Major() != major {
			t.Errorf("%s: %q %d %v", s, v, v.Major(), err)
		}
	}
	for _, s := range []string{"", ".", "26.", ".4", "26..4", "26.4a", "26.3.1 (a)", "1.2.3.4.5", "26,4", "-1", "+26", "1234567", "２６"} {
		if _, err := ParseVersion(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestNormalLetter(t *testing.T) {
	for in, want := range map[string]string{"(a)": "a", "a": "a", "(A)": "a", " (b) ": "b", "": "", "()": "", "(ab)": "", "1": "", "(1)": ""} {
		if got := NormalLetter(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// Apple's feed: posting dates are days in UTC.
func TestDay(t *testing.T) {
	california := time.FixedZone("PDT", -7*3600)
	if d := DayOf(time.Date(2025, 10, 15, 17, 50, 0, 0, california)); d.String() != "2025-10-16" {
		t.Errorf("the evening of the 15th in California is the %s", d)
	}
	for _, s := range []string{"2000-01-01", "2026-08-22", "2024-02-29", "1969-12-31", "1900-03-01"} {
		d, err := ParseDay(s)
		if err != nil || d.String() != s || d.Time().Format(time.DateOnly) != s || d.Time().Location() != time.UTC {
			t.Errorf("%s is %s, %v", s, d, err)
		}
		b, err := json.Marshal(d)
		var back Day
		if err != nil || string(b) != `"`+s+`"` || json.Unmarshal(b, &back) != nil || back != d {
			t.Errorf("%s as JSON is %s, %v", s, b, err)
		}
	}
	if b, err := json.Marshal(Day(0)); err != nil || string(b) != "null" || Day(0).String() != "" {
		t.Errorf("no day is %s, %v", b, err)
	}
	for in, want := range map[string]Day{`null`: 0, `""`: 0, `"1970-01-02"`: 1} {
		d := Day(7)
		if err := json.Unmarshal([]byte(in), &d); err != nil || d != want {
			t.Errorf("%s is %d, %v", in, d, err)
		}
	}
	for _, in := range []string{`7`, `"x"`, `"2026-13-01"`, `"2026-02-30"`, `{}`, `"2026-08-22T00:00:00Z"`} {
		if err := json.Unmarshal([]byte(in), new(Day)); err == nil {
			t.Errorf("%s is accepted", in)
		}
	}
	if earliestPosting.String() != "2000-01-01" {
		t.Errorf("earliest posting is %s", earliestPosting)
	}
}

func TestPrerelease(t *testing.T) {
	x := NewIndex(Snapshot())
	tests := []struct {
		name        string
		version     Version
		build       string
		knows, want bool
	}{
		{"released", "26.6.2", "25G83", true, false},
		{"released, written otherwise", "26.6.2.0", "25G83", true, false},
		{"another build of a known version", "26.6.2", "25G5083a", false, true},
		{"above everything known", "26.7", "25H5010b", false, true},
		{"the next major", "27.0", "26A5279m", false, true},
		{"older than what is known: nothing can be said", "26.4", "25E246", false, false},
		{"a known build with another version", "26.6.1", "25G83", false, true},
		{"no build yet", "26.6.2", "", false, false},
		{"no version yet", "", "25G83", false, false},
	}
	for _, tt := range tests {
		if got := x.Knows(tt.version, tt.build); got != tt.knows {
			t.Errorf("%s: known %v", tt.name, got)
		}
		if got := x.Prerelease(tt.version, tt.build); got != tt.want {
			t.Errorf("%s: prerelease %v", tt.name, got)
		}
	}
	if NewIndex(&Catalog{}).Prerelease("26.6.2", "25G83") {
		t.Error("an empty catalogue says nothing")
	}
}

// The program's table against the feed: a board that no release names would be a slip (rules 4).
func TestBoards(t *testing.T) {
	table := boardsOnce()
	if table.err != nil || len(table.byModel) != 56 || len(table.byBoard) != 56 {
		t.Fatalf("%d models, %d boards, %v", len(table.byModel), len(table.byBoard), table.err)
	}
	x := NewIndex(Snapshot())
	// Apple's own names: these prefixes are Apple silicon, everything else has an Intel processor or could have.
	silicon := regexp.MustCompile(`^(Mac1[3-9],|MacBookAir10,|MacBookPro1[78],|Macmini9,|iMac21,|VirtualMac2,)`)
	for model, m := range table.byModel {
		b := x.Board(m.Board)
		if b == nil || len(b.OS) == 0 {
			t.Errorf("%s: no release names %s", model, m.Board)
			continue
		}
		if b.MaxMajor != 26 || !silicon.MatchString(model) || m.Name == "" {
			t.Errorf("%s (%s), %q, reaches %d", model, m.Board, m.Name, b.MaxMajor)
		}
	}
	if board, ok := BoardOf("Mac14,2"); !ok || board != "J413AP" {
		t.Errorf("Mac14,2 is %q", board)
	}
	if board, ok := BoardOf("Mac17,5"); !ok || board != "J700AP" {
		t.Errorf("Mac17,5 is %q", board)
	}
	for _, m := range []string{"", "MacBookPro16,1", "Macmini8,1", "iMacPro1,1", "mac14,2"} {
		if board, ok := BoardOf(m); ok || board != "" {
			t.Errorf("%q is %q", m, board)
		}
	}
	if model, name := ModelOf("J413AP"); model != "Mac14,2" || name != "MacBook Air (M2, 2022)" {
		t.Errorf("J413AP is %q %q", model, name)
	}
	if model, name := ModelOf("Mac-937A206F2EE63C01"); model != "" || name != "" {
		t.Errorf("an Intel board is %q %q", model, name)
	}
}

func TestIndexIsAlone(t *testing.T) {
	c := Snapshot()
	x := NewIndex(c)
	for i := range c.Releases {
		c.Releases[i].Available = false
	}
	if !x.Build("25G83").Available || len(x.All()) != 17 {
		t.Error("the index follows the catalogue that it was made of")
	}
	if !Snapshot().Releases[0].Available {
		t.Error("the snapshot can be written to")
	}
	var builds []string
	for _, r := range x.All() {
		builds = append(builds, r.Build)
	}
	if !slices.Equal(builds[:4], []string{"20G1443", "21H1320", "22H730", "23J520"}) {
		t.Errorf("catalogue order: %v", builds)
	}
}
