// Package evidence keeps the courses of versions, closes the days of the patch reports, and answers those.
package evidence

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status"
	"plimsoll/status/patching"
	"plimsoll/storage"
)

const (
	// closeAfter is how long after its end a UTC day is closed.
	closeAfter = 2 * time.Hour
	// chunk is how many Macs are read at once.
	chunk = 500
	// maxAway is how many days are closed at most after the server was away; of a longer absence the last ones.
	maxAway = 400
)

// Options are what the reports are made of.
type Options struct {
	Store *storage.Store
	// IDs are all Macs that are known, those that checked out too.
	IDs func() []string
	// Groups are those that a Mac is in now.
	Groups func(*status.Facts) []string
	// Releases is the catalogue as it is now.
	Releases func() []*release.Release
	// Knows tells whether there is a policy, and whether there is a group, of that name.
	KnowsPolicy, KnowsGroup func(string) bool
	// Reasons are those of a Mac's state, as it is now.
	Reasons func(*storage.Record) []policy.Reason
	Now     func() time.Time
	Log     *slog.Logger
	// KeepEvents is how far back the events of an older store reach; 0: as long as there are any.
	KeepEvents time.Duration
}

// Reports closes days and answers reports. Safe for concurrent use.
type Reports struct {
	o    Options
	busy sync.Mutex // one look at all Macs as they stand at a time
	pace atomic.Pointer[Pace]
}

// New makes Reports.
func New(o Options) *Reports { return &Reports{o: o} }

// Scope names the part of the fleet that a count is about, in keys and in questions.
func scopeName(s patching.Scope) string {
	switch {
	case s.Policy != "":
		return "policy:" + s.Policy
	case s.Group != "":
		return "group:" + s.Group
	}
	return "fleet"
}

// scopeOf is the reverse of scopeName; named is false for the whole fleet.
func scopeOf(name string) (s patching.Scope, named bool) {
	kind, of, named := strings.Cut(name, ":")
	if kind == "policy" {
		return patching.Scope{Policy: of}, named
	}
	return patching.Scope{Group: of}, named
}

// releaseCount is one count as it is kept.
type releaseCount struct {
	Version release.Version `json:"version"`
	Letter  string          `json:"letter,omitempty"`
	patching.Count
}

func encode(counts map[patching.Key]*patching.Count) ([]byte, error) {
	list := make([]releaseCount, 0, len(counts))
	for k, c := range counts {
		list = append(list, releaseCount{k.Version, k.Letter, *c})
	}
	slices.SortFunc(list, func(a, b releaseCount) int {
		if c := a.Version.Compare(b.Version); c != 0 {
			return c
		}
		return strings.Compare(string(a.Version)+a.Letter, string(b.Version)+b.Letter)
	})
	return json.Marshal(list)
}

func decode(b []byte) (map[patching.Key]*patching.Count, error) {
	if b == nil {
		return nil, nil
	}
	var list []releaseCount
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("decode the counts of a day: %w", err)
	}
	counts := make(map[patching.Key]*patching.Count, len(list))
	for i := range list {
		counts[patching.Key{Version: list[i].Version, Letter: list[i].Letter}] = &list[i].Count
	}
	return counts, nil
}

// closable is the last day that may be closed now.
func (r *Reports) closable() release.Day { return release.DayOf(r.o.Now().Add(-closeAfter)) - 1 }

// CloseDays closes every UTC day that is over and not closed yet. It is the leader's; running twice does no harm.
func (r *Reports) CloseDays(ctx context.Context) error {
	st, err := r.begin(ctx)
	if err != nil {
		return err
	}
	last := r.closable()
	if st.Closed >= last {
		return nil
	}
	first := st.Closed + 1
	if st.Closed == 0 {
		first = last
	}
	days := make([]release.Day, 0, last-first+1)
	for d := first; d <= last; d++ {
		days = append(days, d)
	}
	if len(days) > maxAway { // the days are counted in one pass over all Macs, so this bounds the memory
		days = days[:maxAway]
	}
	counted, err := r.count(ctx, days, st.Trimmed)
	if err != nil {
		return err
	}
	for i, day := range days {
		scopes := make(map[string][]byte, len(counted[i])+1)
		for scope, counts := range counted[i] {
			if scopes[scopeName(scope)], err = encode(counts); err != nil {
				return err
			}
		}
		if scopes[scopeName(patching.Scope{})] == nil {
			scopes[scopeName(patching.Scope{})] = []byte("[]")
		}
		if err := r.o.Store.CloseDay(ctx, day, r.o.Now(), scopes); err != nil {
			return fmt.Errorf("close %s: %w", day, err)
		}
		r.o.Log.Info("a day of the patch reports is closed", "day", day.String(), "scopes", len(scopes))
	}
	return nil
}

// begin sets, once, from when on the courses are complete: a new store's from today, an older one's as far as its events reach.
func (r *Reports) begin(ctx context.Context) (storage.PatchingState, error) {
	st, err := r.o.Store.PatchingState(ctx)
	if err != nil || st.CompleteFrom != 0 {
		return st, err
	}
	now := r.o.Now()
	from := release.DayOf(now)
	err = r.each(ctx, func(rec *storage.Record, h *patching.History) error {
		if h == nil && !rec.Facts.EnrolledAt.IsZero() {
			from = min(from, release.DayOf(rec.Facts.EnrolledAt))
		}
		return nil
	})
	if err != nil {
		return st, err
	}
	if r.o.KeepEvents > 0 {
		from = max(from, release.DayOf(now.Add(-r.o.KeepEvents)))
	}
	if err := r.o.Store.BeginPatching(ctx, from); err != nil {
		return st, err
	}
	return r.o.Store.PatchingState(ctx)
}

// each calls fn with every Mac; h is nil while its course is not kept.
func (r *Reports) each(ctx context.Context, fn func(*storage.Record, *patching.History) error) error {
	for ids := range slices.Chunk(r.o.IDs(), chunk) {
		records, err := r.o.Store.Records(ctx, ids)
		if records == nil && err != nil {
			return fmt.Errorf("read the records: %w", err)
		}
		courses, err := r.o.Store.Patchings(ctx, ids)
		if courses == nil && err != nil {
			return fmt.Errorf("read the courses of versions: %w", err)
		}
		for i, rec := range records {
			if rec == nil {
				continue
			}
			if err := fn(rec, courses[i]); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// count counts the days in one pass over all Macs, the deleted ones too: the releases that were posted from a day on.
func (r *Reports) count(ctx context.Context, days []release.Day, from release.Day) ([]patching.Counts, error) {
	releases := slices.DeleteFunc(slices.Clone(r.o.Releases()), func(rel *release.Release) bool { return rel.Posted < from })
	catalogues, counted := make([]*patching.Catalogue, len(days)), make([]patching.Counts, len(days))
	for i, d := range days {
		catalogues[i], counted[i] = patching.NewCatalogue(releases, d), patching.NewCounts()
	}
	add := func(m *patching.Mac) {
		for i, d := range days {
			counted[i].Add(m, catalogues[i], d)
		}
	}
	err := r.macs(ctx, func(_ *storage.Record, m *patching.Mac) { add(m) })
	if err != nil {
		return nil, err
	}
	err = r.o.Store.Left(ctx, func(h patching.History) { add(asItLeft(patching.Mac{History: h})) })
	return counted, err
}

// macs calls fn with every Mac whose course is kept, or can be made of its events.
func (r *Reports) macs(ctx context.Context, fn func(*storage.Record, *patching.Mac)) error {
	return r.each(ctx, func(rec *storage.Record, h *patching.History) error {
		if h == nil {
			if !rec.Facts.Enrolled {
				return nil
			}
			var err error
			if h, err = r.fill(ctx, rec.Facts.ID); err != nil || h == nil {
				return err
			}
		}
		if x := rec.Exemption; x != nil { // an older version of this server did not keep it in the course
			h.Exempted(x.Since, x.Until)
		}
		m := patching.Mac{History: *h, Board: rec.Facts.Board, LastContact: rec.Facts.LastContactAt, Policy: rec.Summary.Policy}
		if rec.Facts.Enrolled {
			m.Groups = r.o.Groups(&rec.Facts)
		}
		fn(rec, asItLeft(m))
		return nil
	})
}

// alone lets one request at a time look at all Macs; done ends it.
func (r *Reports) alone() (done func(), err error) {
	if !r.busy.TryLock() {
		return nil, &answer.Error{
			Kind: answer.ErrUnavailable, Code: "rate_limited", Wait: time.Second,
			Text: "another report looks at all Macs as they stand; one at a time",
		}
	}
	return r.busy.Unlock, nil
}

// countNow counts the courses as they stand, one request at a time.
func (r *Reports) countNow(ctx context.Context, today release.Day) (patching.Counts, error) {
	done, err := r.alone()
	if err != nil {
		return nil, err
	}
	defer done()
	st, err := r.o.Store.PatchingState(ctx)
	if err != nil {
		return nil, err
	}
	counted, err := r.count(ctx, []release.Day{today}, st.Trimmed)
	if err != nil {
		return nil, err
	}
	return counted[0], nil
}

// asItLeft gives a Mac that left the board, the policy and the groups that it had then.
func asItLeft(m patching.Mac) *patching.Mac {
	if l := m.History.Ended(); l != nil {
		m.Board, m.Policy, m.Groups = l.Board, l.Policy, l.Groups
	}
	return &m
}

// fill makes the course of a Mac of an older store from its enrolment and its events, and keeps it.
func (r *Reports) fill(ctx context.Context, id string) (h *patching.History, err error) {
	err = r.o.Store.UpdateMac(ctx, id, func(m *storage.MacTx) error {
		h = nil
		rec, err := m.Record()
		if err != nil || rec == nil || !rec.Facts.Enrolled {
			return err
		}
		if h, err = m.Patching(); err != nil || h != nil {
			return err
		}
		if h, err = reconcile.VersionsFromEvents(&m.Mac, &rec.Facts); err != nil {
			return err
		}
		return m.SetPatching(h)
	})
	return h, err
}

// Leave keeps the course of a Mac that is about to be deleted, with its board, policy and groups, under a random number.
func (r *Reports) Leave(ctx context.Context, id string) error {
	var h *patching.History
	err := r.o.Store.ViewMac(ctx, id, func(m *storage.Mac) error {
		h = nil
		rec, err := m.Record()
		if err != nil || rec == nil {
			return err
		}
		if h, err = m.Patching(); err != nil {
			return err
		}
		if h == nil && rec.Facts.Enrolled {
			if h, err = reconcile.VersionsFromEvents(m, &rec.Facts); err != nil {
				return err
			}
		}
		if h != nil && h.Open() {
			h.End(r.o.Now(), rec.Facts.LastContactAt)
			l := h.Ended()
			l.Board, l.Policy, l.Groups = rec.Facts.Board, rec.Summary.Policy, r.o.Groups(&rec.Facts)
		}
		return nil
	})
	if err != nil || h == nil {
		return err
	}
	return r.o.Store.AddLeft(ctx, rand.Text(), h)
}

// Run closes days as they end, until ctx ends. It looks every few seconds, so that a clock that was set does no harm.
func (r *Reports) Run(ctx context.Context) {
	const every, afterFailure = 5 * time.Second, 12
	tick := time.NewTicker(every)
	defer tick.Stop()
	var done release.Day
	for wait := 0; ; {
		if last := r.closable(); wait == 0 && done != last {
			if err := r.CloseDays(ctx); err == nil {
				done = last
			} else if ctx.Err() == nil {
				wait = afterFailure
				r.o.Log.Warn("the days of the patch reports could not be closed; trying again in a minute", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			wait = max(0, wait-1)
		}
	}
}
