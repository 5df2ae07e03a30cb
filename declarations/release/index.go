package release

import (
	"cmp"
	"slices"
)

// NewIndex arranges a catalogue for questions. It keeps copies, so c may be used on, but the
// device lists are shared: nobody writes to those.
func NewIndex(c *Catalog) *Index {
	x := &Index{
		boards:   map[string]*Board{},
		builds:   make(map[string]*Release, len(c.Releases)),
		versions: map[Version][]*Release{},
		all:      make([]*Release, len(c.Releases)),
	}
	own := slices.Clone(c.Releases)
	slices.SortStableFunc(own, compareReleases)
	majors := map[int]bool{}
	for i := range own {
		r := &own[i]
		x.all[i] = r
		x.builds[r.Build] = r
		if r.Kind == KindOS {
			k := r.Version.key()
			x.versions[k] = append(x.versions[k], r)
			if x.newest.Compare(r.Version) < 0 {
				x.newest = r.Version
			}
			if r.Available {
				majors[r.Version.Major()] = true
			}
		}
		for _, d := range r.Devices {
			x.board(d).add(r)
		}
	}
	for _, b := range x.boards {
		slices.SortFunc(b.OS, newerFirst)
		slices.SortFunc(b.BSI, newerFirst)
	}
	for m := range majors {
		x.majors = append(x.majors, m)
	}
	slices.Sort(x.majors)
	return x
}

func (x *Index) board(id string) *Board {
	b := x.boards[id]
	if b == nil {
		b = &Board{}
		x.boards[id] = b
	}
	return b
}

func (b *Board) add(r *Release) {
	if r.Kind == KindBSI {
		b.BSI = append(b.BSI, r)
		return
	}
	b.OS = append(b.OS, r)
	if r.Available {
		b.MaxMajor = max(b.MaxMajor, r.Version.Major())
	}
}

// compareReleases is the order of a catalogue: by version, letter, build.
func compareReleases(a, b Release) int {
	return cmp.Or(a.Version.Compare(b.Version), cmp.Compare(a.Letter, b.Letter), cmp.Compare(a.Build, b.Build))
}

// newerFirst is the order of a board: newest version and letter first, then newest posted;
// the build breaks a tie, so that every replica has the same order.
func newerFirst(a, b *Release) int {
	return cmp.Or(b.Version.Compare(a.Version), cmp.Compare(b.Letter, a.Letter),
		cmp.Compare(b.Posted, a.Posted), cmp.Compare(b.Build, a.Build))
}

// Board is what there is for a board id, compared exactly; nil when the catalogue does not know the board.
// Withdrawn releases are among it (Available is false): a missed release counts whether or not
// Apple still offers it (rules 6.3).
func (x *Index) Board(board string) *Board { return x.boards[board] }

// Build is the release with that build, of either kind; nil when the catalogue does not know it.
func (x *Index) Build(build string) *Release { return x.builds[build] }

// Version lists the OS builds of a version, compared number by number, in catalogue order.
func (x *Index) Version(v Version) []*Release { return x.versions[v.key()] }

// All lists every release in catalogue order: by version, letter, build.
func (x *Index) All() []*Release { return x.all }

// Majors lists the major versions of which Apple offers a release now, held ones included, lowest first.
func (x *Index) Majors() []int { return x.majors }

// Knows tells whether the catalogue has this build for this version, whatever its kind.
func (x *Index) Knows(v Version, build string) bool {
	r := x.builds[build]
	return r != nil && r.Version.Compare(v) == 0
}

// Prerelease tells whether a Mac with this version and build runs something that Apple has not released:
// a build that the catalogue does not know for a version that it does know, or a version above everything
// known. Of older versions that the catalogue lacks nothing can be said, and the answer is false.
func (x *Index) Prerelease(v Version, build string) bool {
	if v == "" || build == "" || x.newest == "" || x.Knows(v, build) {
		return false
	}
	return len(x.Version(v)) > 0 || v.Compare(x.newest) > 0
}
