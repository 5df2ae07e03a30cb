package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"plimsoll/declarations/policy"
)

func TestLateWarnings(t *testing.T) {
	year := freeze(t, "year-end", "2026-12-19", "2027-01-04", false)
	shops := freeze(t, "shops", "2026-12-19", "2027-01-04", false, "shops")
	for _, tt := range []struct {
		name, policy string
		freezes      []policy.Freeze
		want         []string
	}{
		{"nothing is closed", automatic14, nil, nil},
		{"Tuesday to Thursday, two weeks: there is always room before", `{"updates":{"mode":"automatic","within_days":14,"days":["tue","wed","thu"]}}`, nil, nil},
		// Posted on the 12th, due on the 26th: the 19th, by which half of its days have passed, is closed. Posted on the 22nd, due on the 5th.
		{"a year-end freeze", automatic14, []policy.Freeze{year}, []string{"updates 2026-12-12 2026-12-21 2027-01-05T12:00:00"}},
		{"a freeze of others", automatic14, []policy.Freeze{shops}, nil},
		{"a freeze of its own", `{"assign":{"groups":["shops"]},"updates":{"mode":"automatic","within_days":14}}`, []policy.Freeze{shops}, []string{"updates 2026-12-12 2026-12-21 2027-01-05T12:00:00"}},
	} {
		p := pol(t, tt.policy)
		var got []string
		for _, w := range LateWarnings(&p, tt.freezes, at(t, "2026-11-29")) {
			got = append(got, fmt.Sprint(w.Evidence["part"], " ", w.Evidence["first"], " ", w.Evidence["last"], " ", w.Evidence["latest_deadline_local"]))
			if strings.ContainsAny(w.Text, "{}") || w.Advice == "" {
				t.Errorf("%+v is not complete", w)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
