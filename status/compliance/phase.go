package compliance

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// longestPhase bounds the words that a Mac can put into its record as a phase, in bytes.
const longestPhase = 32

var knownPhases = []Phase{"", Planned, Served, Active, Waiting, Downloading, Prepared, Installing, Failed, Rejected}

// known tells a documented phase from another word that a Mac reported as its install-state.
func (p Phase) known() bool { return slices.Contains(knownPhases, p) }

// declares tells whether the Mac can take part in declarative management (macOS 13 and later) as far as is known.
func declares(f *status.Facts) bool { return f.Version == "" || f.Version.Major() >= 13 }

// progress is how far the enforcement of the target has come.
type progress struct {
	phase Phase
	// declared is what the Mac reports of the declaration that says most: the target's, or its activation when that is the invalid
	// one.
	declared *status.DeclarationStatus
	// already: the Mac refused the target as one that it has, which satisfies it.
	already  bool
	servedAt time.Time // of the manifest with the target; zero: not served
	// What the Mac says of the last installation, when that is about the target: how often it failed, Apple's text and time, and
	// the install-state as reported.
	fails        int
	failCode     string // of a command's failure; empty: what failText says
	failText     string
	failedAt     time.Time
	installState string
}

// identifierOf is the identifier of the declaration that enforces a release of that kind.
func identifierOf(kind release.Kind) string {
	if kind == release.KindBSI {
		return declarations.IDBSI
	}
	return declarations.IDOSUpdate
}

// progressOf follows the target from the plan to the installation (rules 8). The target must be enforced.
func progressOf(p *plan.Plan, m *declarations.Manifest, s status.Merged, reported []status.DeclarationStatus) progress {
	id := identifierOf(p.Target.Kind)
	token, ok := servedToken(p, m, declarations.KindConfiguration, id)
	if !ok {
		return progress{phase: Planned}
	}
	g := progress{phase: Served, servedAt: m.ServedAt}
	if d := find(reported, declarations.KindConfiguration, id, token); d != nil {
		g.declared = d
		switch {
		case d.Valid == "invalid":
			g.phase = Rejected
			if p.Target.Kind == release.KindOS && alreadyNewer(d.Reasons) {
				g.phase, g.already = "", true
			}
			return g
		case d.Active && d.Valid == "valid":
			g.phase = Active
		}
	}
	if g.phase == Served {
		activation := id + declarations.ActivationSuffix
		if token, ok := servedToken(p, m, declarations.KindActivation, activation); ok {
			if d := find(reported, declarations.KindActivation, activation, token); d != nil && d.Valid == "invalid" {
				g.declared, g.phase = d, Rejected
				return g
			}
		}
	}
	g.install(p.Target, s)
	return g
}

// install takes what the Mac says of an installation, if that is about the target.
func (g *progress) install(target *release.Release, s status.Merged) {
	if version, build, _ := s.Pending(); namesAnother(version, build, target) {
		return
	}
	g.installState = s.InstallState()
	switch word := phaseWord(g.installState); word {
	case "", "none":
	default:
		g.phase = word
	}
	if g.fails, g.failText, g.failedAt, _ = s.Failure(); g.fails > 0 {
		g.phase = Failed
	}
}

// commanded is how far the course of commands has come. Without one nothing was handed out.
func commanded(c *command.Course) progress {
	g := progress{phase: Planned}
	if c == nil || !c.Active() {
		return g
	}
	if p := Phase(c.Phase()); p != "" {
		g.phase = p
	}
	g.servedAt = c.ServedAt
	if c.Failure != "" {
		g.fails, g.failCode, g.failText, g.failedAt = 1, c.FailureCode, c.Failure, c.FailedAt
	}
	return g
}

// phaseWord is an install-state as a phase. Other words than Apple's are kept, cut to what a record can hold.
func phaseWord(state string) Phase {
	state = strings.ToLower(strings.TrimSpace(state))
	if len(state) > longestPhase {
		n := longestPhase
		for n > 0 && !utf8.RuneStart(state[n]) {
			n--
		}
		state = state[:n]
	}
	switch p := Phase(state); p {
	case Planned, Served, Active, Rejected:
		// Ours, not Apple's: from a Mac they say nothing.
		return ""
	default:
		return p
	}
}

// servedToken is the ServerToken of a planned declaration, if the manifest has it under that token.
func servedToken(p *plan.Plan, m *declarations.Manifest, kind declarations.Kind, id string) (string, bool) {
	item, ok := m.Find(kind, id)
	if !ok {
		return "", false
	}
	for i := range p.Declarations {
		if d := &p.Declarations[i]; d.Identifier == id && d.Kind == kind {
			return item.ServerToken, d.ServerToken == item.ServerToken
		}
	}
	return "", false
}

// reportedOf is what a Mac reports of the declarations in its manifest, in the order reported; of two entries that are alike
// the later counts. A Mac may report an identifier under several tokens: what it says of one that it was not served concerns
// nothing that is asked.
func reportedOf(m *declarations.Manifest, s status.Merged) []status.DeclarationStatus {
	out := make([]status.DeclarationStatus, 0, len(m.Items))
	for kind, e := range s.Declared() {
		i := slices.IndexFunc(m.Items, func(item declarations.Item) bool {
			return item.ServerToken == string(e.Token) && item.Identifier == string(e.Identifier) && string(item.Kind) == kind
		})
		if i < 0 {
			continue
		}
		item := &m.Items[i]
		d := status.DeclarationStatus{
			Kind: kind, Identifier: item.Identifier, ServerToken: item.ServerToken, Active: e.Active, Valid: e.Valid, Reasons: e.Reasons(),
		}
		if before := find(out, item.Kind, item.Identifier, item.ServerToken); before != nil {
			*before = d
			continue
		}
		out = append(out, d)
	}
	return out
}

// find is what is reported of one identifier under one token.
func find(reported []status.DeclarationStatus, kind declarations.Kind, id, token string) *status.DeclarationStatus {
	for i := range reported {
		if d := &reported[i]; d.Identifier == id && d.ServerToken == token && d.Kind == string(kind) {
			return d
		}
	}
	return nil
}

// namesAnother tells whether the pending version is another one than the target. A Background Security Improvement is told by its
// build or its letter; an OS release by its version, whatever the build and letter that come with it.
func namesAnother(version, build string, target *release.Release) bool {
	if target.Kind == release.KindBSI && build != "" {
		return build != target.Build
	}
	number, letter, _ := strings.Cut(strings.TrimSpace(version), "(")
	if number = strings.TrimSpace(number); number == "" {
		return false // nothing is pending
	}
	v, err := release.ParseVersion(number)
	if err != nil {
		return false // it names none
	}
	if v.Compare(target.Version) != 0 {
		return true
	}
	return target.Kind == release.KindBSI && letter != "" && release.NormalLetter(letter) != target.Letter
}
