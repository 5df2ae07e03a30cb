package release

import (
	_ "embed"
	"slices"
	"sync"
	"time"
)

// snapshot.json is Apple's feed as it was on 2026-08-22, unchanged.
//
//go:embed snapshot.json
var snapshotJSON []byte

// The two sources of a catalogue.
const (
	SourceSnapshot = "snapshot"
	SourceFeed     = "feed"
)

var snapshotOnce = sync.OnceValue(func() *Catalog {
	taken := time.Date(2026, time.August, 22, 0, 0, 0, 0, time.UTC)
	c := &Catalog{Source: SourceSnapshot, FetchedAt: taken}
	f, err := ParseFeed(snapshotJSON)
	if err != nil { // a test holds that it never happens
		return c
	}
	c.Digest, c.Releases = digestOf(f.Releases), f.Releases
	for i := range c.Releases {
		c.Releases[i].FirstSeen = taken
	}
	return c
})

// Snapshot is the catalogue that is built into the program, so that the first run works offline.
// Its OSBuilds is 0: it takes no part in the measure for refusing a response (rules 3).
func Snapshot() *Catalog {
	c := *snapshotOnce()
	c.Releases = slices.Clone(c.Releases)
	return &c
}
