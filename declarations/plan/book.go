package plan

import (
	"sync"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Book is what admins and Apple said, made ready for planning. It is immutable and safe for concurrent use.
type Book struct {
	*policy.Book
	tables   map[string]*table
	settings map[*policy.Compiled]*settings
	rollouts map[ringKey]*rollout
	// The activation of each lane's enforcement.
	osActivation, bsiActivation declarations.Declaration
	subscriptions               *sync.Map // capability mask -> *pair
}

// pair is a configuration with its activation.
type pair struct{ configuration, activation declarations.Declaration }

func pairOf(configuration declarations.Declaration) *pair {
	return &pair{configuration, declarations.Activation(configuration)}
}

// settings are those of one policy as declarations.
type settings struct {
	full, noBeta *pair // nil when there is nothing to declare
	hasBeta      bool
	leftOut      []policy.Reason
}

// entry is a release with the holds on it.
type entry struct {
	r     *release.Release
	major int
	hold  *release.Hold // of those that cover it, the one that lasts longest; nil for none
}

func (e *entry) held(now time.Time) bool { return e.hold != nil && e.hold.Active(now) }

// candidate is a release on a board.
type candidate struct{ *entry }

// table is what there is for a board, newest first.
type table struct {
	os, bsi []candidate
}

// Compile makes an Input ready for planning. Of a stored policy that does not resolve any more, the broken part is left
// out and the plans say so; the error is for an Input without a catalogue only.
func Compile(in policy.Input) (*Book, error) {
	governed, err := policy.Compile(in)
	if err != nil {
		return nil, err
	}
	b := &Book{Book: governed, subscriptions: &sync.Map{}, settings: make(map[*policy.Compiled]*settings, len(governed.Rules))}
	b.osActivation = declarations.Activation(declarations.Declaration{Identifier: declarations.IDOSUpdate})
	b.bsiActivation = declarations.Activation(declarations.Declaration{Identifier: declarations.IDBSI})
	b.compileTables()
	b.compileRollouts()
	for _, r := range b.Rules {
		if r.Settings != nil {
			b.settings[r] = settingsOf(r)
		}
	}
	return b, nil
}

// compileTables arranges what there is for each board, with the holds.
func (b *Book) compileTables() {
	entries := make(map[*release.Release]*entry, len(b.Index.All()))
	boards := map[string]bool{}
	for _, r := range b.Index.All() {
		e := &entry{r: r, major: r.Version.Major()}
		for i := range b.Holds {
			if h := &b.Holds[i]; h.Covers(b.Index, r) && outlasts(h, e.hold) {
				e.hold = h
			}
		}
		entries[r] = e
		for _, d := range r.Devices {
			boards[d] = true
		}
	}
	b.tables = make(map[string]*table, len(boards))
	for id := range boards {
		board := b.Index.Board(id)
		t := &table{os: make([]candidate, len(board.OS)), bsi: make([]candidate, len(board.BSI))}
		for i, r := range board.OS {
			t.os[i] = candidate{entries[r]}
		}
		for i, r := range board.BSI {
			t.bsi[i] = candidate{entries[r]}
		}
		b.tables[id] = t
	}
}

// outlasts tells whether hold h lasts longer than the other.
func outlasts(h, other *release.Hold) bool {
	if other == nil {
		return true
	}
	return !other.Until.IsZero() && (h.Until.IsZero() || h.Until.After(other.Until))
}

func settingsOf(r *policy.Compiled) *settings {
	full, err := declarations.SettingsDeclaration(r.Settings)
	if err != nil {
		return &settings{leftOut: []policy.Reason{policy.PartLeftOut(r.Name, err.Error())}}
	}
	s := &settings{full: pairOf(full)}
	if s.noBeta = s.full; r.Settings.Beta == nil {
		return s
	}
	s.hasBeta, s.noBeta = true, nil
	if rest := r.Settings.WithoutBeta(); rest != nil {
		if d, err := declarations.SettingsDeclaration(rest); err == nil {
			s.noBeta = pairOf(d)
		}
	}
	return s
}

// subscription is the pair that subscribes to what a Mac supports.
func (b *Book) subscription(c status.Capabilities) *pair {
	mask := uint32(1)<<len(status.SubscribedItems) - 1
	if c.Known && c.Items&mask != 0 { // a Mac that lists none told us nothing
		mask &= c.Items
	}
	if p, ok := b.subscriptions.Load(mask); ok {
		return p.(*pair)
	}
	items := make([]string, 0, len(status.SubscribedItems))
	for i, item := range status.SubscribedItems {
		if mask&(1<<i) != 0 {
			items = append(items, item)
		}
	}
	p, _ := b.subscriptions.LoadOrStore(mask, pairOf(declarations.Subscriptions(items)))
	return p.(*pair)
}

// earlier is the earlier of two instants, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
