package reports

import (
	"testing"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/status/patching"
)

// The page has the curves of five releases, all releases in the table, and the parts of each policy's bar add up.
func TestPage(t *testing.T) {
	const posted = release.Day(20500)
	sla, err := patching.ParseSLA("14")
	if err != nil {
		t.Fatal(err)
	}
	three := 3
	p := &patching.Patching{AsOf: posted + 30, CompleteFrom: posted - 100, SLA: &sla}
	for i := range 7 {
		p.Releases = append(p.Releases, patching.Release{
			Version: "26.4", Posted: posted - release.Day(i), Macs: 4, Patched: 3, Open: 1, Curve: [][2]float64{{3, 0.75}}, Median: &three,
			Within: map[string]patching.Within{"14d": {Yes: 3, No: 1}},
		})
	}
	scopes := []fleet.PatchingScope{
		{Scope: patching.Scope{Policy: "p"}, Report: p},
		{Scope: patching.Scope{Group: "nobody"}, Report: &patching.Patching{SLA: &sla}},
	}
	late := make([]fleet.LateMac, lateMacs+1)
	for i := range late {
		late[i] = fleet.LateMac{Device: "a/b", Release: "26.4", Letter: "a", State: patching.Patched, Days: 1, Words: []string{"One.", "Two."}}
	}
	m := pageOf(p, "21", scopes, late)
	if len(m.Lines) != curves || m.Days != 34 || len(m.Releases) != 7 || m.Lines[0].Points == m.Lines[4].Points {
		t.Errorf("%d curves over %d days, %d releases", len(m.Lines), m.Days, len(m.Releases))
	}
	if r := m.Releases[0]; r.Share != "75.0%" || r.Median != "3 days" || r.Ninety != "not yet" || r.Limit != "14 days" {
		t.Errorf("%+v", r)
	}
	if len(m.Scopes) != 1 || m.Scopes[0].Name != "Policy p" || m.Scopes[0].Yes != 21 || m.Scopes[0].No != 7 || m.Scopes[0].Bar[1].X != 750 {
		t.Errorf("%+v", m.Scopes)
	}
	if l := m.Late[0]; len(m.Late) != lateMacs || !m.More || l.Link != "/devices/a%2Fb" || l.Release != "26.4 (a)" || l.State != "patched too late" ||
		l.Days != "1 day" || l.Reasons != "One. Two." || l.Serial != "a/b" {
		t.Errorf("%+v", l)
	}
	if m.Limits[0].Value != "21" || !m.Limits[0].Selected || limits("cis")[6].Value != "cis" || !limits("cis")[6].Selected {
		t.Errorf("%+v", m.Limits)
	}
}
