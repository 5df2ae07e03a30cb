package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

const (
	fileEvery    = 5 * time.Second // how often a file or folder is looked at
	retryFetch   = time.Hour       // after a fetch from a URL failed
	refreshEvery = time.Minute     // how often an admin may have a URL fetched
	staleAfter   = 50 * time.Hour  // without an accepted response from a URL
	againAfter   = 20 * time.Hour  // after which a second fetch confirms a withdrawal (rules 3)
)

// codeFetchFailed is the code of the error of a source that could not be reached or read.
const codeFetchFailed = "fetch_failed"

// UnusableFeed is the error of a Fetch that reached its source and found there what cannot be a feed: it is refused, as a response that
// makes no sense is.
type UnusableFeed struct{ Err error }

// Error says what was found.
func (e *UnusableFeed) Error() string { return e.Err.Error() }

// Unwrap is the error of the source.
func (e *UnusableFeed) Unwrap() error { return e.Err }

// Is tells that the response is refused.
func (e *UnusableFeed) Is(target error) bool { return target == release.ErrRefused }

// fetchCatalog fetches, checks and merges Apple's feed, and puts a change in force. A refusal or a failure is kept and returned in the
// result, a failure as an error with codeFetchFailed too; the last good catalogue stays.
func (f *Fleet) fetchCatalog(ctx context.Context) (RefreshResult, error) {
	f.refresh.Lock()
	defer f.refresh.Unlock()
	return f.fetchLocked(ctx, f.looked)
}

// fetchLocked is fetchCatalog with the lock held. looked are the validators of a file that was looked at already, accepted or not.
func (f *Fleet) fetchLocked(ctx context.Context, looked Validators) (RefreshResult, error) {
	cur := f.book.cur.Load()
	state := cur.stored.Fetch
	prev := looked
	if prev.From != state.From { // somewhere else was tried meanwhile: what is said of that must go
		prev = Validators{}
	}
	if prev == (Validators{}) && cur.Catalog.Source != release.SourceSnapshot {
		prev = Validators{From: state.From, ETag: state.ETag, LastModified: state.LastModified, File: state.File}
	}
	body, next, same, err := f.o.Fetch(ctx, prev)
	if err == nil && !f.o.FetchIsURL {
		f.looked = next
	}
	now, from := f.now(), cmp.Or(next.From, state.From)
	f.counters.Fetches.Add(1)
	var parsed *release.Feed
	if err == nil && !same {
		parsed, err = release.ParseFeed(body)
		if err == nil {
			for _, odd := range parsed.Odd {
				f.log.Warn("Apple's feed has an odd entry; it is left out", "entry", odd)
			}
		}
	}
	// A file is looked at every few seconds: what is known of it already is neither written nor logged again.
	again := !f.o.FetchIsURL && err != nil && from == state.From && (state.Error == err.Error() || state.Error == "" && state.Refused == err.Error())
	if err != nil && !errors.Is(err, release.ErrRefused) {
		f.counters.FetchesFailed.Add(1)
		reason := err.Error()
		failed := &Error{Kind: ErrUnavailable, Code: codeFetchFailed, Text: "the catalogue could not be fetched: " + reason}
		res := RefreshResult{Revision: cur.Catalog.Revision, Refused: &failed.Text}
		if again {
			return res, failed
		}
		f.log.Error("the catalogue could not be fetched; the last good one stays", "error", err)
		if err := f.updateBook(ctx, func(tx *storage.BookTx) error {
			return tx.SetFetch(tried(tx.Fetch, from, now, reason))
		}); err != nil {
			return res, fmt.Errorf("keep why the catalogue could not be fetched: %w", err)
		}
		return res, failed
	}
	if again {
		f.counters.FetchesRefused.Add(1)
		reason := err.Error()
		return RefreshResult{Revision: cur.Catalog.Revision, Refused: &reason}, nil
	}
	if same && !f.o.FetchIsURL {
		// The file is as it was looked at last, which may be one that was refused; or it is the accepted one, which may have been away.
		accepted := next.From == state.From && next.File == state.File
		if !accepted || state.Error == "" && state.Refused == "" && !pendingWithdrawal(cur.Catalog, now) {
			return RefreshResult{Revision: cur.Catalog.Revision}, nil
		}
	}
	var res RefreshResult
	var refused error
	update := f.updateBook(ctx, func(tx *storage.BookTx) error {
		res, refused = RefreshResult{Revision: tx.Catalog.Revision}, err
		state := tried(tx.Fetch, from, now, "")
		if refused == nil {
			var merged *release.Catalog
			var changed bool
			if same {
				merged, changed = release.Repeat(tx.Catalog, now)
			} else {
				merged, changed, refused = release.Merge(tx.Catalog, parsed, now)
			}
			if refused == nil {
				res.Changed, res.Revision = changed, merged.Revision
				state.Refused, state.RefusedAt = "", time.Time{}
				state.ETag, state.LastModified, state.File = next.ETag, next.LastModified, next.File
				merged.From = from
				if err := tx.SetCatalog(merged, changed, now); err != nil {
					return err
				}
			}
		}
		if refused != nil {
			reason := refused.Error()
			res.Refused = &reason
			state.Refused, state.RefusedAt = reason, now
		}
		return tx.SetFetch(state)
	})
	if update != nil {
		return res, fmt.Errorf("keep the catalogue: %w", update)
	}
	if refused != nil {
		f.counters.FetchesRefused.Add(1)
		f.log.Error("Apple's feed was refused; the last good catalogue stays", "reason", refused)
	} else if res.Changed {
		f.log.Info("the catalogue changed", "revision", res.Revision)
	}
	return res, nil
}

// tried notes an attempt. When the last one was at another source, neither what was wrong there nor its validators say anything about this one.
func tried(state storage.FetchState, from string, at time.Time, failed string) storage.FetchState {
	if state.From != from {
		state = storage.FetchState{From: from}
	}
	state.TriedAt, state.Error = at, failed
	return state
}

// source names where the catalogue is fetched from, without a password: a Fetch whose context has ended already does nothing but name it.
func (f *Fleet) source() string {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, v, _, _ := f.o.Fetch(ended, Validators{})
	return v.From
}

func pendingWithdrawal(c *release.Catalog, now time.Time) bool {
	for i := range c.Releases {
		r := &c.Releases[i]
		if r.Available && !r.LackedAt.IsZero() && now.Sub(r.LackedAt) >= againAfter {
			return true
		}
	}
	return false
}

// Refresh fetches the catalogue now, and answers once it is in force on this replica. What became of it stands in the result, that the
// source could not be reached too. A URL is fetched at most once a minute.
func (f *Fleet) Refresh(ctx context.Context) (RefreshResult, error) {
	if f.o.Fetch == nil {
		return RefreshResult{}, &Error{Kind: ErrConflict, Code: "no_catalogue_source", Text: "there is no source to fetch from: the server was started with --catalog none"}
	}
	f.refresh.Lock()
	defer f.refresh.Unlock()
	if now := f.o.Now(); f.o.FetchIsURL {
		if wait := refreshEvery - now.Sub(f.refreshed); !f.refreshed.IsZero() && wait > 0 {
			return RefreshResult{}, &Error{
				Kind: ErrConflict, Code: "rate_limited", Wait: wait,
				Text: fmt.Sprintf("the catalogue was refreshed less than a minute ago; try again in %d s", int(math.Ceil(wait.Seconds()))),
			}
		}
		f.refreshed = now
	}
	if f.o.Exploited != nil {
		if err := f.fetchExploited(ctx); err != nil {
			f.log.Warn("the exploited feed could not be read; marks stay as they are", "error", err)
		}
	}
	res, err := f.fetchLocked(ctx, Validators{})
	var failed *Error
	if errors.As(err, &failed) && failed.Code == codeFetchFailed {
		return res, nil
	}
	return res, err
}

// fetchExploited marks releases by the feed of exploited vulnerabilities. Its absence changes nothing.
func (f *Fleet) fetchExploited(ctx context.Context) error {
	f.marking.Lock()
	defer f.marking.Unlock()
	body, next, same, err := f.o.Exploited(ctx, f.marked)
	if err != nil || same {
		return err
	}
	fixes, err := release.ParseExploited(body)
	if err != nil {
		return err
	}
	cur := f.book.cur.Load().Catalog
	marked, changed, err := cur.Mark(fixes)
	if err == nil && (changed || len(marked.Exploited) != len(cur.Exploited)) {
		err = f.updateBook(ctx, func(tx *storage.BookTx) error {
			marked, changed, err := tx.Catalog.Mark(fixes)
			if err != nil {
				return err
			}
			return tx.SetCatalog(marked, changed, f.now())
		})
	}
	if err == nil {
		f.marked = next
	}
	return err
}

// readFiles reads, before the first Mac is answered, the catalogue and the exploited feed where they are files. What cannot be read ends the
// start. Content that is refused does not: what is known stays in force, as it does while the server runs.
func (f *Fleet) readFiles(ctx context.Context) error {
	if f.o.Fetch != nil && !f.o.FetchIsURL {
		res, err := f.fetchCatalog(ctx)
		if err != nil {
			return fmt.Errorf("read the catalogue: %w", err)
		}
		if res.Refused != nil {
			f.log.Warn("the catalogue is refused; starting with the last good one", "revision", res.Revision, "reason", *res.Refused)
		}
	}
	if f.o.Exploited != nil && !f.o.ExploitedIsURL {
		err := f.fetchExploited(ctx)
		if err != nil && !errors.Is(err, release.ErrRefused) {
			return fmt.Errorf("read the exploited feed: %w", err)
		}
		if err != nil {
			f.log.Warn("the exploited feed is refused; starting with the marks that are known", "reason", err)
		}
	}
	return nil
}

// catalogLoop fetches a URL once a day, and looks at a file or folder every few seconds, until ctx ends.
func (f *Fleet) catalogLoop(ctx context.Context) {
	var wg sync.WaitGroup
	if f.o.Fetch != nil {
		wg.Go(func() { f.repeat(ctx, f.catalogOnce) })
	}
	if f.o.Exploited != nil {
		wg.Go(func() { f.repeat(ctx, f.exploitedOnce) })
	}
	wg.Wait()
}

// repeat calls once, and again after each time that it returns, until ctx ends.
func (f *Fleet) repeat(ctx context.Context, once func(context.Context) time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(once(ctx))
		}
	}
}

// exploitedOnce reads the feed of exploited vulnerabilities, and returns how long to wait for the next time.
func (f *Fleet) exploitedOnce(ctx context.Context) time.Duration {
	err := f.fetchExploited(ctx)
	if err != nil && ctx.Err() == nil {
		f.log.Warn("the exploited feed could not be read; marks stay as they are", "error", err)
	}
	switch {
	case err != nil && f.o.ExploitedIsURL:
		return retryFetch
	case err != nil:
		return time.Minute
	case f.o.ExploitedIsURL:
		return untilFetch(f.o.Now().UTC())
	}
	return fileEvery
}

// catalogOnce fetches the catalogue when it is time, and returns how long to wait for the next time.
func (f *Fleet) catalogOnce(ctx context.Context) time.Duration {
	if !f.o.FetchIsURL {
		var failed *Error
		if _, err := f.fetchCatalog(ctx); err != nil && !errors.As(err, &failed) && ctx.Err() == nil {
			f.log.Warn("the catalogue could not be kept; trying again", "error", err)
			return time.Minute
		}
		return fileEvery
	}
	now := f.o.Now().UTC()
	cur := f.book.cur.Load()
	// What was tried elsewhere is no reason to wait: a source that is new is asked at once.
	if state := cur.stored.Fetch; state.From == f.source() {
		if state.Error != "" && now.Sub(state.TriedAt) < retryFetch {
			return retryFetch - now.Sub(state.TriedAt)
		}
		if tried := state.TriedAt; cur.Catalog.Source != release.SourceSnapshot && state.Error == "" && !tried.IsZero() && tried.After(lastFetchTime(now)) {
			return untilFetch(now)
		}
	}
	if _, err := f.fetchCatalog(ctx); err != nil {
		return retryFetch
	}
	return untilFetch(f.o.Now().UTC())
}

// lastFetchTime is the regular time of fetching that has passed last, the earliest that it may have been.
func lastFetchTime(now time.Time) time.Time {
	at := time.Date(now.Year(), now.Month(), now.Day(), 19, 5, 0, 0, time.UTC)
	if now.Before(at) {
		at = at.AddDate(0, 0, -1)
	}
	return at
}

// untilFetch is the time until the next 19:15 UTC, give or take 10 minutes, an hour after Apple's usual posting time (rules 3).
func untilFetch(now time.Time) time.Duration {
	at := time.Date(now.Year(), now.Month(), now.Day(), 19, 15, 0, 0, time.UTC)
	if !now.Before(at.Add(-10 * time.Minute)) {
		at = at.AddDate(0, 0, 1)
	}
	jitter := time.Duration(rand.Int64N(int64(20*time.Minute))) - 10*time.Minute
	return at.Sub(now) + jitter
}

// stale tells whether the catalogue is older than it should be: the built-in snapshot always is (rules 3), and so is one from elsewhere,
// however lately it was read, while the URL that is asked now has given none.
func (f *Fleet) stale(now time.Time) bool {
	cur := f.book.cur.Load()
	c := cur.Catalog
	if c.Source == release.SourceSnapshot {
		return true
	}
	elsewhere := c.From != "" && c.From != cur.stored.Fetch.From
	return f.o.FetchIsURL && (elsewhere || now.Sub(c.FetchedAt) > staleAfter)
}

// Releases lists the catalogue as it is now, or as it was in force at a time.
func (f *Fleet) Releases(ctx context.Context, asOf time.Time, limit int, cursor string) (Page[Release], error) {
	cur := f.book.cur.Load()
	index := cur.Index
	if !asOf.IsZero() {
		cat, err := f.store.CatalogAt(ctx, asOf)
		if err != nil {
			return Page[Release]{}, err
		}
		index = release.NewIndex(cat)
	}
	now := f.now()
	all := index.All()
	return answer.List("releases", limit, cursor, len(all), func(i int) string { r := all[i]; return fmt.Sprintf("%s\x00%s", r.Version, r.Build) }, func(i int) Release {
		r := all[i]
		return Release{
			Version: string(r.Version), Build: r.Build, Kind: string(r.Kind), Letter: r.Letter, PrerequisiteBuild: r.PrerequisiteBuild,
			Posted: r.Posted, FirstSeenAt: r.FirstSeen, Available: r.Available, Exploited: r.Exploited, Devices: r.Devices,
			Held: heldNow(cur.Holds, index, r, now),
		}
	})
}

func heldNow(holds []release.Hold, index *release.Index, r *release.Release, now time.Time) bool {
	for i := range holds {
		if holds[i].Active(now) && holds[i].Covers(index, r) {
			return true
		}
	}
	return false
}
