package sim

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"plimsoll/declarations/release"
)

// feedJSON is what Apple's feed said of macOS between September 2025 and August 2026, in its own format, merged: every
// build with all its boards and its earliest posting date. Macs start from older releases too.
//
//go:embed data/feed.json
var feedJSON []byte

//go:embed data/hardware.json
var hardwareJSON []byte

// Hardware is a model of Mac. Board is what it reports as softwareupdate.device-id.
type Hardware struct {
	Board        string `json:"board"`
	Model        string `json:"model"` // model identifier: Mac14,2
	Name         string `json:"name"`  // marketing name
	AppleSilicon bool   `json:"apple_silicon"`
}

// OS is what a Mac runs. The supplemental fields are set while a Background Security Improvement is installed.
type OS struct {
	Version           release.Version `json:"version"`
	Build             string          `json:"build"`
	Letter            string          `json:"letter,omitempty"` // "a"
	SupplementalBuild string          `json:"supplemental_build,omitempty"`
}

func (o OS) String() string {
	if o.Letter != "" {
		return fmt.Sprintf("%s (%s) %s", o.Version, o.Letter, o.SupplementalBuild)
	}
	return fmt.Sprintf("%s %s", o.Version, o.Build)
}

// World is what Apple offers to the simulated Macs: it decides what they can install, whatever the server believes.
// It reads Apple's feed by itself, so that a fault of the server's reading shows. It is safe for concurrent use.
type World struct {
	mu       sync.RWMutex
	releases []release.Release
	hardware []Hardware
}

// NewWorld knows the releases of the built-in feed.
func NewWorld() *World {
	w := &World{}
	if err := w.AddFeed(feedJSON); err != nil {
		panic("built-in feed: " + err.Error()) // embedded at build time
	}
	if err := json.Unmarshal(hardwareJSON, &w.hardware); err != nil {
		panic("built-in hardware: " + err.Error())
	}
	return w
}

type feedEntry struct {
	ProductVersion      string
	ProductVersionExtra string
	Build               string
	PrerequisiteBuild   string
	PostingDate         string
	SupportedDevices    []string
}

// AddFeed adds the macOS releases of a response in the format of Apple's feed.
func (w *World) AddFeed(b []byte) error {
	type set struct {
		MacOS []feedEntry `json:"macOS"`
	}
	var f struct {
		AssetSets, PublicAssetSets set
		BSI                        set `json:"PublicBackgroundSecurityImprovements"`
		RSR                        set `json:"PublicRapidSecurityResponses"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("reading the feed: %w", err)
	}
	add := func(kind release.Kind, entries []feedEntry) error {
		for _, e := range entries {
			v, err := release.ParseVersion(e.ProductVersion)
			if err != nil {
				return fmt.Errorf("feed entry %s: %w", e.Build, err)
			}
			posted, err := release.ParseDay(e.PostingDate)
			if err != nil {
				return fmt.Errorf("feed entry %s: %w", e.Build, err)
			}
			w.Add(release.Release{
				Version: v, Build: e.Build, Kind: kind, Letter: release.NormalLetter(e.ProductVersionExtra),
				PrerequisiteBuild: e.PrerequisiteBuild, Posted: posted, Available: true, Devices: e.SupportedDevices,
			})
		}
		return nil
	}
	for _, s := range []struct {
		kind    release.Kind
		entries []feedEntry
	}{
		{release.KindOS, f.AssetSets.MacOS},
		{release.KindOS, f.PublicAssetSets.MacOS},
		{release.KindBSI, f.BSI.MacOS},
		{release.KindBSI, f.RSR.MacOS},
	} {
		if err := add(s.kind, s.entries); err != nil {
			return err
		}
	}
	return nil
}

// Add makes one release known; of a known build the boards are united and the earlier posting date counts.
func (w *World) Add(r release.Release) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Devices = slices.Clone(r.Devices)
	for i := range w.releases {
		known := &w.releases[i]
		if known.Build != r.Build || known.Kind != r.Kind {
			continue
		}
		for _, d := range r.Devices {
			if !slices.Contains(known.Devices, d) {
				known.Devices = append(slices.Clone(known.Devices), d)
			}
		}
		known.Posted = min(known.Posted, r.Posted)
		return
	}
	w.releases = append(w.releases, r)
}

// release finds the macOS release of a version for a board: with a build that one, else the newest posted.
func (w *World) release(v release.Version, build, board string) (release.Release, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var best release.Release
	for _, r := range w.releases {
		if r.Kind != release.KindOS || r.Version.Compare(v) != 0 || !slices.Contains(r.Devices, board) {
			continue
		}
		if build != "" && r.Build != build {
			continue
		}
		if best.Build == "" || r.Posted > best.Posted {
			best = r
		}
	}
	return best, best.Build != ""
}

// bsi finds a Background Security Improvement by its build, for any board.
func (w *World) bsi(build string) (release.Release, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, r := range w.releases {
		if r.Kind == release.KindBSI && r.Build == build {
			return r, true
		}
	}
	return release.Release{}, false
}

// newest is the newest macOS release for a board, in one major version, or in any with major 0.
func (w *World) newest(board string, major int) (release.Release, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var best release.Release
	for _, r := range w.releases {
		if r.Kind != release.KindOS || !slices.Contains(r.Devices, board) || major != 0 && r.Version.Major() != major {
			continue
		}
		c := r.Version.Compare(best.Version)
		if best.Build == "" || c > 0 || c == 0 && r.Posted > best.Posted {
			best = r
		}
	}
	return best, best.Build != ""
}

// tooNew tells whether a version is above everything that the world knows: a release posted after its data were taken.
func (w *World) tooNew(v release.Version) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, r := range w.releases {
		if r.Version.Major() == v.Major() && r.Version.Compare(v) >= 0 {
			return false
		}
	}
	return true
}

// marketingName is what device.operating-system.marketing-name says, for example "macOS 26.6.2".
func marketingName(v release.Version) string { return "macOS " + strings.TrimSpace(string(v)) }
