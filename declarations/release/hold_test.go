package release

import (
	"slices"
	"testing"
)

// holdable is a catalogue in which everything that a hold can cover occurs.
func holdable(t *testing.T) *Index {
	c, _ := merged(t, &Catalog{}, parsed(t, body(t, map[string][]string{
		"AssetSets": {
			"15.7.9 24G830 2026-08-06 2026-11-20 J413AP",
			"26.3 25D125 2026-02-11 2026-06-02 J413AP",
			"26.3.1 25D2128 2026-03-04 2026-06-22 J413AP",
			"26.3.1 25D9128 2026-03-06 2026-06-22 J704AP", // a second build of it, posted later
			"26.3.2 25D2140 2026-03-10 2026-06-22 J700AP",
			"26.4 25E246 2026-03-24 2026-07-08 J413AP",
			"27.0 26A300 2026-09-14 2026-12-01 J413AP",
		},
		"PublicBackgroundSecurityImprovements": {
			"26.3.1 25D771280a 2026-03-17 2026-06-15 (a) 25D2128 J413AP",
			"26.3.1 25D771281b 2026-03-20 2026-06-15 (b) 25D2128 J413AP",
			"26.3.2 25D771400a 2026-03-17 2026-06-15 (a) 25D2140 J700AP",
			"26.2 25C771000a 2026-01-17 2026-06-15 (a) 25C56 J413AP", // its base is not known
		},
	})), "2026-09-14T19:15:00Z")
	return NewIndex(c)
}

func TestHoldCovers(t *testing.T) {
	x := holdable(t)
	tests := []struct {
		subject    string
		successors bool
		want       []string // builds, in catalogue order
	}{
		{"26.3.1", false, []string{"25D2128", "25D9128"}},
		{"26.3.1.0", false, []string{"25D2128", "25D9128"}},
		{"26.3.1", true, []string{"25D2128", "25D9128", "25D771280a", "25D771281b", "25D2140", "25D771400a", "25E246"}},
		{"25D2128", false, []string{"25D2128"}},
		{"25D2128", true, []string{"25D2128", "25D9128", "25D771280a", "25D771281b", "25D2140", "25D771400a", "25E246"}},
		{"25D9128", true, []string{"25D9128", "25D2140", "25D771400a", "25E246"}}, // 25D2128 was posted before it
		{"25D771280a", false, []string{"25D771280a"}},
		{"25D771280a", true, []string{"25D771280a", "25D771281b", "25D2140", "25D771400a", "25E246"}},
		{"25D771281b", true, []string{"25D771281b", "25D2140", "25D771400a", "25E246"}},
		{"26.2", true, []string{"25C771000a", "25D125", "25D2128", "25D9128", "25D771280a", "25D771281b", "25D2140", "25D771400a", "25E246"}},
		{"26", false, []string{"25D125", "25D2128", "25D9128", "25D2140", "25E246"}},
		{"26", true, []string{"25C771000a", "25D125", "25D2128", "25D9128", "25D771280a", "25D771281b", "25D2140", "25D771400a", "25E246"}},
		{"27", true, []string{"26A300"}},
		{"28", true, nil},
		{"26.5", true, nil},
		{"25C56", true, []string{"25C771000a"}}, // a build that is not known covers its BSI all the same
		{"24G830", true, []string{"24G830"}},
	}
	for _, tt := range tests {
		name := tt.subject
		if tt.successors {
			name += " and successors"
		}
		t.Run(name, func(t *testing.T) {
			h := &Hold{Subject: tt.subject, Successors: tt.successors}
			var got []string
			for _, r := range x.All() {
				if h.Covers(x, r) {
					got = append(got, r.Build)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("covers %v\nwant   %v", got, tt.want)
			}
		})
	}
	if (&Hold{Subject: "26", Successors: true}).Covers(x, nil) {
		t.Error("nothing is covered")
	}
}

func TestHoldActive(t *testing.T) {
	until := when(t, "2026-09-01T12:00:00Z")
	for _, tt := range []struct {
		name string
		hold Hold
		now  string
		want bool
	}{
		{"without end", Hold{}, "2026-09-01T12:00:00Z", true},
		{"before the end", Hold{Until: until}, "2026-09-01T11:59:59Z", true},
		{"at the end", Hold{Until: until}, "2026-09-01T12:00:00Z", false},
	} {
		if got := tt.hold.Active(when(t, tt.now)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestCheckHoldSubject(t *testing.T) {
	x := NewIndex(Snapshot())
	for _, s := range []string{"25G83", "25D771280a", "26.6.2", "26.6", "26.9.1", "27", "27.0", "28", "13"} {
		if err := CheckHoldSubject(x, s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", " ", "25G84", "25g83", "26.", ".6", "26.6.2 (a)", "26.3.1a", "latest", "0", "5", "2027", "-26", "26,6", "1.2.3.4.5", "Tahoe", "99999999999999999999"} {
		if err := CheckHoldSubject(x, s); err == nil {
			t.Errorf("%q is accepted", s)
		} else if len(err.Error()) > 150 {
			t.Errorf("%q: %v", s, err)
		}
	}
}
