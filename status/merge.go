package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Merged is what a Mac has reported so far: the value of each status item by its name. It is a value: functions of
// this package never change one that they are given, and the results may share its bytes.
type Merged map[string]json.RawMessage

// Merge is what is known after the report (rules.md 8). An item's value is replaced whole, with null deleted. Arrays
// whose entries are objects with an identifier are merged by it, in the order of their first appearance, and an entry
// with "_removed": true deletes; an empty array is an empty list. A full report replaces all items, and their arrays.
// Of items that nobody knows at most 256 are kept.
func Merge(old Merged, r *Report) Merged {
	out := maps.Clone(old)
	if r.Full || out == nil {
		out = make(Merged, len(r.Items))
	}
	unknown := 0
	for name := range out {
		if known[name] == nil {
			unknown++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Items)) {
		v := r.Items[name]
		before, had := out[name]
		if known[name] == nil {
			n := len(out)
			supersede(out, name)
			unknown -= n - len(out)
			if had {
				unknown--
			}
			if isNull(v) || unknown >= maxUnknown {
				delete(out, name)
				continue
			}
			unknown++
		}
		if isNull(v) {
			delete(out, name)
			continue
		}
		out[name] = mergeValue(before, v)
	}
	return out
}

// mergeValue is the new value of an item.
func mergeValue(before, v json.RawMessage) json.RawMessage {
	entries, ok := entriesOf(v)
	if !ok {
		return v
	}
	earlier, _ := entriesOf(before)
	merged := fold(earlier, entries)
	if len(merged) > maxItem {
		// A list that grows without end is not a list that a Mac keeps: what it says now has to do.
		return fold(nil, entries)
	}
	return merged
}

// entry is an element of an array that is merged by identifier.
type entry struct {
	id      string
	removed bool
	value   []byte
}

// entriesOf takes a list apart. It is not ok when there is nothing to tell apart: no array, an empty one, or an array
// with elements other than objects that have an identifier.
func entriesOf(v []byte) (list []entry, ok bool) {
	if len(v) == 0 || v[0] != '[' {
		return nil, false
	}
	for e := range elements(v) {
		if e[0] != '{' {
			return nil, false
		}
		next := entry{value: e}
		for k, m := range members(e) {
			switch string(k) {
			case "identifier":
				next.id = text(m)
			case "_removed":
				next.removed = string(m) == "true"
			}
		}
		if next.id == "" {
			return nil, false
		}
		list = append(list, next)
	}
	return list, len(list) > 0
}

// fold applies the entries to the list, one after the other.
func fold(list, entries []entry) json.RawMessage {
	list = slices.Clone(list)
	at := make(map[string]int, len(list)+len(entries))
	for i, e := range list {
		at[e.id] = i
	}
	for _, e := range entries {
		i, ok := at[e.id]
		switch {
		case e.removed && ok:
			list[i].value = nil
			delete(at, e.id)
		case e.removed:
		case ok:
			list[i].value = e.value
		default:
			at[e.id] = len(list)
			list = append(list, e)
		}
	}
	out := []byte{'['}
	for _, e := range list {
		if e.value == nil {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, e.value...)
	}
	return append(out, ']')
}

// Encode is the form in which the merged status is stored and shown: one JSON object, items sorted by name. The values
// are trusted to be JSON, as those of Merge and DecodeMerged are.
func (m Merged) Encode() []byte {
	size := 2
	for name, v := range m {
		size += len(name) + len(v) + 4
	}
	out := append(make([]byte, 0, size), '{')
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendQuoted(out, []byte(name))
		out = append(out, ':')
		out = append(out, m[name]...)
	}
	return append(out, '}')
}

// MarshalJSON writes what Encode does.
func (m Merged) MarshalJSON() ([]byte, error) { return m.Encode(), nil }

// DecodeMerged reads what Encode wrote. Nothing at all is an empty status; items without a value are left out.
func DecodeMerged(b []byte) (Merged, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return Merged{}, nil
	}
	if b[0] != '{' || !json.Valid(b) {
		return nil, fmt.Errorf("merged status is not a JSON object")
	}
	m := make(Merged, 24)
	for name, v := range members(b) {
		if !isNull(v) {
			m[string(name)] = v
		}
	}
	return m, nil
}
