package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrRefused is what errors.Is finds in an error that says why a response cannot be used; the last good catalogue stays.
var ErrRefused = errors.New("response refused")

// refusal is a sentence that an admin reads, and nothing else.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrRefused }

func refuse(format string, a ...any) error { return refusal(fmt.Sprintf(format, a...)) }

// Bounds far above anything that Apple ever sent (in 2026: 21 entries of 1.5 kB), so that a broken
// or hostile response costs little memory. The size of the whole is limited where it is fetched.
const (
	maxEntries   = 5000
	maxEntrySize = 256 << 10
	maxDevices   = 5000
	maxOdd       = 20
	maxName      = 64
)

// earliestPosting (2000-01-01) rejects dates that cannot be: posting dates never move later, so a slip would stay for ever.
const earliestPosting Day = 10957

// Feed is one response of Apple's feed, read.
type Feed struct {
	// Releases are the macOS builds and BSIs, each once, in catalogue order. All are Available; FirstSeen is zero.
	Releases []Release
	// Odd lists what was left out, a sentence each; at most 20, then how many more.
	Odd []string

	dropped int
}

func (f *Feed) odd(format string, a ...any) {
	f.dropped++
	if f.dropped <= maxOdd {
		f.Odd = append(f.Odd, fmt.Sprintf(format, a...))
	}
}

// OSBuilds counts the macOS builds in the response, the measure for refusing it.
func (f *Feed) OSBuilds() int {
	n := 0
	for _, r := range f.Releases {
		if r.Kind == KindOS {
			n++
		}
	}
	return n
}

// feedEntry is an entry of any set: a missing field is an empty one, and what must be there is checked.
type feedEntry struct {
	ProductVersion      string
	ProductVersionExtra string
	Build               string
	PrerequisiteBuild   string
	PostingDate         string
	ExpirationDate      string
	SupportedDevices    []string
}

// ParseFeed reads Apple's bytes: both asset sets, and BSIs under their new and their old name; only macOS.
// Missing sets, empty objects and null are normal. An entry that makes no sense is left out and noted in Odd.
// The error, when there is one, is an ErrRefused: these bytes are not the feed.
func ParseFeed(b []byte) (*Feed, error) {
	var top struct {
		PublicAssetSets                      json.RawMessage
		AssetSets                            json.RawMessage
		PublicBackgroundSecurityImprovements json.RawMessage
		PublicRapidSecurityResponses         json.RawMessage
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, refuse("the response is empty")
	}
	if c := bytes.TrimSpace(b)[0]; c == '<' {
		return nil, refuse("the response is HTML or XML, not JSON")
	} else if c != '{' {
		return nil, refuse("the response is not a JSON object")
	}
	if err := json.Unmarshal(b, &top); err != nil {
		return nil, refuse("the response is not valid JSON: %v", err)
	}
	f := &Feed{}
	var found []Release
	for _, set := range []struct {
		name string
		raw  json.RawMessage
		kind Kind
	}{
		{"PublicAssetSets", top.PublicAssetSets, KindOS},
		{"AssetSets", top.AssetSets, KindOS},
		{"PublicBackgroundSecurityImprovements", top.PublicBackgroundSecurityImprovements, KindBSI},
		{"PublicRapidSecurityResponses", top.PublicRapidSecurityResponses, KindBSI},
	} {
		var platforms struct {
			MacOS json.RawMessage `json:"macOS"`
		}
		if len(set.raw) > 0 {
			if err := json.Unmarshal(set.raw, &platforms); err != nil {
				f.odd("%s is not an object", set.name)
				continue
			}
		}
		err := eachItem(platforms.MacOS, func(i int, raw json.RawMessage) error {
			if len(found) >= maxEntries {
				return refuse("the response has more than %d macOS entries", maxEntries)
			}
			r, err := readEntry(raw, set.kind)
			if err != nil {
				f.odd("%s.macOS[%d]: %v", set.name, i, err)
				return nil
			}
			found = append(found, r)
			return nil
		})
		switch {
		case errors.Is(err, ErrRefused):
			return nil, err
		case err != nil:
			f.odd("%s.macOS: %v", set.name, err)
		}
	}
	f.unite(found)
	if n := f.dropped - maxOdd; n > 0 {
		f.Odd = append(f.Odd, fmt.Sprintf("and %d more", n))
	}
	return f, nil
}

// eachItem walks a JSON array one item at a time, so that a long one is never held as a whole. Null and nothing are empty arrays.
func eachItem(raw json.RawMessage, do func(i int, item json.RawMessage) error) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if raw[0] != '[' {
		return errors.New("not an array")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for i := 0; dec.More(); i++ {
		var item json.RawMessage
		if err := dec.Decode(&item); err != nil {
			return err
		}
		if err := do(i, item); err != nil {
			return err
		}
	}
	return nil
}

func readEntry(raw json.RawMessage, kind Kind) (Release, error) {
	var e feedEntry
	if len(raw) > maxEntrySize {
		return Release{}, fmt.Errorf("the entry has %d bytes", len(raw))
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return Release{}, errors.New("the entry has a field of a wrong type")
	}
	v, err := ParseVersion(e.ProductVersion)
	if err != nil || v.Major() == 0 {
		return Release{}, fmt.Errorf("ProductVersion: %.80q is not a version", e.ProductVersion)
	}
	r := Release{Version: v, Build: e.Build, Kind: kind, Available: true}
	if !isBuild(e.Build) {
		return Release{}, fmt.Errorf("Build: %.80q is not a build", e.Build)
	}
	if r.Posted, err = ParseDay(e.PostingDate); err != nil {
		return Release{}, fmt.Errorf("PostingDate of %s: %.80q is not a date", e.Build, e.PostingDate)
	}
	if r.Posted < earliestPosting {
		return Release{}, fmt.Errorf("PostingDate of %s: %s cannot be", e.Build, e.PostingDate)
	}
	// The expiration is informational and may be missing: a bad one is not worth losing a release.
	if r.Expires, err = ParseDay(e.ExpirationDate); err != nil {
		r.Expires = 0
	}
	if kind == KindBSI {
		if r.Letter = NormalLetter(e.ProductVersionExtra); r.Letter == "" {
			return Release{}, fmt.Errorf("ProductVersionExtra of %s: %.80q is not a letter", e.Build, e.ProductVersionExtra)
		}
		if r.PrerequisiteBuild = e.PrerequisiteBuild; !isBuild(e.PrerequisiteBuild) {
			return Release{}, fmt.Errorf("PrerequisiteBuild of %s: %.80q is not a build", e.Build, e.PrerequisiteBuild)
		}
	}
	for _, d := range e.SupportedDevices {
		if d != "" && len(d) <= maxName {
			r.Devices = append(r.Devices, d)
		}
	}
	if len(r.Devices) == 0 {
		return Release{}, fmt.Errorf("SupportedDevices of %s: there are none", e.Build)
	}
	return r, nil
}

// isBuild accepts digits and letters with at least one letter, beginning with a digit, as every build of Apple's
// has it: so a build is never taken for a version. Nothing else is read from a build.
func isBuild(s string) bool {
	if s == "" || len(s) > maxName || s[0] > '9' {
		return false
	}
	letters := 0
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9':
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
			letters++
		default:
			return false
		}
	}
	return letters > 0
}

// unite makes one release of the entries of one build: the union of their devices, the earliest posting
// and the latest expiration. Entries that contradict each other about what the build is are settled the
// same way whatever their order: an OS release wins over a BSI, then the lower version, then the first in
// the order of the strings.
func (f *Feed) unite(found []Release) {
	slices.SortFunc(found, func(a, b Release) int {
		return cmp.Or(
			cmp.Compare(a.Build, b.Build),
			-cmp.Compare(a.Kind, b.Kind),
			a.Version.Compare(b.Version),
			cmp.Compare(
				a.Version,
				b.Version,
			),
			cmp.Compare(a.Letter, b.Letter),
			cmp.Compare(a.PrerequisiteBuild, b.PrerequisiteBuild),
		)
	})
	for _, r := range found {
		n := len(f.Releases)
		if n == 0 || f.Releases[n-1].Build != r.Build {
			f.Releases = append(f.Releases, r)
			continue
		}
		last := &f.Releases[n-1]
		if last.Kind != r.Kind || last.Version.Compare(r.Version) != 0 || last.Letter != r.Letter ||
			last.PrerequisiteBuild != r.PrerequisiteBuild {
			f.odd("build %s is named %s %s and %s %s: the first counts", r.Build, last.Version, last.Letter, r.Version, r.Letter)
			continue
		}
		last.Posted = min(last.Posted, r.Posted)
		last.Expires = max(last.Expires, r.Expires)
		if !slices.Equal(last.Devices, r.Devices) {
			last.Devices = append(last.Devices, r.Devices...)
		}
	}
	for i := range f.Releases {
		r := &f.Releases[i]
		slices.Sort(r.Devices)
		r.Devices = slices.Compact(r.Devices)
		if len(r.Devices) > maxDevices {
			f.odd("SupportedDevices of %s: only the first %d of %d count", r.Build, maxDevices, len(r.Devices))
			r.Devices = slices.Clone(r.Devices[:maxDevices])
		}
	}
	slices.SortFunc(f.Releases, compareReleases)
}
