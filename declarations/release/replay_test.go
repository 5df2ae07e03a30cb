package release

import (
	"slices"
	"testing"
)

// TestReplay plays every real response through the catalogue. The expectations were derived by hand from
// the data: what came and went, looked up by build in consecutive responses, and withdrawals counted at
// the first response at least 20 h after the one that first lacked the release.
func TestReplay(t *testing.T) {
	wants := []struct {
		at      string
		changed bool
		why     string
	}{
		{"2025-09-20T16:36:44Z", true, "the first response"},
		{"2025-09-29T18:12:36Z", true, "26.0.1, 15.7.1, 14.8.1 come"},
		{"2025-10-16T00:50:00Z", true, "25A8364, a second build of 26.0.1, comes"},
		{"2025-10-16T00:50:36Z", false, "the same"},
		{"2025-10-18T06:40:45Z", false, "posting dates move"},
		{"2025-10-21T18:10:22Z", false, "posting dates move"},
		{"2025-10-27T18:12:00Z", false, "15.5, 14.7.6, 13.7.6 are lacking for the first time"},
		{"2025-10-29T18:43:00Z", true, "they are lacking two days later too: withdrawn"},
		{"2025-10-30T00:50:00Z", false, "PublicRapidSecurityResponses is called PublicBackgroundSecurityImprovements, still empty"},
		{"2025-10-30T00:50:46Z", false, "the same"},
		{"2025-11-03T18:11:37Z", false, "expirations roll"},
		{"2025-11-03T22:45:45Z", true, "26.1, 15.7.2, 14.8.2 come; 26.0.1 leaves the public set, stays in the other"},
		{"2025-11-11T18:11:57Z", false, "posting dates move"},
		{"2025-11-18T18:12:19Z", false, "15.6, 14.7.7, 13.7.7 are lacking for the first time"},
		{"2025-11-26T11:07:14Z", true, "withdrawn"},
		{"2025-12-12T18:45:29Z", true, "26.2, 15.7.3, 14.8.3 come"},
		{"2025-12-14T18:42:31Z", false, "15.6.1, 14.7.8 are lacking for the first time"},
		{"2025-12-28T18:43:34Z", true, "withdrawn; 26.0, 15.7, 14.8 are lacking for the first time"},
		{"2026-01-09T00:51:12Z", true, "those are withdrawn; 26.2's public posting date moves"},
		{"2026-01-14T00:51:11Z", false, "25A362's posting date moves in the last set that had the right one"},
		{"2026-01-16T06:24:56Z", false, "it moves again"},
		{"2026-01-19T18:13:22Z", false, "and again"},
		{"2026-02-02T00:56:32Z", false, "26.0.1 (both), 15.7.1, 14.8.1 are lacking for the first time"},
		{"2026-02-02T18:20:07Z", true, "11.7.11 comes; 17 h are too few to withdraw those"},
		{"2026-02-09T18:27:01Z", true, "now they are withdrawn"},
		{"2026-03-17T18:34:00Z", true, "26.3, 26.3.1, 26.3.2, 15.7.4, 14.8.4 and two BSIs come; 26.1, 15.7.2, 14.8.2 are lacking for the first time"},
		{"2026-08-22T00:00:00Z", true, "twelve releases come, those three are withdrawn"},
	}
	all := history(t)
	if len(all) != len(wants) {
		t.Fatalf("%d responses", len(all))
	}
	c, revisions := &Catalog{}, 0
	for i, h := range all {
		f := parsed(t, h.body)
		if len(f.Odd) > 0 {
			t.Errorf("%s: odd: %v", wants[i].at, f.Odd)
		}
		if got := h.at.Format("2006-01-02T15:04:05Z07:00"); got != wants[i].at {
			t.Fatalf("response %d is of %s, not %s", i, got, wants[i].at)
		}
		next, changed := merged(t, c, f, wants[i].at)
		if changed != wants[i].changed {
			t.Errorf("%s (%s): changed is %v", wants[i].at, wants[i].why, changed)
		}
		if changed {
			revisions++
		}
		if next.Revision != revisions {
			t.Errorf("%s: revision %d after %d changes", wants[i].at, next.Revision, revisions)
		}
		if !next.FetchedAt.Equal(h.at) {
			t.Errorf("%s: fetched at %v", wants[i].at, next.FetchedAt)
		}
		c = next
		checkPosted(t, wants[i].at, c)
		checkOneBoardBuild(t, wants[i].at, c)
		// Fetched once more within the hour, nothing can have changed.
		if _, again, err := Merge(c, f, h.at.Add(1800e9)); err != nil || again {
			t.Errorf("%s: the same response again: changed %v, %v", wants[i].at, again, err)
		}
	}
	if revisions != 13 {
		t.Errorf("%d revisions, want 13", revisions)
	}
	// In the end Apple offers what the last response has, and what it began to lack then.
	want := []string{
		"20G1427", "20G1443", "21H1320", "22H730", // 11.7.10 lacking, 11.7.11, 12.7.6, 13.7.8
		"23J220", "23J319", "23J520", "23J620", "23J631", // 14.8.3 and 14.8.4 lacking, 14.8.7, 14.8.8, 14.8.9
		"24G419", "24G517", "24G720", "24G824", "24G830", // 15.7.3 and 15.7.4 lacking, 15.7.7, 15.7.8, 15.7.9
		"25C56", "25D125", "25D2128", "25D771280a", "25D2140", "25D771400a", // 26.2, 26.3, 26.3.1, 26.3.2 lacking; the BSIs never leave
		"25F71", "25F80", "25F84", "25G72", "25G76", "25G83", // 26.5 to 26.6.2
	}
	if got := on(c); !slices.Equal(got, want) {
		t.Errorf("on offer in the end: %v\nwant %v", got, want)
	}
	// Nothing is ever forgotten: 14 at first, then 3, 1, 3, 3, 1, 7 and 12 came.
	if len(c.Releases) != 44 {
		t.Errorf("%d releases are known, want 44", len(c.Releases))
	}
}

// checkPosted: 26.0.1's first build was posted on 2025-09-29 and 26.2 on 2025-12-12, whatever Apple said later.
func checkPosted(t *testing.T, at string, c *Catalog) {
	t.Helper()
	for build, posted := range map[string]string{
		"25A362": "2025-09-29", "25A8364": "2025-10-16", "25B78": "2025-11-03", "25C56": "2025-12-12",
		"25D2128": "2026-03-04", "25D2140": "2026-03-10", "25D771280a": "2026-03-17", "21H1320": "2025-05-19",
	} {
		for _, r := range c.Releases {
			if r.Build == build && r.Posted.String() != posted {
				t.Errorf("%s: %s %s is posted %s, want %s", at, r.Version, build, r.Posted, posted)
			}
		}
	}
}

// checkOneBoardBuild: 25A8364 is there for the MacBook Pro with M5 and for no other Mac.
func checkOneBoardBuild(t *testing.T, at string, c *Catalog) {
	t.Helper()
	for id, b := range NewIndex(c).boards {
		for _, r := range b.OS {
			if r.Build == "25A8364" && id != "J704AP" || r.Build == "25A362" && id == "J704AP" {
				t.Errorf("%s: %s is listed for %s", at, r.Build, id)
			}
		}
	}
}

// On the days of the replay, the newest release of a board, read off the responses by hand.
func TestReplayNewest(t *testing.T) {
	wants := map[string]map[string]string{ // day: board: build
		"2025-09-20": {"J413AP": "25A354", "J704AP": ""},
		"2025-10-16": {"J413AP": "25A362", "J704AP": "25A8364"},
		"2025-11-03": {"J413AP": "25B78", "J704AP": "25B78"},
		"2026-03-17": {"J413AP": "25D2128", "J700AP": "25D2140"},
		"2026-08-22": {"J413AP": "25G83", "J700AP": "25G83", "VMA2MACOSAP": "25G83"},
	}
	c := &Catalog{}
	for _, h := range history(t) {
		c, _ = merged(t, c, parsed(t, h.body), h.at.Format("2006-01-02T15:04:05Z07:00"))
		day := h.at.Format("2006-01-02")
		if h.at.Hour() < 22 && day == "2025-11-03" {
			continue // 26.1 came in the evening
		}
		for board, build := range wants[day] {
			got := ""
			if b := NewIndex(c).Board(board); b != nil {
				got = b.OS[0].Build
			}
			if got != build {
				t.Errorf("%s: newest of %s is %q, want %q", day, board, got, build)
			}
		}
	}
}
