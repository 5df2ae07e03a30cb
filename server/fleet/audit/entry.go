// Package audit keeps who changed what: one chain of entries, each with the hash of the one before.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"plimsoll/declarations"
	"plimsoll/server/fleet/answer"
)

// Entry is an entry of the chain, as the API gives it (docs/api.md 5.2).
type Entry struct {
	N         uint64    `json:"n"` // from 1 on, without gaps
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"` // token:NAME, admin-token, user:EMAIL, mac:ID, gate or program
	Via       string    `json:"via"`
	Address   string    `json:"address"` // of the connection; empty when there is none
	RequestID string    `json:"request_id"`
	Action    string    `json:"action"` // such as policy.put
	Object    string    `json:"object"` // such as policy/engineering
	Reason    string    `json:"reason"`
	// Failed is the number of the entry whose act was announced and then failed.
	Failed  uint64   `json:"failed,omitempty"`
	Changes []Change `json:"changes"`
	// Truncated: the changes are larger than 32 KiB, and only the first ones stand here. Then FromSHA256 and ToSHA256 are the
	// hashes of the canonical JSON of both states, empty for one that was not.
	Truncated  bool   `json:"truncated,omitempty"`
	FromSHA256 string `json:"from_sha256,omitempty"`
	ToSHA256   string `json:"to_sha256,omitempty"`
	Previous   string `json:"previous"` // SHA-256 of the canonical JSON of the entry before, hex; 64 zeros in the first
}

// Change is a part of an object that changed. Of a creation the path is empty and From null, of a deletion To.
type Change struct {
	Path    string   `json:"path"` // JSON Pointer
	From    any      `json:"from"` // a fraction is a string
	To      any      `json:"to"`
	Added   []string `json:"added,omitempty"` // members of a group
	Removed []string `json:"removed,omitempty"`
}

// Act is what somebody does, for the audit. It never holds a secret.
type Act struct {
	Action, Object, Reason string
	// Before and After are the object's states; nil for one that was not.
	Before, After any
	// Members are the names of lists of which only what was added and removed is told.
	Members []string
}

// maxChanges bounds the changes of an entry, in bytes of JSON.
const maxChanges = 32 << 10

// newEntry makes an entry without number.
func newEntry(o answer.Origin, act Act, at time.Time) (Entry, error) {
	e := Entry{
		At: at.UTC().Truncate(time.Second), Actor: o.Actor, Via: o.Via, Address: o.Address, RequestID: o.RequestID,
		Action: act.Action, Object: act.Object, Reason: act.Reason, Changes: []Change{},
	}
	before, err := plain(act.Before)
	if err != nil {
		return e, err
	}
	after, err := plain(act.After)
	if err != nil {
		return e, err
	}
	if e.Changes, err = Diff(before, after, act.Members...), nil; tooLarge(e.Changes) {
		e.Truncated = true
		for tooLarge(e.Changes) {
			e.Changes = e.Changes[:len(e.Changes)/2]
		}
		if e.FromSHA256, err = sumOf(before); err != nil {
			return e, err
		}
		e.ToSHA256, err = sumOf(after)
	}
	return e, err
}

// Differences are the changes of an act, whatever their size.
func Differences(act Act) ([]Change, error) {
	before, err := plain(act.Before)
	if err != nil {
		return nil, err
	}
	after, err := plain(act.After)
	if err != nil {
		return nil, err
	}
	return Diff(before, after, act.Members...), nil
}

// Nothing tells whether an act leaves the object as it is.
func Nothing(act Act) bool {
	changes, err := Differences(act)
	return err == nil && len(changes) == 0
}

func tooLarge(changes []Change) bool {
	b, err := json.Marshal(changes)
	return err == nil && len(b) > maxChanges && len(changes) > 0
}

func sumOf(state any) (string, error) {
	if state == nil {
		return "", nil
	}
	b, err := declarations.Canonical(state)
	if err != nil {
		return "", fmt.Errorf("hash a state for the audit: %w", err)
	}
	return Sum(b), nil
}

// Sum is the hash of the chain: SHA-256, hex.
func Sum(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// plain is a value as JSON has it, with every number that canonical JSON does not take as a string.
func plain(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a state for the audit: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var out any
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("encode a state for the audit: %w", err)
	}
	return exact(out), nil
}

func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		const limit = 1 << 53
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && -limit < n && n < limit {
			return n
		}
		return string(v)
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	}
	return v
}

// Diff lists what differs between two states, as encoding/json decodes them: objects member by member in the order of their
// names, all else whole. Of the lists of words in members only what was added and removed is told.
func Diff(before, after any, members ...string) []Change {
	changes := []Change{}
	diff("", before, after, members, &changes)
	return changes
}

func diff(path string, before, after any, members []string, into *[]Change) {
	a, okA := before.(map[string]any)
	b, okB := after.(map[string]any)
	if !okA || !okB {
		if !equal(before, after) {
			*into = append(*into, Change{Path: path, From: before, To: after})
		}
		return
	}
	names := maps.Clone(a)
	maps.Copy(names, b)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		if !slices.Contains(members, name) {
			diff(at, a[name], b[name], members, into)
			continue
		}
		c := Change{Path: at, Added: without(words(b[name]), words(a[name])), Removed: without(words(a[name]), words(b[name]))}
		if len(c.Added)+len(c.Removed) > 0 {
			*into = append(*into, c)
		}
	}
}

func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func words(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, w := range list {
		if s, ok := w.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// without is what of list is not among others.
func without(list, others []string) (rest []string) {
	known := make(map[string]bool, len(others))
	for _, o := range others {
		known[o] = true
	}
	for _, w := range list {
		if !known[w] {
			rest = append(rest, w)
		}
	}
	return rest
}
