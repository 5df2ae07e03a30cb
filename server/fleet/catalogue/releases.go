package catalogue

import (
	"context"
	"fmt"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
)

// Release is a release as GET /v1/releases shows it.
type Release struct {
	Version           string      `json:"version"`
	Build             string      `json:"build"`
	Kind              string      `json:"kind"`
	Letter            string      `json:"letter"`
	PrerequisiteBuild string      `json:"prerequisite_build"`
	Posted            release.Day `json:"posted"`
	FirstSeenAt       time.Time   `json:"first_seen_at"`
	Available         bool        `json:"available"`
	Held              bool        `json:"held"`
	Exploited         bool        `json:"exploited"`
	Devices           []string    `json:"devices"`
}

// Releases lists the catalogue as it is now, or as it was in force at a time.
func (c *Catalogue) Releases(ctx context.Context, asOf time.Time, limit int, cursor string) (answer.Page[Release], error) {
	book, _ := c.o.Book()
	index := book.Index
	if !asOf.IsZero() {
		cat, err := c.o.Store.CatalogAt(ctx, asOf)
		if err != nil {
			return answer.Page[Release]{}, err
		}
		index = release.NewIndex(cat)
	}
	now := c.o.Now()
	all := index.All()
	return answer.List("releases", limit, cursor, len(all), func(i int) string {
		return fmt.Sprintf("%s\x00%s", all[i].Version, all[i].Build)
	}, func(i int) Release {
		r := all[i]
		return Release{
			Version: string(r.Version), Build: r.Build, Kind: string(r.Kind), Letter: r.Letter, PrerequisiteBuild: r.PrerequisiteBuild,
			Posted: r.Posted, FirstSeenAt: r.FirstSeen, Available: r.Available, Exploited: r.Exploited, Devices: r.Devices,
			Held: heldNow(book.Holds, index, r, now),
		}
	})
}

func heldNow(holds []release.Hold, index *release.Index, r *release.Release, now time.Time) bool {
	for i := range holds {
		if holds[i].Active(now) && holds[i].Covers(index, r) {
			return true
		}
	}
	return false
}
