package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rules 5, upgrade_within_days: an edit that goes on asking for a major never moves its beginning.
func TestAsks(t *testing.T) {
	track := func(word, upgrade string) string {
		return `{"os":{"track":"` + word + `","upgrade":"` + upgrade + `"},"updates":{"mode":"automatic","within_days":14}}`
	}
	enforce := func(word string) string { return track(word, "enforce") }
	type edit struct {
		policy string
		since  map[int]string // for each major, the day since when it is asked for
	}
	tests := []struct {
		name  string
		edits []edit // one a day, from 2026-01-01 on
	}{
		{"to and fro between two majors", []edit{
			{enforce("26"), map[int]string{15: "01", 26: "01", 27: ""}},
			{enforce("27"), map[int]string{26: "01", 27: "02", 28: ""}},
			{enforce("26"), map[int]string{26: "01", 27: ""}},
			{enforce("27"), map[int]string{26: "01", 27: "04"}},
		}},
		{"latest asks for what nobody has heard of", []edit{
			{enforce("latest"), map[int]string{26: "01", 99: "01"}},
			{enforce("26"), map[int]string{26: "01", 27: ""}},
			{enforce("latest"), map[int]string{26: "01", 27: "03"}},
		}},
		{"a lower beginning in the middle of the steps", []edit{
			{enforce("15"), map[int]string{15: "01"}},
			{enforce("27"), map[int]string{15: "01", 26: "02", 27: "02"}},
			{enforce("26"), map[int]string{15: "01", 26: "02", 27: ""}},
			{enforce("27"), map[int]string{15: "01", 26: "02", 27: "04"}},
		}},
		{"other edits", []edit{
			{enforce("26"), map[int]string{26: "01"}},
			{`{"label":"x","priority":7,"os":{"track":"26","upgrade":"enforce","upgrade_within_days":3},"updates":{"mode":"automatic","within_days":7}}`, map[int]string{26: "01"}},
			{`{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, map[int]string{26: "01"}},
			{`{"updates":{"mode":"minimum","versions":["15.7.9","26.6.1"],"deadline":"2026-12-01T12:00:00"}}`, map[int]string{26: "01"}},
			{`{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, map[int]string{26: "01"}},
		}},
		{"not asking any more", []edit{
			{enforce("26"), map[int]string{26: "01"}},
			{track("26", "hold"), map[int]string{15: "", 26: ""}},
			{enforce("26"), map[int]string{26: "03"}},
			{track("26", "self_service"), map[int]string{26: ""}},
			{enforce("26"), map[int]string{26: "05"}},
			{`{"updates":{"mode":"automatic","within_days":7}}`, map[int]string{26: ""}},
			{`{"os":{"track":"current"},"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, map[int]string{26: ""}},
			{enforce("26"), map[int]string{26: "08"}},
			{`{"updates":{"mode":"none"}}`, map[int]string{26: ""}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before *Stored
			for i, e := range tt.edits {
				p := pol(t, e.policy)
				s := &Stored{Policy: p, Asks: Asks(before, &p, at(t, "2026-01-01T10:00").AddDate(0, 0, i))}
				got := map[int]string{}
				for major := range e.since {
					got[major] = ""
					if since := s.Since(major); !since.IsZero() {
						got[major] = since.Format("02")
					}
				}
				if diff := cmp.Diff(e.since, got); diff != "" {
					t.Errorf("edit %d: %s", i+1, diff)
				}
				for j := 1; j < len(s.Asks); j++ {
					if s.Asks[j].UpTo <= s.Asks[j-1].UpTo || s.Asks[j].Since.Before(s.Asks[j-1].Since) {
						t.Errorf("edit %d: the steps %+v are not in order", i+1, s.Asks)
					}
				}
				before = s
			}
		})
	}
}
