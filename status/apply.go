package status

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"plimsoll/declarations/release"
)

const (
	maxFact = 256 // bytes of a serial number, a build, a model: what is longer is none
	maxText = 300 // characters of a name
)

// Where a board id comes from, the best first (rules 4).
const (
	BoardFromReport = "report" // softwareupdate.device-id
	BoardFromQuery  = "query"  // the answer to DeviceInformation
	BoardFromTable  = "table"  // the model, looked up in release's table
)

// CheckIn is what a Mac says of itself outside status reports: in Authenticate, and when DeviceInformation asks it.
// Empty fields are not told.
type CheckIn struct {
	UDID, Serial, Name, Model, ModelName string
	Version, Build                       string
	SupplementalBuild, Letter            string
	// Identity is the certificate that Authenticate came under; zero elsewhere.
	Identity Identity
}

// NewLife is what remains of a Mac after Authenticate and CheckOut: who it is.
func (f Facts) NewLife() Facts {
	return Facts{
		ID: f.ID, UDID: f.UDID, Serial: f.Serial, Name: f.Name, IdentityEnds: f.IdentityEnds, IdentityChangedAt: f.IdentityChangedAt,
		IdentityCA: f.IdentityCA,
	}
}

// CheckIn begins a new life with what Authenticate carries (rules 4). These values count until the first report of
// that life, which replaces whatever it carries.
func (f Facts) CheckIn(c CheckIn) Facts {
	f = f.NewLife()
	f.takeIdentity(c)
	f.takeSystem(c)
	if c.Identity.Fingerprint != "" {
		f.IdentityEnds, f.IdentityCA = c.Identity.ExpiresAt, c.Identity.CA
	}
	return f.settled()
}

// Fill takes of what Authenticate carries only what is not known yet (rules 16).
func (f Facts) Fill(c CheckIn) Facts {
	for _, p := range []struct {
		fact string
		told *string
	}{{f.UDID, &c.UDID}, {f.Serial, &c.Serial}, {f.Name, &c.Name}, {f.Model, &c.Model}, {f.ModelName, &c.ModelName}} {
		if p.fact != "" {
			*p.told = ""
		}
	}
	f.takeIdentity(c)
	if f.Version == "" {
		f.takeSystem(c)
	}
	return f.settled()
}

// Answer takes the answer to a DeviceInformation query. Identity and hardware, once reported, stay as reported; the
// name, which no report carries, and the system, which is only asked for when reports cannot be trusted, are taken.
func (f Facts) Answer(c CheckIn) Facts {
	if f.LastReportAt.IsZero() {
		f.takeIdentity(c)
	} else {
		set(&f.Name, c.Name, cutText)
	}
	if base := clean(c.Build); base == f.SupplementalBuild && base != "" {
		c.Build = "" // MDM names the build of an installed BSI where a report names the base
	}
	f.takeSystem(c)
	return f.settled()
}

// BoardAnswer takes SoftwareUpdateDeviceID from the answer to a DeviceInformation query. It counts before macOS 15, and
// not once a report has told the board. A board learnt in this way stays through an upgrade, until it is reported.
func (f Facts) BoardAnswer(board string) Facts {
	if board = usable(board); board == "" || f.BoardFrom == BoardFromReport || f.Version.Major() >= 15 {
		return f
	}
	f.Board, f.BoardFrom = board, BoardFromQuery
	return f
}

// Apply takes from a report what became known by it at the moment at, at which it came. What a report does not carry
// stays; the supplemental fields are taken from the same report, or cleared, when version or build changes, and when
// the report is a full one that tells either. Values that cannot be used are passed over.
func (f Facts) Apply(r *Report, at time.Time) Facts {
	get := func(item string) string { return usable(text(r.Items[item])) }
	set(&f.UDID, get(itemUDID), usable)
	set(&f.Serial, get(itemSerial), usable)
	set(&f.Model, get(itemModel), usable)
	set(&f.ModelName, text(r.Items[itemModelName]), cutText)
	if board := get(itemDeviceID); board != "" {
		f.Board, f.BoardFrom = board, BoardFromReport
	}
	if c := capabilitiesOf(r.Items[itemCapabilities]); c.Known {
		f.Capabilities = c
	}
	f.takeFamily(get(itemFamily))
	_, hasBuild := r.Items[itemSupplementalBuild]
	_, hasLetter := r.Items[itemSupplementalExtra]
	f.takeOS(system{
		version: get(itemVersion), build: get(itemBuild), whole: r.Full, odd: r.oddVersion,
		supplemental: get(itemSupplementalBuild), hasSupplemental: hasBuild,
		letter: release.NormalLetter(get(itemSupplementalExtra)), hasLetter: hasLetter,
	})
	f.LastReportAt = at.UTC()
	if f.LastContactAt.Before(f.LastReportAt) {
		f.LastContactAt = f.LastReportAt
	}
	return f.settled()
}

func (f *Facts) takeIdentity(c CheckIn) {
	set(&f.UDID, c.UDID, usable)
	set(&f.Serial, c.Serial, usable)
	set(&f.Name, c.Name, cutText)
	set(&f.Model, c.Model, usable)
	set(&f.ModelName, c.ModelName, cutText)
}

func (f *Facts) takeSystem(c CheckIn) {
	f.takeOS(system{
		version: usable(c.Version), build: usable(c.Build),
		supplemental: usable(c.SupplementalBuild), hasSupplemental: c.SupplementalBuild != "",
		letter: release.NormalLetter(c.Letter), hasLetter: c.Letter != "",
	})
}

// system is what one message says of the operating system. Version and build are empty when they are not told.
type system struct {
	version, build             string
	supplemental, letter       string
	hasSupplemental, hasLetter bool // they are told, if only as empty
	whole                      bool // what is not told does not exist
	odd                        bool // a version is told that is none
}

func (f *Facts) takeOS(s system) {
	told, letter := lettered(s.version)
	v, err := release.ParseVersion(told)
	if s.odd || s.version != "" && err != nil {
		return // version and build are taken together or not at all (rules 4)
	}
	if letter = release.NormalLetter(letter); letter != "" && !s.hasLetter {
		s.letter, s.hasLetter = letter, true
		if s.build != "" &&
			!s.hasSupplemental { // beside such a version stands the build of the improvement; that of its base is not told
			s.supplemental, s.hasSupplemental, s.build = s.build, true, ""
			if v.Compare(f.Version) != 0 {
				f.Build = ""
			}
		}
	}
	changed := s.whole && (s.version != "" || s.build != "")
	if err == nil {
		changed = changed || f.Version == "" || v.Compare(f.Version) != 0
		f.Version = v
	}
	if s.build != "" {
		changed = changed || s.build != f.Build
		f.Build = s.build
	}
	if s.supplemental == f.Build {
		s.supplemental = "" // no BSI: the system runs its own build
	}
	if changed {
		f.SupplementalBuild, f.Letter = s.supplemental, s.letter
		return
	}
	f.takeSupplement(s)
}

// takeSupplement takes the build and the letter of an improvement for a system that is the one known already.
func (f *Facts) takeSupplement(s system) {
	switch {
	case s.hasSupplemental && !s.hasLetter && f.SupplementalBuild != "" && f.SupplementalBuild != s.supplemental:
		f.Letter = "" // it was the letter of the build that is gone
	case s.hasLetter && !s.hasSupplemental && f.Letter != "" && f.Letter != s.letter:
		f.SupplementalBuild = ""
	}
	if s.hasSupplemental {
		f.SupplementalBuild = s.supplemental
	}
	if s.hasLetter {
		f.Letter = s.letter
	}
}

// settled looks the board up by the model, as long as the Mac has not told it.
func (f Facts) settled() Facts {
	if f.LastReportAt.IsZero() {
		f.TakeModel()
	}
	if f.Board != "" && f.BoardFrom != BoardFromTable {
		return f
	}
	f.Board, f.BoardFrom = "", ""
	if b, ok := release.BoardOf(f.Model); ok {
		f.Board, f.BoardFrom = b, BoardFromTable
	}
	return f
}

// set replaces a fact by what was told, unless nothing usable was.
func set(fact *string, told string, read func(string) string) {
	if s := read(told); s != "" {
		*fact = s
	}
}

// usable is the cleaned text, or nothing when it is too long to be a fact.
func usable(s string) string {
	if len(s) > maxFact {
		return ""
	}
	return clean(s)
}

// cutText is the cleaned text, cut to the length of a name.
func cutText(s string) string {
	s = clean(clip(s, utf8.UTFMax*maxText))
	n := 0
	for i := range s {
		if n++; n > maxText {
			return s[:i]
		}
	}
	return s
}

// clean removes what is not to be seen: control and format characters, broken UTF-8, white space around.
func clean(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, s))
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
