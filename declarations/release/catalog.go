package release

import "time"

// Kind tells an operating system release from a Background Security Improvement.
type Kind string

// The two kinds of release.
const (
	KindOS  Kind = "os"
	KindBSI Kind = "bsi"
)

// Release is one macOS build or one Background Security Improvement (rules 3).
type Release struct {
	Version Version `json:"version"` // the feed's own string; of a BSI, its base version
	Build   string  `json:"build"`
	Kind    Kind    `json:"kind"`
	// Letter is the normalised letter of a BSI ("a"), else empty.
	Letter            string `json:"letter,omitempty"`
	PrerequisiteBuild string `json:"prerequisite_build,omitempty"`
	// Posted is the earliest posting date (UTC) ever seen for the build, and never later than FirstSeen; it never moves later.
	Posted    Day       `json:"posted"`
	FirstSeen time.Time `json:"first_seen_at"` // when it first appeared to us, UTC
	// Expires is informational: it takes no part in tokens, deadlines or change detection.
	Expires   Day  `json:"expires"`
	Available bool `json:"available"`
	// LackedAt is when a fetch first lacked it: a withdrawal that is not confirmed yet. Zero while it is in the feed.
	LackedAt  time.Time `json:"lacked_at,omitzero"`
	Exploited bool      `json:"exploited,omitempty"` // known to fix an actively exploited vulnerability
	// ExploitedAt is when it was marked so, UTC; zero when it is not, or when that was not noted.
	ExploitedAt time.Time `json:"exploited_at,omitzero"`
	Devices     []string  `json:"devices"` // board ids, sorted
}

// Catalog is everything that is known of Apple's releases at one time.
type Catalog struct {
	// Revision counts the accepted contents that really changed, and the marks of the exploited feed that did; the built-in
	// snapshot is 0.
	Revision  int       `json:"revision"`
	Source    string    `json:"source"`         // "snapshot" or "feed"
	From      string    `json:"from,omitempty"` // the URL, file or folder of the last accepted response, as its caller names it
	FetchedAt time.Time `json:"fetched_at"`     // of the last accepted response, UTC
	// Digest is the canonical, order-free, date-free digest of the last accepted response (see digestOf).
	Digest string `json:"digest"`
	// OSBuilds counts the macOS builds of the last accepted response, the measure for refusing a shrunken one.
	OSBuilds int       `json:"os_builds"`
	Releases []Release `json:"releases"` // by version, letter, build
	// LeftOut tells what of the last accepted response made no sense and was left out, a sentence each (Feed.Odd).
	LeftOut []string `json:"left_out,omitempty"`
	// Exploited is what the last readable exploited feed names, so that a release which Apple posts later is marked as well.
	Exploited Exploited `json:"exploited,omitempty"`
}

// Hold keeps releases from being targets (rules 3).
type Hold struct {
	// Subject is a build ("25G83"), a version ("26.6.2") or a major version ("27").
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
	// Successors extends the hold to every later release of that major, and to the BSIs of a held one.
	Successors bool      `json:"successors"`
	Until      time.Time `json:"until,omitzero"` // zero: until let go
	Since      time.Time `json:"since"`
	By         string    `json:"by,omitempty"`
}

// Active tells whether the hold is in force at now.
func (h *Hold) Active(now time.Time) bool { return h.Until.IsZero() || now.Before(h.Until) }

// Pause is the red button: while there is one, no enforcement is declared to anybody (rules 3).
type Pause struct {
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
}

// Board is what the catalogue holds for one board id. It is immutable.
type Board struct {
	OS  []*Release // newest version first; of one version the newest posted first
	BSI []*Release // newest first: by version, then letter
	// MaxMajor is the highest major version available for the board, held ones included; 0 when there is none.
	MaxMajor int
}

// Index answers what there is for a board. It is built once per catalogue revision, immutable and safe for concurrent use.
type Index struct {
	boards   map[string]*Board
	builds   map[string]*Release
	versions map[Version][]*Release // OS builds by Version.key
	all      []*Release
	majors   []int
	newest   Version
}
