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

// Merge is what is known after the report (rules 8). An item's value is replaced whole, with null deleted. Arrays
// whose entries are objects with an identifier are merged by it, in the order of their first appearance, and an entry
// with "_removed": true deletes; an empty array is an empty list. A full report replaces all items, and their arrays.
// Of items that nobody knows at most 256 are kept.
func Merge(old Merged, r *Report) Merged {
	if r.Full {
		old = nil
	}
	out := make(Merged, max(len(r.Items), len(old)))
	maps.Copy(out, old)
	var strange []string // items that nobody knows: what becomes of them depends on their order
	for name, v := range r.Items {
		switch {
		case known[name] == nil:
			strange = append(strange, name)
		case isNull(v):
			delete(out, name)
		default:
			out[name] = mergeValue(out[name], v)
		}
	}
	if len(strange) > 0 {
		slices.Sort(strange)
		out.mergeStrange(strange, r)
	}
	return out
}

// mergeStrange merges the items of a report that nobody knows, which are given sorted by name.
func (m Merged) mergeStrange(names []string, r *Report) {
	unknown := 0
	for name := range m {
		if known[name] == nil {
			unknown++
		}
	}
	for _, name := range names {
		v := r.Items[name]
		before, had := m[name]
		n := len(m)
		supersede(m, name)
		unknown -= n - len(m)
		if had {
			unknown--
		}
		if isNull(v) || unknown >= maxUnknown {
			delete(m, name)
			continue
		}
		unknown++
		m[name] = mergeValue(before, v)
	}
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
	var room [32]string // for as many items as Macs report
	names, size := room[:0], 2
	for name, v := range m {
		names = append(names, name)
		size += len(name) + len(v) + 4
	}
	slices.Sort(names)
	out := append(make([]byte, 0, size), '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendQuoted(out, name)
		out = append(out, ':')
		out = append(out, m[name]...)
	}
	return append(out, '}')
}

// MarshalJSON writes what Encode does.
func (m Merged) MarshalJSON() ([]byte, error) { return m.Encode(), nil }

// DecodeMerged reads what Encode wrote. Nothing at all is an empty status; items without a value are left out.
// It is as strict as encoding/json: what a damaged value would become has to be an error, here where it is read.
func DecodeMerged(b []byte) (Merged, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return Merged{}, nil
	}
	m := make(Merged, 24)
	s := scanner{in: b}
	if b[0] != '{' || s.object(0, 1, m.put) != len(b) {
		return nil, fmt.Errorf("merged status is not a JSON object")
	}
	return m, nil
}

// put takes an item that has a value.
func (m Merged) put(name, v []byte) {
	if isNull(v) {
		return
	}
	if sh := known[string(name)]; sh != nil {
		m[sh.name] = v
		return
	}
	m[string(name)] = v
}
