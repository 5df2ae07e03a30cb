package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/storage/wire"
)

// Trim deletes what is beyond the limits. It reads all of the Mac's history and belongs into a sweep.
func (s *Store) Trim(ctx context.Context, id string, l Limits) error {
	return s.UpdateMac(ctx, id, func(m *MacTx) error {
		if err := m.trimReports(l.Reports); err != nil {
			return err
		}
		if err := m.trimEvents(l); err != nil {
			return err
		}
		if err := m.trimPatching(l.PatchingFrom); err != nil {
			return err
		}
		return m.trimManifests(l.HistoryAfter)
	})
}

func (m *MacTx) trimReports(keep int) error {
	type kept struct {
		key    string
		number int
	}
	var all []kept
	if err := each(m.r, prefixReports, func(e Entry) error {
		var r struct {
			Number int `json:"n"`
		}
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return fmt.Errorf("decode %s: %w", e.Key, err)
		}
		all = append(all, kept{e.Key, r.Number})
		return nil
	}); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(b.number, a.number) })
	for _, r := range all[min(keep, len(all)):] {
		m.tx.Delete(r.key)
	}
	return nil
}

func (m *MacTx) trimEvents(l Limits) error {
	n := 0
	for before := ""; ; {
		entries, err := m.r.ListDesc(prefixEvents, before, 500)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			var ev struct {
				At time.Time `json:"at"`
			}
			n++
			if err := json.Unmarshal(e.Value, &ev); err != nil || ev.At.Before(l.EventsAfter) ||
				(l.MaxEvents > 0 && n > l.MaxEvents) {
				m.tx.Delete(e.Key)
			}
		}
		before = entries[len(entries)-1].Key
	}
}

func (m *MacTx) trimManifests(after time.Time) error {
	type kept struct {
		key string
		man *declarations.Manifest
	}
	var all []kept
	if err := each(m.r, prefixManifests, func(e Entry) error {
		man, err := wire.DecodeManifest(e.Value)
		if err != nil {
			return err
		}
		all = append(all, kept{e.Key, man})
		return nil
	}); err != nil {
		return err
	}
	used := map[string]bool{}
	dropped := false
	for i, k := range all {
		// A manifest was in force until the next one was served: it goes when that is before the limit.
		if i+1 < len(all) && all[i+1].man.ServedAt.Before(after) {
			m.tx.Delete(k.key)
			dropped = true
			continue
		}
		for _, it := range k.man.Items {
			used[it.ServerToken] = true
		}
	}
	if !dropped {
		return nil
	}
	current, err := m.Manifest()
	if err != nil {
		return err
	}
	if current != nil {
		for _, it := range current.Items {
			used[it.ServerToken] = true
		}
	}
	return each(m.r, prefixBodies, func(e Entry) error {
		if !used[e.Key[len(prefixBodies):]] {
			m.tx.Delete(e.Key)
		}
		return nil
	})
}
