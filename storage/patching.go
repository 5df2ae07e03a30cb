package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/status/patching"
)

// Patching reads the Mac's course of versions; nil when none is kept yet.
func (m *Mac) Patching() (*patching.History, error) {
	b, err := m.r.Get(keyPatching)
	if err != nil || b == nil {
		return nil, err
	}
	return decodePatching(b)
}

func decodePatching(b []byte) (*patching.History, error) {
	h := &patching.History{}
	if err := json.Unmarshal(b, h); err != nil {
		return nil, fmt.Errorf("decode a course of versions: %w", err)
	}
	return h, nil
}

// SetPatching keeps the Mac's course of versions.
func (m *MacTx) SetPatching(h *patching.History) error { return setJSON(m.tx, keyPatching, h) }

// Patchings reads the courses of versions of many Macs in few round trips; nil where none is kept.
func (s *Store) Patchings(ctx context.Context, ids []string) ([]*patching.History, error) {
	partitions := make([]string, len(ids))
	for i, id := range ids {
		partitions[i] = MacPartition(id)
	}
	vals, err := s.db.Collect(ctx, partitions, keyPatching)
	if err != nil {
		return nil, err
	}
	all := make([]*patching.History, len(ids))
	var odd []error
	for i, v := range vals {
		if v == nil {
			continue
		}
		if all[i], err = decodePatching(v); err != nil {
			odd = append(odd, fmt.Errorf("%s: %w", ids[i], err))
		}
	}
	return all, errors.Join(odd...)
}

// AddLeft keeps the course of a Mac that is deleted under a random number: nothing in it tells which Mac it was.
func (s *Store) AddLeft(ctx context.Context, number string, h *patching.History) error {
	return s.db.Update(ctx, PatchingPartition, func(tx Tx) error { return setJSON(tx, leftKey(number), h) })
}

// Left calls fn with the courses of the deleted Macs.
func (s *Store) Left(ctx context.Context, fn func(patching.History)) error {
	var all []patching.History
	err := s.db.View(ctx, PatchingPartition, func(r Reader) error {
		all = nil
		return readAll(r, prefixLeft, &all)
	})
	if err != nil {
		return err
	}
	for _, h := range all {
		fn(h)
	}
	return nil
}

// PatchingState is how far the days are closed.
type PatchingState struct {
	// CompleteFrom is the day from which on the courses are complete.
	CompleteFrom release.Day `json:"from"`
	Closed       release.Day `json:"closed"` // the last closed day; 0: none
	// Trimmed is the day before which courses and closed days were deleted; 0: nothing was. Releases that were posted before it
	// are not counted any more.
	Trimmed release.Day `json:"trimmed,omitzero"`
}

// ClosedDay is one closed UTC day: for each scope the day under which its counts stand.
type ClosedDay struct {
	ClosedAt time.Time              `json:"at"`
	Scopes   map[string]release.Day `json:"scopes"`
}

// PatchingState reads how far the days are closed; the zero value: nothing was ever kept.
func (s *Store) PatchingState(ctx context.Context) (st PatchingState, err error) {
	err = s.db.View(ctx, PatchingPartition, func(r Reader) error {
		st = PatchingState{}
		_, err := getJSON(r, keyPatchingState, &st)
		return err
	})
	return st, err
}

// BeginPatching sets from when on the courses are complete, unless that is set already.
func (s *Store) BeginPatching(ctx context.Context, from release.Day) error {
	return s.db.Update(ctx, PatchingPartition, func(tx Tx) error {
		known, err := getJSON(tx, keyPatchingState, &PatchingState{})
		if err != nil || known {
			return err
		}
		return setJSON(tx, keyPatchingState, PatchingState{CompleteFrom: from})
	})
}

// CloseDay writes the counts of one day, each scope's only where it differs from the day before, in one commit. A day that is
// closed already is left as it is, and so is one that does not follow the last closed one.
func (s *Store) CloseDay(ctx context.Context, day release.Day, at time.Time, scopes map[string][]byte) error {
	return s.db.Update(ctx, PatchingPartition, func(tx Tx) error {
		var st PatchingState
		if _, err := getJSON(tx, keyPatchingState, &st); err != nil || st.Closed != 0 && day != st.Closed+1 {
			return err
		}
		var before ClosedDay
		if _, err := getJSON(tx, closedKey(st.Closed), &before); err != nil {
			return err
		}
		closed := ClosedDay{ClosedAt: at, Scopes: make(map[string]release.Day, len(scopes))}
		for scope, counts := range scopes {
			if stands, known := before.Scopes[scope]; known {
				old, err := tx.Get(countsKey(scope, stands))
				if err != nil {
					return err
				}
				if string(old) == string(counts) {
					closed.Scopes[scope] = stands
					continue
				}
			}
			tx.Set(countsKey(scope, day), counts)
			closed.Scopes[scope] = day
		}
		st.Closed = day
		if err := setJSON(tx, closedKey(day), closed); err != nil {
			return err
		}
		return setJSON(tx, keyPatchingState, st)
	})
}

// ClosedScopes reads the counts of all scopes as they stood on a closed day; nil when it is not closed, or not kept any more.
func (s *Store) ClosedScopes(ctx context.Context, day release.Day) (counts map[string][]byte, err error) {
	err = s.db.View(ctx, PatchingPartition, func(r Reader) error {
		counts = nil
		var d ClosedDay
		if closed, err := getJSON(r, closedKey(day), &d); err != nil || !closed {
			return err
		}
		scopes := slices.Sorted(maps.Keys(d.Scopes))
		keys := make([]string, len(scopes))
		for i, scope := range scopes {
			keys[i] = countsKey(scope, d.Scopes[scope])
		}
		vals, err := r.GetMany(keys...)
		if err != nil {
			return err
		}
		counts = make(map[string][]byte, len(scopes))
		for i, scope := range scopes {
			counts[scope] = vals[i]
		}
		return nil
	})
	return counts, err
}

// Closed reads the counts of a scope as they stood on a closed day. closed is false for a day that is not closed, or not kept
// any more; counts is nil for a scope that had none.
func (s *Store) Closed(ctx context.Context, day release.Day, scope string) (counts []byte, closed bool, err error) {
	err = s.db.View(ctx, PatchingPartition, func(r Reader) error {
		counts = nil
		var d ClosedDay
		var err error
		if closed, err = getJSON(r, closedKey(day), &d); err != nil || !closed {
			return err
		}
		stands, known := d.Scopes[scope]
		if !known {
			return nil
		}
		counts, err = r.Get(countsKey(scope, stands))
		return err
	})
	return counts, closed, err
}

// trimPatching forgets what of the Mac's course of versions was over before a day; 0: nothing.
func (m *MacTx) trimPatching(from release.Day) error {
	if from == 0 {
		return nil
	}
	h, err := m.Patching()
	if err != nil || h == nil || !h.Trim(from.Time()) {
		return err
	}
	return m.SetPatching(h)
}

// TrimPatching deletes the closed days before a day, the counts to which no other day refers, and of the courses of deleted Macs
// what was over by then. The last closed day always stays.
func (s *Store) TrimPatching(ctx context.Context, from release.Day) error {
	return s.db.Update(ctx, PatchingPartition, func(tx Tx) error {
		var st PatchingState
		if _, err := getJSON(tx, keyPatchingState, &st); err != nil || st.Closed == 0 {
			return err
		}
		if from = min(from, st.Closed); from <= st.Trimmed {
			return nil
		}
		st.Trimmed = from
		if err := trimClosed(tx, from); err != nil {
			return err
		}
		if err := trimLeft(tx, from); err != nil {
			return err
		}
		return setJSON(tx, keyPatchingState, st)
	})
}

// trimClosed deletes closed days. Counts stand from one day to the next: what the first day that stays does not refer to, no
// later day does.
func trimClosed(tx Tx, from release.Day) error {
	type stand struct {
		scope string
		day   release.Day
	}
	dropped, first := map[stand]bool{}, closedKey(from)
	err := each(tx, prefixClosed, func(e Entry) error {
		if e.Key > first {
			return nil
		}
		var d ClosedDay
		if err := json.Unmarshal(e.Value, &d); err != nil {
			return fmt.Errorf("decode %s: %w", e.Key, err)
		}
		for scope, day := range d.Scopes {
			dropped[stand{scope, day}] = e.Key < first
		}
		if e.Key < first {
			tx.Delete(e.Key)
		}
		return nil
	})
	for s, drop := range dropped {
		if drop {
			tx.Delete(countsKey(s.scope, s.day))
		}
	}
	return err
}

func trimLeft(tx Tx, from release.Day) error {
	return each(tx, prefixLeft, func(e Entry) error {
		h, err := decodePatching(e.Value)
		switch {
		case err != nil:
			return err
		case !h.Trim(from.Time()):
			return nil
		case len(h.Lives) == 0:
			tx.Delete(e.Key)
			return nil
		}
		return setJSON(tx, e.Key, h)
	})
}
