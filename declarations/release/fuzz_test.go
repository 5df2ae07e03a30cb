package release

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzParseFeed(f *testing.F) {
	f.Add(snapshotJSON)
	f.Add([]byte(`{"PublicAssetSets":{"macOS":[{"ProductVersion":"26.4","Build":"25E246","PostingDate":"2026-03-24","ExpirationDate":"2026-06-22","SupportedDevices":["J413AP","J413AP"]}]}}`))
	f.Add([]byte(`{"AssetSets":{"macOS":[{"ProductVersion":"26.4","Build":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]},{"ProductVersion":"26.4.0","Build":"25E246","PostingDate":"2026-03-25","SupportedDevices":["J700AP"]}]},` +
		`"PublicRapidSecurityResponses":{"macOS":[{"ProductVersion":"26.4","ProductVersionExtra":"(a)","Build":"25E771a","PrerequisiteBuild":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}]}}`))
	f.Add([]byte(`{"AssetSets":null,"PublicBackgroundSecurityImprovements":{}}`))
	f.Add([]byte(`<html>`))
	at := time.Date(2026, 8, 22, 19, 15, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, b []byte) {
		feed, err := ParseFeed(b)
		if err != nil {
			if !errors.Is(err, ErrRefused) || err.Error() == "" {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if !slices.IsSortedFunc(feed.Releases, compareReleases) || len(feed.Odd) > 21 {
			t.Fatalf("%d odd, releases %v", len(feed.Odd), feed.Releases)
		}
		builds := map[string]bool{}
		for _, r := range feed.Releases {
			if builds[r.Build] || r.Build == "" || r.Version.Major() == 0 || r.Posted < earliestPosting || !r.Available ||
				len(r.Devices) == 0 || !slices.IsSorted(r.Devices) || len(slices.Compact(slices.Clone(r.Devices))) != len(r.Devices) ||
				(r.Kind == KindBSI) != (r.Letter != "" && r.PrerequisiteBuild != "") {
				t.Fatalf("%+v", r)
			}
			builds[r.Build] = true
		}
		c, changed, err := Merge(Snapshot(), feed, at)
		if err != nil {
			return
		}
		if !changed {
			t.Fatal("the first response is news")
		}
		if again, changed, err := Merge(c, feed, at.Add(48*time.Hour)); err != nil || changed || again.Revision != c.Revision {
			t.Fatalf("the same again: %v, %v", changed, err)
		}
		j, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Catalog
		if err := json.Unmarshal(j, &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(*c, back); d != "" {
			t.Fatal(d)
		}
		NewIndex(c)
	})
}

func FuzzParseExploited(f *testing.F) {
	f.Add([]byte(sofaHead + `{"ProductVersion":"26.6.1","Build":"25G76","AllBuilds":["25G76"],"ActivelyExploitedCVEs":["CVE-2026-65400"]}]}],` +
		`"BackgroundSecurityImprovements":{"26":[{"Version":"26.3.1","VersionExtra":"(a)","Build":"25D771280a","CVEs":["CVE-2026-65400"]}]}}`))
	f.Add([]byte(`{"OSVersions":[{"SecurityReleases":[{"ProductVersion":"26.6.2","CVEs":{"CVE-1":{}}}]}]}`))
	f.Add([]byte(`{"OSVersions":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseExploited(b)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		for _, x := range e {
			if x.Version == "" && x.Build == "" {
				t.Fatalf("%+v names nothing", x)
			}
		}
		if len(e) > maxFixes {
			t.Fatalf("%d versions and builds", len(e))
		}
		c, changed := mark(Snapshot(), e)
		if again, twice := mark(c, e); twice || changed != (c.Revision == 1) || again.Revision != c.Revision {
			t.Fatalf("changed %v, then %v", changed, twice)
		}
	})
}
