package policy

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/expr-lang/expr/vm"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// compiled is the part of a Book that Compile works out once per revision.
type compiled struct {
	rules   []*rule // highest priority first
	groups  []string
	members map[string][]int // the groups (by index) of a serial number or enrollment id
	tables  map[string]*table
	// enforcing is the activation of each lane's enforcement; the others are whole pairs of configuration and activation.
	osActivation, bsiActivation declarations.Declaration
	subscriptions               *sync.Map // capability mask -> *pair
	machines                    *sync.Pool
}

// pair is a configuration with its activation.
type pair struct{ configuration, activation declarations.Declaration }

func pairOf(configuration declarations.Declaration) *pair {
	return &pair{configuration, declarations.Activation(configuration)}
}

// rule is a stored policy made ready.
type rule struct {
	Rule
	stored         *Stored
	everyGroup     bool // no groups are named
	groups         []int
	exclude        []int
	when           *vm.Program // nil: no expression
	whenError      string      // the expression does not compile any more
	settings       *pair
	settingsNoBeta *pair // nil when nothing but Beta is set
	hasBeta        bool
	leftOut        []Reason
}

// entry is a release with the holds on it.
type entry struct {
	r     *release.Release
	major int
	hold  *release.Hold // of those that cover it, the one that lasts longest; nil for none
}

func (e *entry) held(now time.Time) bool { return e.hold != nil && e.hold.Active(now) }

// candidate is a release on a board.
type candidate struct {
	*entry
	// superseded: Apple offers a newer posted build of this version for the board, and that one counts (rules.md 3).
	superseded bool
}

// table is what there is for a board, newest first.
type table struct {
	os, bsi  []candidate
	maxMajor int
}

// Compile makes an Input ready for planning. Of a stored policy that does not resolve any more, the broken part is left
// out and the plans say so; the error is for an Input without a catalogue only.
func Compile(in Input) (*Book, error) {
	if in.Catalog == nil {
		return nil, errors.New("policies cannot be compiled without a catalogue")
	}
	b := &Book{Input: in, Index: release.NewIndex(in.Catalog)}
	b.machines = &sync.Pool{New: func() any { return &vm.VM{MemoryBudget: maxWhenMemory} }}
	b.subscriptions = &sync.Map{}
	b.osActivation = declarations.Activation(declarations.Declaration{Identifier: declarations.IDOSUpdate})
	b.bsiActivation = declarations.Activation(declarations.Declaration{Identifier: declarations.IDBSI})
	b.compileGroups()
	b.compileTables()
	for i := range in.Policies {
		b.rules = append(b.rules, b.compileRule(&in.Policies[i]))
	}
	slices.SortStableFunc(b.rules, func(x, y *rule) int {
		return cmp.Or(cmp.Compare(y.stored.Priority, x.stored.Priority), cmp.Compare(x.stored.Name, y.stored.Name))
	})
	return b, nil
}

func (b *Book) compileGroups() {
	for i := range b.Groups {
		b.groups = append(b.groups, b.Groups[i].Name)
	}
	slices.Sort(b.groups)
	b.groups = slices.Compact(b.groups)
	b.members = map[string][]int{}
	for i := range b.Groups {
		n, _ := slices.BinarySearch(b.groups, b.Groups[i].Name)
		for _, device := range b.Groups[i].Devices {
			if list := b.members[device]; !slices.Contains(list, n) {
				b.members[device] = append(list, n)
			}
		}
	}
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
		t := &table{maxMajor: board.MaxMajor, os: make([]candidate, len(board.OS)), bsi: make([]candidate, len(board.BSI))}
		var counts *release.Release // the build that counts of the version at hand
		for i, r := range board.OS {
			if counts != nil && counts.Version.Compare(r.Version) != 0 {
				counts = nil
			}
			t.os[i] = candidate{entries[r], counts != nil}
			if r.Available && counts == nil {
				counts = r
			}
		}
		for i, r := range board.BSI {
			t.bsi[i] = candidate{entry: entries[r]}
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

func (b *Book) compileRule(s *Stored) *rule {
	r := &rule{stored: s, everyGroup: len(s.Assign.Groups) == 0}
	var odd []string
	r.Rule, odd = s.Policy.rule()
	for _, text := range odd {
		r.leftOut = append(r.leftOut, reason(CodePolicyPart, map[string]any{"policy": s.Name, "part": text}))
	}
	r.groups, r.exclude = b.groupIndexes(s.Assign.Groups), b.groupIndexes(s.Assign.ExcludeGroups)
	if s.Assign.When != "" {
		program, err := compileWhen(s.Assign.When)
		if err != nil {
			r.whenError = err.Error()
		}
		r.when = program
	}
	if s.Settings == nil {
		return r
	}
	full, err := declarations.SettingsDeclaration(s.Settings)
	if err != nil {
		r.leftOut = append(r.leftOut, reason(CodePolicyPart, map[string]any{"policy": s.Name, "part": err.Error()}))
		return r
	}
	r.settings, r.settingsNoBeta = pairOf(full), pairOf(full)
	if s.Settings.Beta == nil {
		return r
	}
	r.hasBeta, r.settingsNoBeta = true, nil
	if rest := s.Settings.WithoutBeta(); rest != nil {
		if d, err := declarations.SettingsDeclaration(rest); err == nil {
			r.settingsNoBeta = pairOf(d)
		}
	}
	return r
}

func (b *Book) groupIndexes(names []string) []int {
	var list []int
	for _, name := range names {
		if n, ok := slices.BinarySearch(b.groups, name); ok {
			list = append(list, n)
		}
	}
	return list
}

// groupsOf lists the indexes of the groups that a Mac is in, sorted.
func (b *Book) groupsOf(f *status.Facts) []int {
	byID, bySerial := b.members[f.ID], b.members[f.Serial]
	if f.Serial == "" || len(bySerial) == 0 {
		return byID
	}
	if f.ID == "" || len(byID) == 0 {
		return bySerial
	}
	both := slices.Concat(byID, bySerial)
	slices.Sort(both)
	return slices.Compact(both)
}

// GroupsOf names the groups that a Mac is in, sorted.
func (b *Book) GroupsOf(f *status.Facts) []string {
	list := b.groupsOf(f)
	names := make([]string, len(list))
	for i, n := range list {
		names[i] = b.groups[n]
	}
	slices.Sort(names)
	return names
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
