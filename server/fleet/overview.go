package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status/compliance"
)

const dueDays = 30

// Overview is what the dashboard shows beside Compliance, from the in-memory index and the history.
func (f *Fleet) Overview(ctx context.Context) (Overview, error) {
	now := f.now()
	outlook := f.index.Outlook(now, f.catalogue.Stale(now))
	o := Overview{Due: make([]DueDay, dueDays), DueByDay: outlook.Due, Adoption: []Adoption{}, Attention: []Attention{}}
	today := now.In(f.o.Zone)
	for i := range o.Due {
		date := today.AddDate(0, 0, i).Format(time.DateOnly)
		o.Due[i] = DueDay{Date: date, Devices: outlook.Due[date]}
	}
	for code, n := range outlook.Codes {
		a := Attention{Code: code, Devices: n}
		a.Text, a.Advice = meaning(code)
		o.Attention = append(o.Attention, a)
	}
	slices.SortFunc(o.Attention, func(a, b Attention) int {
		return cmp.Or(cmp.Compare(b.Devices, a.Devices), cmp.Compare(a.Code, b.Code))
	})
	var err error
	o.Adoption, err = f.adoption(ctx, now)
	return o, err
}

// meaning is what a code means for any Mac: its pattern without the parts that speak of one Mac's evidence.
func meaning(code string) (text, advice string) {
	for _, c := range compliance.Codes {
		if c.Code == code {
			return general(c.Text), general(c.Advice)
		}
	}
	return strings.ReplaceAll(code, "_", " "), ""
}

var (
	optionalPart = regexp.MustCompile(`\[[^\]]*\]`)
	evidencePart = regexp.MustCompile(`\{[^}]*\}`)
)

func general(pattern string) string {
	return evidencePart.ReplaceAllString(optionalPart.ReplaceAllString(pattern, ""), "…")
}

// adoption tells how the newest release of each major spread since it was posted.
func (f *Fleet) adoption(ctx context.Context, now time.Time) ([]Adoption, error) {
	newest := map[int]*release.Release{}
	for _, r := range f.Current().Index.All() {
		if major := r.Version.Major(); r.Kind == release.KindOS && r.Available &&
			(newest[major] == nil || r.Version.Compare(newest[major].Version) > 0) {
			newest[major] = r
		}
	}
	releases := make([]*release.Release, 0, len(newest))
	from := now.Format(time.DateOnly)
	for _, r := range newest {
		releases = append(releases, r)
		from = min(from, r.Posted.String())
	}
	slices.SortFunc(releases, func(a, b *release.Release) int { return b.Version.Compare(a.Version) })
	rows := map[string]HistoryDay{}
	err := f.store.Days(ctx, from, func(date string, b []byte) {
		var row historyRow
		if json.Unmarshal(b, &row) == nil {
			rows[date] = row.All
		}
	})
	if err != nil {
		return nil, err
	}
	rows[now.Format(time.DateOnly)] = f.today(now).All
	dates := make([]string, 0, len(rows))
	for date := range rows {
		dates = append(dates, date)
	}
	slices.Sort(dates)
	out := []Adoption{}
	for _, r := range releases {
		a := Adoption{Version: string(r.Version), Posted: r.Posted.String(), Target: plan.TargetOf(r), Days: []AdoptionDay{}}
		for _, date := range dates {
			if date < a.Posted {
				continue
			}
			d := AdoptionDay{Date: date}
			for v, n := range rows[date].Versions {
				if version := release.Version(v); version.Major() == r.Version.Major() {
					d.Of += n
					if version.Compare(r.Version) >= 0 {
						d.Devices += n
					}
				}
			}
			a.Days = append(a.Days, d)
		}
		if last := len(a.Days) - 1; last >= 0 && a.Days[last].Of > 0 {
			out = append(out, a)
		}
	}
	return out, nil
}
