package inventory

import (
	"math/bits"
	"time"

	"plimsoll/status/compliance"
)

// Tally counts Macs by state, flag and version.
type Tally struct {
	Devices  int
	states   [16]int // by the index into compliance.States
	flags    [16]int // by bit
	versions map[uint32]int
	names    []string // of the versions
}

func (t *Tally) add(state int, flags compliance.Flags, version uint32) {
	t.Devices++
	t.states[state]++
	for flags != 0 {
		t.flags[bits.TrailingZeros16(uint16(flags))]++
		flags &= flags - 1
	}
	if t.versions == nil {
		t.versions = map[uint32]int{}
	}
	t.versions[version]++
}

func (t *Tally) plus(o *Tally) {
	t.Devices += o.Devices
	for i := range o.states {
		t.states[i] += o.states[i]
		t.flags[i] += o.flags[i]
	}
	for v, n := range o.versions {
		t.versions[v] += n
	}
}

// States are the counts by state, every state with its count.
func (t *Tally) States() map[string]int {
	m := make(map[string]int, len(compliance.States))
	for i, s := range compliance.States {
		m[string(s)] = t.states[i]
	}
	return m
}

// Flags are the counts by flag, every flag with its count.
func (t *Tally) Flags() map[string]int {
	m := make(map[string]int, len(compliance.FlagNames))
	for i, name := range compliance.FlagNames {
		m[name] = t.flags[i]
	}
	return m
}

// Versions are the counts by version, those that some Mac has.
func (t *Tally) Versions() map[string]int {
	m := make(map[string]int, len(t.versions))
	for v, n := range t.versions {
		m[t.names[v]] = n
	}
	return m
}

// Count counts the enrolled Macs, and no other devices, in all and by policy ("" for those that none governs). stale: the
// catalogue is older than it should be.
func (x *Index) Count(now time.Time, stale bool) (all *Tally, byPolicy map[string]*Tally) {
	unix := now.Unix()
	policies := map[uint32]*Tally{}
	names := x.scan(func(r *row) {
		if !r.enrolled || r.foreign {
			return
		}
		t := policies[r.policy]
		if t == nil {
			t = &Tally{}
			policies[r.policy] = t
		}
		t.add(r.moments.State(unix), r.moments.Flags(unix, stale), r.version)
	})
	all, byPolicy = &Tally{versions: map[uint32]int{}, names: names}, make(map[string]*Tally, len(policies))
	for n, t := range policies {
		t.names = names
		byPolicy[names[n]] = t
		all.plus(t)
	}
	return all, byPolicy
}

// Identities counts the identities of devices that have not expired, by the CA that issued them; "" are enrolled devices of which
// it is not known.
func (x *Index) Identities(now time.Time) map[string]int {
	numbers := map[uint32]int{}
	unix := now.Unix()
	names := x.scan(func(r *row) {
		if (r.ca != 0 || r.enrolled) && (r.identityEnds == 0 || r.identityEnds > unix) {
			numbers[r.ca]++
		}
	})
	counts := make(map[string]int, len(numbers))
	for n, count := range numbers {
		counts[names[n]] = count
	}
	return counts
}

// Topic is how many enrolled devices have a push topic, and the id of one of them.
type Topic struct {
	Devices int
	Example string
}

// Topics counts the enrolled devices by the push topic that they enrolled with; "" are those of which it is not known.
func (x *Index) Topics() map[string]Topic {
	numbers := map[uint32]Topic{}
	names := x.scan(func(r *row) {
		if r.enrolled {
			numbers[r.topic] = Topic{numbers[r.topic].Devices + 1, r.id}
		}
	})
	topics := make(map[string]Topic, len(numbers))
	for n, t := range numbers {
		topics[names[n]] = t
	}
	return topics
}

// Deadlines counts the enrolled Macs that were notified of what they have not fetched yet, and for each number of days
// those whose deadline lies within as many days from now.
func (x *Index) Deadlines(now time.Time, days ...int) (outstanding int, within map[int]int) {
	within = make(map[int]int, len(days))
	for _, d := range days {
		within[d] = 0
	}
	unix := now.Unix()
	x.scan(func(r *row) {
		if !r.enrolled {
			return
		}
		if r.tell != 0 {
			outstanding++
		}
		overdue := r.moments.OverdueAt()
		if overdue == 0 || unix >= overdue {
			return
		}
		for _, d := range days {
			if overdue-unix <= int64(d)*24*60*60 {
				within[d]++
			}
		}
	})
	return outstanding, within
}
