package storage

import (
	"context"
	"encoding/json"
	"fmt"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/storage/wire"
)

// whys are the reasons of a Mac's exceptions and who made them (rules 12). They would not fit into the record.
type whys struct {
	Exemption *why `json:"exemption,omitempty"`
	UpdateNow *why `json:"update_now,omitempty"`
}

type why struct {
	Reason string `json:"reason"`
	By     string `json:"by,omitempty"`
}

func whysOf(r *Record) (w whys) {
	if r == nil {
		return w
	}
	if x := r.Exemption; x != nil {
		w.Exemption = &why{x.Reason, x.By}
	}
	if u := r.UpdateNow; u != nil {
		w.UpdateNow = &why{u.Reason, u.By}
	}
	return w
}

// tellWhys fills in reasons and makers as they are kept beside the record.
func tellWhys(r *Record, kept []byte) error {
	if r == nil || kept == nil {
		return nil
	}
	var w whys
	if err := json.Unmarshal(kept, &w); err != nil {
		return fmt.Errorf("decode the reasons of the exceptions of %s: %w", r.Facts.ID, err)
	}
	if r.Exemption != nil && w.Exemption != nil {
		r.Exemption.Reason, r.Exemption.By = w.Exemption.Reason, w.Exemption.By
	}
	if r.UpdateNow != nil && w.UpdateNow != nil {
		r.UpdateNow.Reason, r.UpdateNow.By = w.UpdateNow.Reason, w.UpdateNow.By
	}
	return nil
}

// SetExceptions keeps the reasons of the record's exceptions, when they are not those of the record before. SetRecord keeps the
// rest.
func (m *MacTx) SetExceptions(before, r *Record) error {
	w := whysOf(r)
	switch {
	case before != nil && sameWhy(whysOf(before).Exemption, w.Exemption) && sameWhy(whysOf(before).UpdateNow, w.UpdateNow):
		return nil
	case w == whys{}:
		m.tx.Delete(keyExceptions)
		return nil
	}
	return setJSON(m.tx, keyExceptions, w)
}

func sameWhy(a, b *why) bool { return a == b || a != nil && b != nil && *a == *b }

// TellExceptions fills in the reasons of exceptions, for records that do not come from State.
func (s *Store) TellExceptions(ctx context.Context, records []*Record) error {
	var with []*Record
	var partitions []string
	for _, r := range records {
		if r.Exemption != nil || r.UpdateNow != nil {
			with, partitions = append(with, r), append(partitions, MacPartition(r.Facts.ID))
		}
	}
	if len(with) == 0 {
		return nil
	}
	vals, err := s.db.Collect(ctx, partitions, keyExceptions)
	if err != nil {
		return err
	}
	for i, v := range vals {
		if err := tellWhys(with[i], v); err != nil {
			return err
		}
	}
	return nil
}

func putExceptions(w *wire.Record, c clock, r *Record) {
	if x := r.Exemption; x != nil {
		w.ExUntil, w.ExSince = c.put(x.Until), c.put(x.Since)
	}
	if u := r.UpdateNow; u != nil {
		w.NowAt, w.NowLane = c.put(u.At), u.Lane
		w.NowBuild, w.NowVer = same(u.Build, r.Summary.Build), same(string(u.Version), string(r.Summary.Version))
	}
}

func getExceptions(w *wire.Record, c clock, r *Record) {
	if w.ExUntil != 0 {
		r.Exemption = &plan.Exemption{Until: c.get(w.ExUntil), Since: c.get(w.ExSince)}
	}
	if w.NowAt != 0 {
		r.UpdateNow = &plan.UpdateNow{
			At: c.get(w.NowAt), Lane: w.NowLane, Build: unsame(w.NowBuild, w.Sum.Build),
			Version: release.Version(unsame(w.NowVer, string(w.Sum.Version))),
		}
	}
}

// sameExceptions compares what the record itself keeps of them.
func sameExceptions(a, b *Record) bool {
	if x, y := a.Exemption, b.Exemption; (x == nil) != (y == nil) || x != nil && !sameTimes(x.Until, y.Until, x.Since, y.Since) {
		return false
	}
	x, y := a.UpdateNow, b.UpdateNow
	return x == nil && y == nil || x != nil && y != nil && sameTimes(x.At, y.At) && x.Lane == y.Lane && x.Build == y.Build &&
		x.Version == y.Version
}
