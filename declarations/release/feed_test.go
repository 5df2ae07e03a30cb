package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestParseFeedReal(t *testing.T) {
	f := parsed(t, snapshotJSON)
	if len(f.Odd) != 0 || f.OSBuilds() != 15 || len(f.Releases) != 17 {
		t.Fatalf("%d builds, %d releases, odd: %v", f.OSBuilds(), len(f.Releases), f.Odd)
	}
	// Read off the response by hand; posted is the earlier of the two sets' dates.
	wants := []struct {
		build, version, letter, prerequisite, posted, expires string
		devices                                               int
	}{
		{"20G1443", "11.7.11", "", "", "2026-05-18", "2026-11-20", 88},
		{"21H1320", "12.7.6", "", "", "2026-05-18", "2026-11-20", 58},
		{"23J631", "14.8.9", "", "", "2026-08-06", "2026-11-20", 56},
		{"24G830", "15.7.9", "", "", "2026-08-06", "2026-11-20", 67},
		{"25D771280a", "26.3.1", "a", "25D2128", "2026-03-17", "2026-11-20", 62},
		{"25D771400a", "26.3.2", "a", "25D2140", "2026-03-17", "2026-11-20", 1},
		{"25F71", "26.5", "", "", "2026-05-18", "2026-08-30", 63},
		{"25G83", "26.6.2", "", "", "2026-08-17", "2026-11-20", 63},
	}
	for _, w := range wants {
		i := slices.IndexFunc(f.Releases, func(r Release) bool { return r.Build == w.build })
		if i < 0 {
			t.Errorf("%s is missing", w.build)
			continue
		}
		r := f.Releases[i]
		if string(r.Version) != w.version || r.Letter != w.letter || r.PrerequisiteBuild != w.prerequisite ||
			r.Posted.String() != w.posted || r.Expires.String() != w.expires || len(r.Devices) != w.devices || (r.Kind == KindBSI) != (w.letter != "") {
			t.Errorf("%s is %+v", w.build, r)
		}
	}
}

// reordered shuffles every array of a response.
func reordered(v any, rnd *rand.Rand) {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			reordered(e, rnd)
		}
	case []any:
		rnd.Shuffle(len(v), func(i, j int) { v[i], v[j] = v[j], v[i] })
		for _, e := range v {
			reordered(e, rnd)
		}
	}
}

// Apple's feed: most responses differ from the one before only in the order of their arrays.
func TestArrayOrderIsNoChange(t *testing.T) {
	c, _ := merged(t, &Catalog{}, parsed(t, snapshotJSON), "2026-08-22T19:15:00Z")
	for seed := range uint64(5) {
		var v any
		if err := json.Unmarshal(snapshotJSON, &v); err != nil {
			t.Fatal(err)
		}
		reordered(v, rand.New(rand.NewPCG(seed, 1)))
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		next, changed := merged(t, c, parsed(t, b), "2026-08-23T19:15:00Z")
		if changed || next.Digest != c.Digest || next.Revision != 1 {
			t.Errorf("seed %d: changed %v, revision %d, digest %s", seed, changed, next.Revision, next.Digest)
		}
	}
}

// Apple's feed: one build in two entries of one set, for different boards.
func TestEntriesOfOneBuildAreOneRelease(t *testing.T) {
	f := feedOf(t, "26.3.1 25D2128 2026-03-11 2026-06-08 J413AP J416sAP", "26.3.1 25D2128 2026-03-10 2026-06-22 J700AP J413AP")
	if len(f.Releases) != 1 || f.OSBuilds() != 1 || len(f.Odd) != 0 {
		t.Fatalf("%+v", f)
	}
	r := f.Releases[0]
	if !slices.Equal(r.Devices, []string{"J413AP", "J416sAP", "J700AP"}) || r.Posted.String() != "2026-03-10" || r.Expires.String() != "2026-06-22" {
		t.Errorf("%+v", r)
	}
}

// Apple's feed: the sets name different posting dates; the earliest counts.
func TestPostedIsTheEarliestOfTheSets(t *testing.T) {
	f := parsed(t, body(t, map[string][]string{
		"PublicAssetSets": {"26.0.1 25A362 2025-10-21 2026-01-20 J413AP"},
		"AssetSets":       {"26.0.1 25A362 2025-09-29 2026-01-20 J413AP"},
	}))
	if got := f.Releases[0].Posted.String(); got != "2025-09-29" {
		t.Errorf("posted %s", got)
	}
}

// Apple's feed: either name of the set for BSIs, empty objects, missing keys.
func TestBSISetNames(t *testing.T) {
	os := `"AssetSets":{"macOS":[{"ProductVersion":"26.3.1","Build":"25D2128","PostingDate":"2026-03-04","ExpirationDate":"2026-06-22","SupportedDevices":["J413AP"]}]}`
	entry := `[{"ProductVersion":"26.3.1","ProductVersionExtra":"(a)","Build":"25D771280a","PrerequisiteBuild":"25D2128","PostingDate":"2026-03-17","ExpirationDate":"2026-06-15","SupportedDevices":["J413AP"]}]`
	tests := []struct {
		name, body string
		bsis       int
	}{
		{"new name", `{` + os + `,"PublicBackgroundSecurityImprovements":{"macOS":` + entry + `}}`, 1},
		{"old name", `{` + os + `,"PublicRapidSecurityResponses":{"macOS":` + entry + `}}`, 1},
		{"both names", `{` + os + `,"PublicRapidSecurityResponses":{"macOS":` + entry + `},"PublicBackgroundSecurityImprovements":{"macOS":` + entry + `}}`, 1},
		{"empty object", `{` + os + `,"PublicBackgroundSecurityImprovements":{}}`, 0},
		{"null", `{` + os + `,"PublicBackgroundSecurityImprovements":null}`, 0},
		{"null platform", `{` + os + `,"PublicBackgroundSecurityImprovements":{"macOS":null}}`, 0},
		{"empty list", `{` + os + `,"PublicBackgroundSecurityImprovements":{"macOS":[],"iOS":[]}}`, 0},
		{"missing", `{` + os + `}`, 0},
		{"byte order mark", "\xef\xbb\xbf{" + os + `}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := parsed(t, []byte(tt.body))
			if len(f.Odd) != 0 || f.OSBuilds() != 1 || len(f.Releases) != 1+tt.bsis {
				t.Fatalf("%+v", f)
			}
			if tt.bsis == 1 {
				r := f.Releases[1]
				if r.Kind != KindBSI || r.Version != "26.3.1" || r.Letter != "a" || r.Build != "25D771280a" || r.PrerequisiteBuild != "25D2128" {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// An entry that makes no sense is left out and named; the others stay.
func TestOddEntries(t *testing.T) {
	good := `{"ProductVersion":"26.4","Build":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`
	tests := []struct{ name, set, entry, odd string }{
		{"no version", "AssetSets", `{"Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "ProductVersion"},
		{"version in words", "AssetSets", `{"ProductVersion":"Tahoe","Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "ProductVersion"},
		{"version with a letter", "AssetSets", `{"ProductVersion":"26.3.1 (a)","Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "ProductVersion"},
		{"version zero", "AssetSets", `{"ProductVersion":"0.1","Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "ProductVersion"},
		{"no build", "AssetSets", `{"ProductVersion":"26.4","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "Build"},
		{"build that is a version", "AssetSets", `{"ProductVersion":"26.4","Build":"26","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "Build"},
		{"build with a space", "AssetSets", `{"ProductVersion":"26.4","Build":"25E 1","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "Build"},
		{"no posting date", "AssetSets", `{"ProductVersion":"26.4","Build":"25E1","SupportedDevices":["J413AP"]}`, "PostingDate of 25E1"},
		{"bad posting date", "AssetSets", `{"ProductVersion":"26.4","Build":"25E1","PostingDate":"24.03.2026","SupportedDevices":["J413AP"]}`, "PostingDate of 25E1"},
		{"posting date before there were any", "AssetSets", `{"ProductVersion":"26.4","Build":"25E1","PostingDate":"0001-01-01","SupportedDevices":["J413AP"]}`, "PostingDate of 25E1"},
		{"no devices", "AssetSets", `{"ProductVersion":"26.4","Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":[]}`, "SupportedDevices of 25E1"},
		{"empty device", "AssetSets", `{"ProductVersion":"26.4","Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":[""]}`, "SupportedDevices of 25E1"},
		{"devices as text", "AssetSets", `{"ProductVersion":"26.4","Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":"J413AP"}`, "wrong type"},
		{"version as number", "AssetSets", `{"ProductVersion":26.4,"Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "wrong type"},
		{"a number", "AssetSets", `7`, "wrong type"},
		{"null", "AssetSets", `null`, "ProductVersion"},
		{"huge", "AssetSets", `{"ProductVersion":"` + strings.Repeat("1", 300<<10) + `"}`, "bytes"},
		{"BSI without letter", "PublicBackgroundSecurityImprovements", `{"ProductVersion":"26.4","Build":"25E1","PrerequisiteBuild":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "ProductVersionExtra of 25E1"},
		{"BSI without base", "PublicBackgroundSecurityImprovements", `{"ProductVersion":"26.4","ProductVersionExtra":"(a)","Build":"25E1","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}`, "PrerequisiteBuild of 25E1"},
		{"the same build as another version", "PublicAssetSets", `{"ProductVersion":"26.4.1","Build":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J999AP"]}`, "25E246"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sets := map[string]any{"AssetSets": map[string]any{"macOS": []any{json.RawMessage(good)}}}
			if tt.set == "AssetSets" {
				sets["AssetSets"] = map[string]any{"macOS": []any{json.RawMessage(tt.entry), json.RawMessage(good)}}
			} else {
				sets[tt.set] = map[string]any{"macOS": []any{json.RawMessage(tt.entry)}}
			}
			b, err := json.Marshal(sets)
			if err != nil {
				t.Fatal(err)
			}
			f := parsed(t, b)
			if len(f.Releases) != 1 || f.Releases[0].Build != "25E246" || f.Releases[0].Version != "26.4" || !slices.Equal(f.Releases[0].Devices, []string{"J413AP"}) {
				t.Errorf("releases: %+v", f.Releases)
			}
			if len(f.Odd) != 1 || !strings.Contains(f.Odd[0], tt.odd) || len(f.Odd[0]) > 300 {
				t.Errorf("odd: %.400q", f.Odd)
			}
		})
	}
}

// The expiration is informational: missing or unreadable, it costs nothing.
func TestExpirationIsOptional(t *testing.T) {
	for _, e := range []string{``, `,"ExpirationDate":""`, `,"ExpirationDate":"soon"`} {
		f := parsed(t, []byte(`{"AssetSets":{"macOS":[{"ProductVersion":"26.4","Build":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]`+e+`}]}}`))
		if len(f.Releases) != 1 || f.Releases[0].Expires != 0 || len(f.Odd) != 0 {
			t.Errorf("%q: %+v", e, f)
		}
	}
}

// Apple's feed: what is no feed at all is refused, in words.
func TestNoFeed(t *testing.T) {
	tests := []struct{ name, body, reason string }{
		{"empty", "", "empty"},
		{"blank", " \n", "empty"},
		{"HTML", "<!DOCTYPE html><html><body>Log in</body></html>", "HTML"},
		{"truncated", string(snapshotJSON[:len(snapshotJSON)/2]), "not valid JSON"},
		{"two of them", string(snapshotJSON) + string(snapshotJSON), "not valid JSON"},
		{"array", "[]", "not a JSON object"},
		{"null", "null", "not a JSON object"},
		{"text", `"feed"`, "not a JSON object"},
		{"too deep", `{"AssetSets":` + strings.Repeat("[", 200000) + strings.Repeat("]", 200000) + `}`, "not valid JSON"},
		{"too many entries", `{"AssetSets":{"macOS":[` + strings.Repeat(`{"ProductVersion":"26.4","Build":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]},`, 5000) +
			`{"ProductVersion":"26.4","Build":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"]}]}}`, "more than 5000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseFeed([]byte(tt.body))
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want %q", err, tt.reason)
			}
		})
	}
}

// Wrong types in the sets leave nothing to merge, which is what refuses the response.
func TestWrongTypes(t *testing.T) {
	for _, b := range []string{`{}`, `{"AssetSets":[]}`, `{"AssetSets":"x"}`, `{"AssetSets":{"macOS":{}}}`, `{"AssetSets":{"macOS":"x"}}`, `{"AssetSets":{"macOS":[1,2]}}`, `{"AssetSets":{"iOS":[]}}`} {
		f := parsed(t, []byte(b))
		if len(f.Releases) != 0 {
			t.Errorf("%s: %+v", b, f.Releases)
		}
		if _, _, err := Merge(&Catalog{}, f, when(t, "2026-08-22T19:15:00Z")); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

// However many entries are odd, the list of them stays short.
func TestOddIsBounded(t *testing.T) {
	f := parsed(t, []byte(`{"AssetSets":{"macOS":[`+strings.TrimSuffix(strings.Repeat(`{},`, 10000), ",")+`]}}`))
	if len(f.Odd) != 21 || f.Odd[20] != "and 9980 more" {
		t.Errorf("%d odd, the last %q", len(f.Odd), f.Odd[len(f.Odd)-1])
	}
}

// Many entries of one build with ever other boards cost time in proportion to the bytes.
func TestManyDevices(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"AssetSets":{"macOS":[`)
	for i := range 200 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"ProductVersion":"26.4","Build":"25E246","PostingDate":"2026-03-24","SupportedDevices":["J413AP"`)
		for j := range 50 {
			fmt.Fprintf(&b, `,"J%dAP"`, i*50+j)
		}
		b.WriteString(`]}`)
	}
	b.WriteString(`]}}`)
	f := parsed(t, b.Bytes())
	if len(f.Releases) != 1 || len(f.Releases[0].Devices) != 5000 || len(f.Odd) != 1 {
		t.Errorf("%d releases, odd %v", len(f.Releases), f.Odd)
	}
}

// Only Macs: an iPhone's release, even with a Mac's build, is not read.
func TestOnlyMacs(t *testing.T) {
	f := parsed(t, []byte(`{"AssetSets":{"iOS":[{"ProductVersion":"26.6","Build":"23G83","PostingDate":"2026-08-17","SupportedDevices":["iPhone17,1"]}],"visionOS":[{"ProductVersion":"26.6","Build":"23O83","PostingDate":"2026-08-17","SupportedDevices":["RealityDevice14,1"]}]}}`))
	if len(f.Releases) != 0 || len(f.Odd) != 0 {
		t.Errorf("%+v", f)
	}
}
