package release

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

const (
	tahoe   = "26.6.2 25G83 2026-08-17 2026-11-20 J413AP J700AP"
	sequoia = "15.7.9 24G830 2026-08-06 2026-11-20 J413AP"
	sonoma  = "14.8.9 23J631 2026-08-06 2026-11-20 J413AP"
	ventura = "13.7.8 22H730 2025-08-20 2026-11-20 J413AP"
)

// The first response accepted takes the snapshot's place (rules 3).
func TestFirstResponseReplacesTheSnapshot(t *testing.T) {
	// Far fewer than half of the snapshot's 15: the snapshot is no measure.
	c, changed := merged(t, Snapshot(), feedOf(t, "26.6.3 25G90 2026-09-01 2026-12-01 J413AP", "26.6.2 25G83 2026-08-30 2026-12-01 J413AP"), "2026-09-01T19:15:00Z")
	if !changed || c.Revision != 1 || c.Source != "feed" || c.OSBuilds != 2 || c.FetchedAt.Format("15:04") != "19:15" {
		t.Errorf("changed %v: revision %d from %s, %d builds", changed, c.Revision, c.Source, c.OSBuilds)
	}
	if got := on(c); !slices.Equal(got, []string{"25G83", "25G90"}) {
		t.Errorf("on offer: %v", got)
	}
	if len(c.Releases) != 18 {
		t.Errorf("%d are known, want the snapshot's 17 and the new one", len(c.Releases))
	}
	// What the snapshot knew is not forgotten: neither dates nor when it appeared to us.
	kept := find(t, c, "25G83")
	if kept.Posted.String() != "2026-08-17" || kept.FirstSeen.Format("2006-01-02") != "2026-08-22" || !slices.Equal(kept.Devices, []string{"J413AP"}) {
		t.Errorf("25G83: %+v", kept)
	}
	if fresh := find(t, c, "25G90"); fresh.FirstSeen.Format("2006-01-02T15") != "2026-09-01T19" || fresh.Posted.String() != "2026-09-01" {
		t.Errorf("25G90: %+v", fresh)
	}
	// Even the snapshot's own content, come from Apple, is the first accepted revision.
	c, changed = merged(t, Snapshot(), parsed(t, snapshotJSON), "2026-09-01T19:15:00Z")
	if !changed || c.Revision != 1 || len(on(c)) != 17 || c.Digest != Snapshot().Digest {
		t.Errorf("changed %v, revision %d, %d on offer", changed, c.Revision, len(on(c)))
	}
}

// Apple's feed: expirations roll every day.
func TestRollingExpirationIsNoChange(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, tahoe), "2026-08-22T19:15:00Z")
	next, changed := merged(t, c, feedOf(t, "26.6.2 25G83 2026-08-17 2026-11-21 J413AP J700AP"), "2026-08-23T19:15:00Z")
	if changed || next.Revision != 1 || next.Digest != c.Digest {
		t.Errorf("changed %v, revision %d", changed, next.Revision)
	}
	if r := find(t, next, "25G83"); r.Expires.String() != "2026-11-21" {
		t.Errorf("expires %s", r.Expires)
	}
	if next.FetchedAt.Day() != 23 {
		t.Errorf("fetched at %v", next.FetchedAt)
	}
}

// Apple's feed: the posting date of an unchanged build moves later again and again.
func TestPostedNeverMovesLater(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, "26.0.1 25A362 2025-09-29 2025-12-28 J413AP"), "2025-09-29T19:15:00Z")
	for _, posted := range []string{"2025-10-16", "2025-10-18", "2025-10-21"} {
		next, changed := merged(t, c, feedOf(t, "26.0.1 25A362 "+posted+" 2026-01-20 J413AP"), posted+"T19:15:00Z")
		if r := find(t, next, "25A362"); changed || r.Posted.String() != "2025-09-29" {
			t.Errorf("on %s: changed %v, posted %s", posted, changed, r.Posted)
		}
		c = next
	}
	// Earlier is news: it can make something due.
	next, changed := merged(t, c, feedOf(t, "26.0.1 25A362 2025-09-28 2026-01-20 J413AP"), "2025-10-22T19:15:00Z")
	if r := find(t, next, "25A362"); !changed || next.Revision != 2 || r.Posted.String() != "2025-09-28" {
		t.Errorf("changed %v, posted %s", changed, r.Posted)
	}
	if r := find(t, next, "25A362"); r.FirstSeen.Format("2006-01-02") != "2025-09-29" {
		t.Errorf("first seen %v", r.FirstSeen)
	}
}

// Withdrawal: two fetches at least 20 h apart lacked it.
func TestWithdrawal(t *testing.T) {
	both, one := []string{tahoe, sequoia}, []string{tahoe}
	type step struct {
		at        string
		lines     []string
		available bool
		changed   bool
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"an edge that is behind for minutes withdraws nothing", []step{
			{"2026-08-22T18:26:00Z", one, true, false},
			{"2026-08-22T18:33:00Z", both, true, false},
			{"2026-08-22T18:49:00Z", one, true, false},
		}},
		{"a day later it is withdrawn", []step{
			{"2026-08-22T19:15:00Z", one, true, false},
			{"2026-08-23T19:05:00Z", one, false, true},
			{"2026-08-24T19:15:00Z", one, false, false},
		}},
		{"just under 20 hours", []step{
			{"2026-08-22T19:15:00Z", one, true, false},
			{"2026-08-23T15:14:59Z", one, true, false},
			{"2026-08-23T15:15:00Z", one, false, true},
		}},
		{"coming back begins anew", []step{
			{"2026-08-22T19:15:00Z", one, true, false},
			{"2026-08-23T09:00:00Z", both, true, false},
			{"2026-08-23T19:15:00Z", one, true, false},
			{"2026-08-24T15:14:00Z", one, true, false},
			{"2026-08-24T15:15:00Z", one, false, true},
		}},
		{"a withdrawn release that returns is available at once", []step{
			{"2026-08-22T19:15:00Z", one, true, false},
			{"2026-08-23T19:15:00Z", one, false, true},
			{"2026-08-24T19:15:00Z", both, true, true},
			{"2026-08-25T19:15:00Z", one, true, false},
		}},
		{"a clock that was set back withdraws nothing", []step{
			{"2026-08-22T19:15:00Z", one, true, false},
			{"2026-08-20T19:15:00Z", one, true, false},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := merged(t, &Catalog{}, feedOf(t, both...), "2026-08-21T19:15:00Z")
			for _, s := range tt.steps {
				before := c.Revision
				next, changed := merged(t, c, feedOf(t, s.lines...), s.at)
				r := find(t, next, "24G830")
				if r.Available != s.available || changed != s.changed || (next.Revision != before) != s.changed {
					t.Errorf("%s: available %v, changed %v, revision %d after %d", s.at, r.Available, changed, next.Revision, before)
				}
				if lacking := len(s.lines) == 1; r.LackedAt.IsZero() == lacking {
					t.Errorf("%s: lacked at %v", s.at, r.LackedAt)
				}
				if r.Posted.String() != "2026-08-06" || r.FirstSeen.Format("2006-01-02") != "2026-08-21" {
					t.Errorf("%s: posted %s, first seen %v", s.at, r.Posted, r.FirstSeen)
				}
				c = next
			}
		})
	}
}

// "Not modified" is a fetch that lacked what the last response lacked.
func TestRepeat(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, tahoe, sequoia), "2026-08-21T19:15:00Z")
	c, _ = merged(t, c, feedOf(t, tahoe), "2026-08-22T19:15:00Z")
	next, changed := Repeat(c, when(t, "2026-08-22T23:15:00Z"))
	if changed || !find(t, next, "24G830").Available || next.FetchedAt.Hour() != 23 || next.Digest != c.Digest {
		t.Errorf("4 h later: changed %v, fetched at %v", changed, next.FetchedAt)
	}
	next, changed = Repeat(next, when(t, "2026-08-23T19:15:00Z"))
	if !changed || find(t, next, "24G830").Available || !find(t, next, "25G83").Available || next.Revision != 2 || next.Digest != c.Digest || next.OSBuilds != 1 {
		t.Errorf("24 h later: changed %v, %+v", changed, next)
	}
	next, changed = Repeat(next, when(t, "2026-08-24T19:15:00Z"))
	if changed || next.Revision != 2 {
		t.Errorf("48 h later: changed %v", changed)
	}
	if s, changed := Repeat(Snapshot(), when(t, "2026-08-24T19:15:00Z")); changed || s.Source != "snapshot" || len(on(s)) != 17 {
		t.Error("nothing was accepted yet that could be repeated")
	}
}

// Apple's feed: three releases vanished with 90 days left; absence counts, not the date.
func TestVanishedBeforeItExpires(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, tahoe, "26.4.1 25E253 2026-04-08 2026-11-07 J413AP"), "2026-08-08T19:15:00Z")
	c, _ = merged(t, c, feedOf(t, tahoe), "2026-08-09T19:15:00Z")
	c, changed := merged(t, c, feedOf(t, tahoe), "2026-08-10T19:15:00Z")
	if r := find(t, c, "25E253"); r.Available || !changed || r.Expires.String() != "2026-11-07" {
		t.Errorf("changed %v: %+v", changed, r)
	}
	// And an expiration that has passed withdraws nothing while Apple lists the release.
	c, changed = merged(t, c, feedOf(t, "26.6.2 25G83 2026-08-17 2026-08-01 J413AP J700AP"), "2026-08-11T19:15:00Z")
	if !find(t, c, "25G83").Available || changed {
		t.Errorf("changed %v", changed)
	}
}

// Apple's feed: a superseded release leaves the public set first; Macs can still be made to install it.
func TestSupersededStaysWhileAnySetHasIt(t *testing.T) {
	c, _ := merged(t, &Catalog{}, parsed(t, body(t, map[string][]string{
		"PublicAssetSets": {"26.6.1 25G76 2026-08-06 2026-11-15 J413AP"}, "AssetSets": {"26.6.1 25G76 2026-08-06 2026-11-15 J413AP"},
	})), "2026-08-16T19:15:00Z")
	for _, at := range []string{"2026-08-17T19:15:00Z", "2026-08-18T19:15:00Z"} {
		c, _ = merged(t, c, parsed(t, body(t, map[string][]string{
			"PublicAssetSets": {tahoe}, "AssetSets": {tahoe, "26.6.1 25G76 2026-08-06 2026-11-15 J413AP"},
		})), at)
		if r := find(t, c, "25G76"); !r.Available || !r.LackedAt.IsZero() {
			t.Errorf("%s: %+v", at, r)
		}
	}
}

// Apple's feed: builds for one board only.
func TestBuildsForOneBoard(t *testing.T) {
	x := NewIndex(func() *Catalog {
		c, _ := merged(t, &Catalog{}, feedOf(t,
			"26.0.1 25A362 2025-09-29 2026-01-14 J413AP", "26.0.1 25A8364 2025-10-16 2026-01-14 J704AP",
			"26.3.1 25D2128 2026-03-04 2026-06-22 J413AP J704AP", "26.3.2 25D2140 2026-03-10 2026-06-22 J700AP"), "2026-03-10T19:15:00Z")
		return c
	}())
	for board, want := range map[string][]string{"J413AP": {"25D2128", "25A362"}, "J704AP": {"25D2128", "25A8364"}, "J700AP": {"25D2140"}} {
		var got []string
		for _, r := range x.Board(board).OS {
			got = append(got, r.Build)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", board, got, want)
		}
	}
	if got := x.Version("26.0.1"); len(got) != 2 {
		t.Errorf("26.0.1 has %d builds", len(got))
	}
}

// Apple's feed: two builds of one version for one board; the newest posted counts.
func TestTwoBuildsForABoard(t *testing.T) {
	for _, lines := range [][]string{
		{"26.6 25G72 2026-07-27 2026-11-20 J413AP", "26.6 25G6072 2026-07-29 2026-11-20 J413AP"},
		{"26.6.0 25G6072 2026-07-29 2026-11-20 J413AP", "26.6 25G72 2026-07-27 2026-11-20 J413AP"},
	} {
		c, _ := merged(t, &Catalog{}, feedOf(t, lines...), "2026-08-01T19:15:00Z")
		if b := NewIndex(c).Board("J413AP"); b.OS[0].Build != "25G6072" || b.OS[1].Build != "25G72" {
			t.Errorf("first %s, then %s", b.OS[0].Build, b.OS[1].Build)
		}
	}
}

// Apple's feed: BSIs stay listed long after their base is gone, and are no builds of their base.
func TestBSIOutlivesItsBase(t *testing.T) {
	x := NewIndex(Snapshot())
	r := x.Build("25D771280a")
	if r == nil || !r.Available || r.PrerequisiteBuild != "25D2128" || x.Build("25D2128") != nil {
		t.Fatalf("%+v", r)
	}
	for _, o := range x.Board("J413AP").OS {
		if o.Kind != KindOS {
			t.Errorf("%s %s stands among the OS releases", o.Version, o.Build)
		}
	}
	if b := x.Board("J700AP").BSI; len(b) != 1 || b[0].Build != "25D771400a" {
		t.Errorf("J700AP: %v", b)
	}
}

// Apple's feed: a board is in several majors at once.
func TestMaxMajorCountsWhatIsOnOffer(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, tahoe, sequoia, sonoma), "2026-08-21T19:15:00Z")
	c, _ = merged(t, c, feedOf(t, sequoia, sonoma), "2026-08-22T19:15:00Z")
	if m := NewIndex(c).Board("J413AP").MaxMajor; m != 26 {
		t.Errorf("a withdrawal that is pending: %d", m)
	}
	c, _ = merged(t, c, feedOf(t, sequoia, sonoma), "2026-08-23T19:15:00Z")
	x := NewIndex(c)
	if m := x.Board("J413AP").MaxMajor; m != 15 {
		t.Errorf("withdrawn: %d", m)
	}
	if b := x.Board("J700AP"); b == nil || b.MaxMajor != 0 || len(b.OS) != 1 {
		t.Errorf("J700AP: %+v", b)
	}
	if !slices.Equal(x.Majors(), []int{14, 15}) {
		t.Errorf("majors %v", x.Majors())
	}
}

func TestDevicesFollowTheFeed(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, tahoe), "2026-08-21T19:15:00Z")
	next, changed := merged(t, c, feedOf(t, "26.6.2 25G83 2026-08-17 2026-11-20 J413AP J800AP"), "2026-08-22T19:15:00Z")
	if r := find(t, next, "25G83"); !changed || !slices.Equal(r.Devices, []string{"J413AP", "J800AP"}) {
		t.Errorf("changed %v: %v", changed, r.Devices)
	}
}

// Refusals: the last good catalogue stays as it is.
func TestRefusal(t *testing.T) {
	four := []string{tahoe, sequoia, sonoma, ventura}
	tests := []struct {
		name  string
		feed  *Feed
		refer string // in the reason; empty: accepted
	}{
		{"all", feedOf(t, four...), ""},
		{"half", feedOf(t, tahoe, sequoia), ""},
		{"fewer than half", feedOf(t, tahoe), "1 macOS builds, fewer than half of the 4"},
		{"half, other ones", feedOf(t, "27.0 26A1 2026-09-14 2026-12-01 J413AP", "27.0.1 26A2 2026-09-20 2026-12-01 J413AP"), ""},
		{"none", feedOf(t), "no macOS build"},
		{"only BSIs", parsed(t, body(t, map[string][]string{"PublicBackgroundSecurityImprovements": {"26.6.2 25G99a 2026-08-20 2026-11-20 (a) 25G83 J413AP"}})), "no macOS build"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := merged(t, &Catalog{}, feedOf(t, four...), "2026-08-21T19:15:00Z")
			_, _, err := Merge(c, tt.feed, when(t, "2026-08-22T19:15:00Z"))
			switch {
			case tt.refer == "" && err != nil:
				t.Error(err)
			case tt.refer != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.refer)):
				t.Errorf("got %v, want %q", err, tt.refer)
			}
		})
	}
}

// The measure is what the last accepted response had, not what is known or still available.
func TestRefusalIgnoresPendingWithdrawals(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, tahoe, sequoia, sonoma, ventura), "2026-08-21T19:15:00Z")
	c, _ = merged(t, c, feedOf(t, tahoe, sequoia), "2026-08-21T20:15:00Z")
	// Four are still available, but the last response had two: one is half of it.
	c, _ = merged(t, c, feedOf(t, tahoe), "2026-08-21T21:15:00Z")
	if len(on(c)) != 4 || c.OSBuilds != 1 {
		t.Errorf("%v on offer, %d builds", on(c), c.OSBuilds)
	}
}

// A refused response is no fetch that lacked anything.
func TestRefusalAdvancesNothing(t *testing.T) {
	c, _ := merged(t, &Catalog{}, feedOf(t, tahoe, sequoia, sonoma, ventura), "2026-08-21T19:15:00Z")
	before, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if next, changed, err := Merge(c, feedOf(t, tahoe), when(t, "2026-08-22T19:15:00Z")); next != nil || changed || err == nil {
		t.Errorf("%v, %v, %v", next, changed, err)
	}
	if after, _ := json.Marshal(c); string(after) != string(before) {
		t.Error("the catalogue changed")
	}
}

func TestOffered(t *testing.T) {
	want := []string{"26.6.2", "26.6.1", "26.6", "26.5.2", "26.5.1", "26.5", "15.7.9", "15.7.8", "15.7.7", "14.8.9", "14.8.8", "14.8.7", "13.7.8", "12.7.6", "11.7.11"}
	if got := Snapshot().Offered(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	c, _ := merged(t, Snapshot(), feedOf(t, "26.0.1 25A362 2025-09-29 2026-01-14 J413AP", "26.0.1 25A8364 2025-10-16 2026-01-14 J704AP"), "2026-08-22T19:15:00Z")
	if got := c.Offered(); !slices.Equal(got, []string{"26.0.1"}) {
		t.Errorf("two builds are one version: %v", got)
	}
	if got := (&Catalog{}).Offered(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
