package catalogue

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
)

const (
	fileEvery  = 5 * time.Second // how often a file or folder is looked at
	retryFetch = time.Hour       // after a fetch from a URL failed
	staleAfter = 50 * time.Hour  // without an accepted response from a URL
)

// Run fetches a URL once a day, and looks at a file or folder every few seconds, until ctx ends.
func (c *Catalogue) Run(ctx context.Context) {
	var work errgroup.Group
	if c.o.Apple.Fetch != nil {
		work.Go(func() error { repeat(ctx, c.Once); return nil })
	}
	if c.o.Exploited.Fetch != nil {
		work.Go(func() error { repeat(ctx, c.exploitedOnce); return nil })
	}
	_ = work.Wait()
}

// repeat calls once, and again after each time that it returns, until ctx ends.
func repeat(ctx context.Context, once func(context.Context) time.Duration) {
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
func (c *Catalogue) exploitedOnce(ctx context.Context) time.Duration {
	err := c.mark(ctx)
	if err != nil && ctx.Err() == nil {
		c.o.Log.Warn("the exploited feed could not be read; marks stay as they are", "error", err)
	}
	switch {
	case err != nil && c.o.Exploited.URL:
		return retryFetch
	case err != nil:
		return time.Minute
	case c.o.Exploited.URL:
		return untilFetch(c.o.Now())
	}
	return fileEvery
}

// Once fetches the catalogue when it is time, and returns how long to wait for the next time.
func (c *Catalogue) Once(ctx context.Context) time.Duration {
	if !c.o.Apple.URL {
		var failed *answer.Error
		if _, err := c.fetch(ctx); err != nil && !errors.As(err, &failed) && ctx.Err() == nil {
			c.o.Log.Warn("the catalogue could not be kept; trying again", "error", err)
			return time.Minute
		}
		return fileEvery
	}
	if wait := c.wait(c.o.Now()); wait > 0 {
		return wait
	}
	if _, err := c.fetch(ctx); err != nil {
		return retryFetch
	}
	return untilFetch(c.o.Now())
}

// wait is how long a URL is left alone; not longer than 0: it is asked now. What was tried elsewhere is no reason to wait.
func (c *Catalogue) wait(now time.Time) time.Duration {
	book, stored := c.o.Book()
	kept := stored.Fetch
	switch {
	case kept.From != c.o.Apple.Name:
		return 0
	case kept.Error != "":
		return retryFetch - now.Sub(kept.TriedAt)
	case book.Catalog.Source != release.SourceSnapshot && kept.TriedAt.After(lastFetchTime(now)):
		return untilFetch(now)
	}
	return 0
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

// Stale tells whether the catalogue is older than it should be: the built-in snapshot always is (rules 3), and so is one
// from elsewhere, however lately it was read, while the URL that is asked now has given none.
func (c *Catalogue) Stale(now time.Time) bool {
	book, stored := c.o.Book()
	cat := book.Catalog
	if cat.Source == release.SourceSnapshot {
		return true
	}
	elsewhere := cat.From != "" && cat.From != stored.Fetch.From
	return c.o.Apple.URL && (elsewhere || now.Sub(cat.FetchedAt) > staleAfter)
}
