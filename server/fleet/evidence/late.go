package evidence

import (
	"cmp"
	"context"
	"slices"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/status/patching"
	"plimsoll/storage"
)

// LateMac is an enrolled Mac that did not have a release within the limit, from what is known now.
type LateMac struct {
	Device  string          `json:"device"`
	Serial  string          `json:"serial"`
	Name    string          `json:"name"`
	Policy  string          `json:"policy"`
	Release release.Version `json:"release"`
	Letter  string          `json:"letter"`
	Posted  release.Day     `json:"posted"` // of the build for the Mac's board
	// State is one of patched (too late), silent, exempt and open.
	State       patching.State  `json:"state"`
	Days        int             `json:"days"` // from the posting to the fix, or until now
	Limit       int             `json:"limit_days"`
	Version     release.Version `json:"version"` // what it has now
	Build       string          `json:"build"`
	LastContact time.Time       `json:"last_contact_at"`
	Reasons     []string        `json:"reasons"` // the codes of its state
	Words       []string        `json:"words"`   // the same reasons as sentences
}

// defaultLimit is in days.
const defaultLimit = 14

// Late lists the Macs that are not patched in time (14 days, when the question has no limit of its own), the longest first, of
// the releases that the question is about. It is made of what is known now, whatever day the question names: of a closed day
// only counts are kept.
func (r *Reports) Late(ctx context.Context, q Question) ([]LateMac, error) {
	ask, err := r.read(ctx, &q)
	if err != nil {
		return nil, err
	}
	done, err := r.alone()
	if err != nil {
		return nil, err
	}
	defer done()
	if ask.SLA == nil {
		ask.SLA = &patching.SLA{Days: defaultLimit}
	}
	today := release.DayOf(r.o.Now())
	cat := patching.NewCatalogue(r.o.Releases(), today)
	list := []LateMac{}
	err = r.macs(ctx, func(rec *storage.Record, m *patching.Mac) {
		if !rec.Facts.Enrolled || q.Policy != "" && m.Policy != q.Policy || q.Group != "" && !slices.Contains(m.Groups, q.Group) {
			return
		}
		for _, row := range patching.Rows(m, cat, today) {
			if row.Posted < ask.From || row.Posted > ask.To || ask.Release != nil && row.Release != *ask.Release {
				continue
			}
			limit := ask.SLA.Limit(cat.Exploited(row.Release))
			if days, late := row.LateBy(today, limit); late {
				list = append(list, r.lateMac(rec, m, &row, days, limit))
			}
		}
	})
	slices.SortStableFunc(list, func(a, b LateMac) int {
		return cmp.Or(cmp.Compare(b.Posted, a.Posted), b.Release.Compare(a.Release), cmp.Compare(b.Letter, a.Letter),
			cmp.Compare(b.Days, a.Days), cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.Device, b.Device))
	})
	return list, err
}

func (r *Reports) lateMac(rec *storage.Record, m *patching.Mac, row *patching.Row, days, limit int) LateMac {
	f := &rec.Facts
	l := LateMac{
		Device: f.ID, Serial: f.Serial, Name: f.Name, Policy: m.Policy, Release: row.Release.Version, Letter: row.Release.Letter,
		Posted: row.Posted, State: row.State, Days: days, Limit: limit, Version: f.Version, Build: f.Build,
		LastContact: f.LastContactAt, Reasons: []string{},
		Words: []string{},
	}
	if row.State == patching.Patched {
		return l
	}
	for _, reason := range r.o.Reasons(rec) {
		l.Reasons, l.Words = append(l.Reasons, reason.Code), append(l.Words, reason.Text)
	}
	return l
}
