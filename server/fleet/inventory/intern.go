package inventory

import "strings"

// enoughNames is how many names there are at least before those that no row has are dropped.
const enoughNames = 1000

// number is the number that stands for a name in rows: a policy's, a version, a CA's, a push topic's.
func (x *Index) number(name string) uint32 {
	n, ok := x.numbers[name]
	if !ok {
		n = uint32(len(x.names))
		x.names = append(x.names, name)
		x.numbers[name] = n
	}
	return n
}

// renumber drops the names that no row has any more: what Macs say is not trusted, and every version ever said would stay.
func (x *Index) renumber() {
	old := x.names
	x.names, x.numbers = nil, map[string]uint32{}
	x.number("")
	for i := range x.rows {
		if r := &x.rows[i]; r.data != nil {
			r.policy, r.version = x.number(old[r.policy]), x.number(old[r.version])
			r.ca, r.topic = x.number(old[r.ca]), x.number(old[r.topic])
		}
	}
	x.enough = max(enoughNames, 2*len(x.names))
}

// shareLimit bounds how many strings are shared: what Macs say is not trusted.
const shareLimit = 10000

// share replaces a string by the copy that many Macs share.
func (x *Index) share(s *string) {
	if *s == "" {
		return
	}
	kept, ok := x.shared[*s]
	if !ok && len(x.shared) < shareLimit {
		kept = strings.Clone(*s)
		x.shared[kept] = kept
		ok = true
	}
	if ok {
		*s = kept
	}
}
