package policy

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr/vm"

	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Group is a named set of serial numbers or enrollment ids.
type Group struct {
	Name    string   `json:"name"`
	Devices []string `json:"devices"` // sorted, without duplicates
}

// Input is everything that admins and Apple said: what is common to all Macs.
type Input struct {
	Revision uint64 // of the book in the database
	Policies []Stored
	Groups   []Group
	Catalog  *release.Catalog
	Holds    []release.Hold
	Pause    *release.Pause
	// Freezes, Openings and Halts are those of rules 11 and 13.
	Freezes  []Freeze
	Openings []Opening
	Halts    []Halt
	// Companion: another server is the Macs' MDM. What is no Mac is told nothing then: its declarations are not ours (rules 16).
	Companion bool
	// Zone is the server's (--time-zone), in which deadlines that are told by command are read when the policy has none (rules 14);
	// nil: UTC.
	Zone *time.Location
}

// Book is an Input made ready for the question which policy governs a Mac. It is immutable and safe for concurrent use.
type Book struct {
	Input
	Index *release.Index
	Rules []*Compiled // highest priority first

	freezes  []freeze
	groups   []string
	members  map[string][]int // the groups (by index) of a serial number or enrollment id
	machines *sync.Pool
}

// Compiled is a stored policy made ready.
type Compiled struct {
	Rule
	*Stored
	// LeftOut tells which parts of the policy do not resolve any more.
	LeftOut []Reason
	// WhenError is why the expression does not compile any more; empty when it does.
	WhenError string

	everyGroup bool // no groups are named
	groups     []int
	exclude    []int
	when       *vm.Program // nil: no expression
}

// Compile makes an Input ready. Of a stored policy that does not resolve any more, the broken part is left out, and
// Compiled.LeftOut says so; the error is for an Input without a catalogue only.
func Compile(in Input) (*Book, error) {
	if in.Catalog == nil {
		return nil, errors.New("policies cannot be compiled without a catalogue")
	}
	b := &Book{Input: in, Index: release.NewIndex(in.Catalog)}
	b.machines = &sync.Pool{New: func() any { return &vm.VM{MemoryBudget: maxWhenMemory} }}
	b.compileGroups()
	b.compileFreezes()
	for i := range in.Policies {
		b.Rules = append(b.Rules, b.compileRule(&in.Policies[i]))
	}
	slices.SortStableFunc(b.Rules, func(x, y *Compiled) int {
		return cmp.Or(cmp.Compare(y.Priority, x.Priority), cmp.Compare(x.Name, y.Name))
	})
	return b, nil
}

// Member is a serial number or an enrollment id as members of groups are compared: lists come from spreadsheets, with spaces
// around them and
// in either case.
func Member(idOrSerial string) string { return strings.ToUpper(strings.TrimSpace(idOrSerial)) }

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
			device = Member(device)
			if list := b.members[device]; !slices.Contains(list, n) {
				b.members[device] = append(list, n)
			}
		}
	}
}

func (b *Book) compileRule(s *Stored) *Compiled {
	r := &Compiled{Stored: s, everyGroup: len(s.Assign.Groups) == 0}
	var odd []string
	r.Rule, odd = s.rule()
	for _, text := range odd {
		r.LeftOut = append(r.LeftOut, PartLeftOut(s.Name, text))
	}
	for i := range r.Rings {
		r.Rings[i].groups = b.groupIndexes(s.Rings[i].Groups)
	}
	r.groups, r.exclude = b.groupIndexes(s.Assign.Groups), b.groupIndexes(s.Assign.ExcludeGroups)
	if s.Assign.When != "" {
		program, err := compileWhen(s.Assign.When)
		if err != nil {
			r.WhenError = err.Error()
		}
		r.when = program
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
	byID, bySerial := b.members[Member(f.ID)], b.members[Member(f.Serial)]
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
