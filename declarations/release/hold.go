package release

import (
	"fmt"
	"strconv"
	"strings"
)

// The majors that a hold may name. Nothing older than macOS 10 is alive, and a year or a build number is a slip.
const (
	lowestMajor  = 10
	highestMajor = 99
)

// CheckHoldSubject tells whether a hold on subject means something: a build that the catalogue knows, a
// version ("26.6.2"; it has a dot), or a major version ("27"). Versions and majors need not exist yet:
// holding the next one before it comes out is what holds are for.
func CheckHoldSubject(x *Index, subject string) error {
	if subject == "" {
		return fmt.Errorf("must be a build, a version or a major version, not empty")
	}
	if len(subject) > maxName {
		return fmt.Errorf("%.20q… is too long for a build, a version or a major version", subject)
	}
	if v, err := ParseVersion(subject); err == nil {
		if m := v.Major(); m < lowestMajor || m > highestMajor {
			return fmt.Errorf("%q: there is no macOS %d", subject, m)
		}
		return nil
	}
	if strings.Contains(subject, ".") || !isBuild(subject) {
		return fmt.Errorf("%q is not a build, a version or a major version", subject)
	}
	if x.Build(subject) == nil {
		return fmt.Errorf("the catalogue does not know the build %q", subject)
	}
	return nil
}

// Covers tells whether the hold keeps r from being a target (rules 3); whether it is in force is for Active to tell.
//
//   - A major ("27") covers every OS release of it; a version, its OS builds; a build, that release alone.
//   - Successors add every later OS release of the same major (of the same version: posted later), and the
//     BSIs whose base is covered. After a BSI that is held, later BSIs of its base count as later too.
func (h *Hold) Covers(x *Index, r *Release) bool {
	if r == nil {
		return false
	}
	if r.Build == h.Subject {
		return true
	}
	if r.Kind == KindOS {
		return h.coversOS(x, r)
	}
	if !h.Successors {
		return false
	}
	if held := x.Build(h.Subject); held != nil && held.Kind == KindBSI &&
		held.Version.Compare(r.Version) == 0 && held.PrerequisiteBuild == r.PrerequisiteBuild && r.Letter > held.Letter {
		return true
	}
	if r.PrerequisiteBuild == h.Subject {
		return true
	}
	base := x.Build(r.PrerequisiteBuild)
	if base == nil {
		// Apple lists BSIs long after their base is gone: then the base's version is all that is known of it.
		// Posted is the earliest that can be, so that of the same version only a hold on the version counts.
		base = &Release{Version: r.Version, Kind: KindOS}
	}
	return h.coversOS(x, base)
}

// coversOS is Covers for an OS release whose build is not the subject.
func (h *Hold) coversOS(x *Index, r *Release) bool {
	if !strings.Contains(h.Subject, ".") {
		if major, err := strconv.Atoi(h.Subject); err == nil {
			return r.Version.Major() == major
		}
		held := x.Build(h.Subject)
		if held == nil || !h.Successors || held.Version.Major() != r.Version.Major() {
			return false
		}
		switch c := r.Version.Compare(held.Version); {
		case c != 0:
			return c > 0
		case held.Kind == KindBSI: // its base came before it
			return false
		default:
			return r.Posted > held.Posted
		}
	}
	v := Version(h.Subject)
	if v.Major() != r.Version.Major() {
		return false
	}
	c := r.Version.Compare(v)
	return c == 0 || c > 0 && h.Successors
}
