package enrolment

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// What Apple offered in August 2026 to most boards, in short.
var august = []string{
	"14.8.9 23J631 2026-08-06 J1AP", "15.7.8 24G824 2026-07-27 J1AP", "15.7.9 24G830 2026-08-06 J1AP",
	"26.5 25F71 2026-05-18 J1AP", "26.6 25G72 2026-07-27 J1AP", "26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP",
}

const automatic14 = `{"updates":{"mode":"automatic","within_days":14}}`

func at(t *testing.T, s string) time.Time {
	t.Helper()
	for _, layout := range []string{"2006-01-02T15:04", time.DateOnly} {
		if v, err := time.Parse(layout, s); err == nil {
			return v
		}
	}
	t.Fatalf("%q is not a time", s)
	return time.Time{}
}

// world is what admins and Apple said.
type world struct {
	t  *testing.T
	in policy.Input
}

// given makes a world with one policy, and releases that first appeared on the evening of their posting.
func given(t *testing.T, src, since string, releases ...string) *world {
	t.Helper()
	var p policy.Policy
	if err := json.Unmarshal([]byte(src), &p); err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	p.Name = "p"
	begin := at(t, since)
	c := &release.Catalog{Revision: 1, Source: "feed"}
	for _, spec := range releases {
		f := strings.Fields(spec)
		posted, err := release.ParseDay(f[2])
		if err != nil {
			t.Fatal(err)
		}
		c.Releases = append(c.Releases, release.Release{
			Kind: release.KindOS, Version: release.Version(f[0]), Build: f[1], Posted: posted, FirstSeen: posted.Time().Add(18 * time.Hour),
			Available: true, Devices: []string{f[3]},
		})
	}
	return &world{t, policy.Input{
		Revision: 1, Catalog: c,
		Policies: []policy.Stored{{Policy: p, CreatedAt: begin, UpdatedAt: begin, Asks: policy.Asks(nil, &p, begin)}},
	}}
}

func (w *world) book() *plan.Book {
	w.t.Helper()
	b, err := plan.Compile(w.in)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) hold(subject, since string) {
	w.in.Holds = append(w.in.Holds, release.Hold{Subject: subject, Reason: "broken", Since: at(w.t, since)})
}
