package catalogue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// refreshEvery is how often an admin may have a URL fetched.
const refreshEvery = time.Minute

// codeFetchFailed is the code of the error of a source that could not be reached or read.
const codeFetchFailed = "fetch_failed"

// RefreshResult answers an explicit refresh of the catalogue.
type RefreshResult struct {
	Changed  bool    `json:"changed"`
	Refused  *string `json:"refused"`
	Revision int     `json:"revision"`
	// LeftOut tells which entries of the response in force made no sense and were left out, a sentence each; at most 20, then how
	// many more.
	LeftOut []string `json:"left_out"`
}

// Counters count what happened since the process started. Safe for concurrent use.
type Counters struct {
	Fetches, FetchesFailed, FetchesRefused atomic.Int64
}

// Options are what a Catalogue is made of.
type Options struct {
	Store     *storage.Store
	Apple     Source // none: the built-in snapshot stays
	Exploited Source // the feed of exploited vulnerabilities
	// Book is the book in force on this replica, ready for planning and as stored.
	Book func() (*plan.Book, *storage.Book)
	// Update changes the book and puts the change in force on this replica.
	Update   func(context.Context, func(*storage.BookTx) error) error
	Counters *Counters
	Log      *slog.Logger
	Now      func() time.Time // UTC, whole seconds
}

// Catalogue fetches the feeds. Safe for concurrent use.
type Catalogue struct {
	o Options

	fetching  sync.Mutex // one fetch of the catalogue at a time
	refreshed time.Time  // the last explicit refresh, under fetching
	looked    Validators // of the catalogue's file as it was last looked at, accepted or not, under fetching

	marking sync.Mutex // one fetch of the exploited feed at a time
	marked  Validators // of the exploited feed as it was last read, under marking
}

// New makes a Catalogue.
func New(o Options) *Catalogue { return &Catalogue{o: o} }

// fetch fetches, checks and merges Apple's feed, and puts a change in force. A refusal or a failure is kept and returned in
// the result, a failure as an error with codeFetchFailed too; the last good catalogue stays.
func (c *Catalogue) fetch(ctx context.Context) (RefreshResult, error) {
	c.fetching.Lock()
	defer c.fetching.Unlock()
	return c.fetchLocked(ctx, c.looked)
}

// fetchLocked is fetch with the lock held.
func (c *Catalogue) fetchLocked(ctx context.Context, looked Validators) (RefreshResult, error) {
	r := c.ask(ctx, looked)
	now := c.o.Now()
	book, stored := c.o.Book()
	if !r.isNews(book.Catalog, stored.Fetch, now) {
		return c.result(decision{refused: r.err}, &r, book.Catalog.Revision)
	}
	var d decision
	revision := book.Catalog.Revision
	err := c.o.Update(ctx, func(tx *storage.BookTx) error {
		revision = tx.Catalog.Revision
		if d = decide(tx.Catalog, tx.Fetch, r, now); d.catalog != nil {
			revision = d.catalog.Revision
			if err := tx.SetCatalog(d.catalog, d.changed, now); err != nil {
				return err
			}
		}
		return tx.SetFetch(d.state)
	})
	c.log(d, &r, revision, err)
	res, failed := c.result(d, &r, revision)
	if err != nil {
		return res, fmt.Errorf("keep what became of the catalogue: %w", err)
	}
	return res, failed
}

// ask fetches from the source and reads what it answered.
func (c *Catalogue) ask(ctx context.Context, looked Validators) response {
	r := response{source: c.o.Apple}
	var body []byte
	body, r.next, r.same, r.err = r.source.Fetch(ctx, c.known(looked))
	c.o.Counters.Fetches.Add(1)
	if r.err != nil {
		return r
	}
	if !r.source.URL {
		c.looked = r.next
	}
	if r.same {
		return r
	}
	if r.feed, r.err = release.ParseFeed(body); r.err == nil {
		for _, odd := range r.feed.Odd {
			c.o.Log.Warn("Apple's feed has an odd entry; it is left out", "entry", odd)
		}
	}
	return r
}

// known are the validators of what is known of the source already.
func (c *Catalogue) known(looked Validators) Validators {
	book, stored := c.o.Book()
	kept := stored.Fetch
	if looked.From != kept.From { // somewhere else was tried meanwhile: what is said of that must go
		looked = Validators{}
	}
	if looked == (Validators{}) && book.Catalog.Source != release.SourceSnapshot {
		return Validators{From: kept.From, ETag: kept.ETag, LastModified: kept.LastModified, File: kept.File}
	}
	return looked
}

// result counts what became of a response and answers it.
func (c *Catalogue) result(d decision, r *response, revision int) (RefreshResult, error) {
	res := RefreshResult{Changed: d.changed, Revision: revision}
	switch {
	case r.failed():
		c.o.Counters.FetchesFailed.Add(1)
		failed := &answer.Error{
			Kind: answer.ErrUnavailable, Code: codeFetchFailed,
			Text: "the catalogue could not be fetched: " + r.err.Error(),
		}
		res.Refused = &failed.Text
		return res, failed
	case d.refused != nil:
		c.o.Counters.FetchesRefused.Add(1)
		reason := d.refused.Error()
		res.Refused = &reason
	}
	return res, nil
}

func (c *Catalogue) log(d decision, r *response, revision int, err error) {
	switch {
	case r.failed():
		c.o.Log.Error("the catalogue could not be fetched; the last good one stays", "error", r.err)
	case err != nil: // the caller knows
	case d.refused != nil:
		c.o.Log.Error("Apple's feed was refused; the last good catalogue stays", "reason", d.refused)
	case d.changed:
		c.o.Log.Info("the catalogue changed", "revision", revision)
	}
}

// Refresh fetches the catalogue now, and answers once it is in force on this replica. What became of it stands in the
// result, that the source could not be reached too. A URL is fetched at most once a minute.
func (c *Catalogue) Refresh(ctx context.Context) (RefreshResult, error) {
	if c.o.Apple.Fetch == nil {
		return RefreshResult{}, answer.Conflict("no_catalogue_source",
			"there is no source to fetch from: the server was started with --catalog none")
	}
	c.fetching.Lock()
	defer c.fetching.Unlock()
	if now := c.o.Now(); c.o.Apple.URL {
		if wait := refreshEvery - now.Sub(c.refreshed); !c.refreshed.IsZero() && wait > 0 {
			return RefreshResult{}, &answer.Error{
				Kind: answer.ErrConflict, Code: "rate_limited", Wait: wait,
				Text: fmt.Sprintf(
					"the catalogue was refreshed less than a minute ago; try again in %d s",
					int(math.Ceil(wait.Seconds())),
				),
			}
		}
		c.refreshed = now
	}
	if c.o.Exploited.Fetch != nil {
		if err := c.mark(ctx); err != nil {
			c.o.Log.Warn("the exploited feed could not be read; marks stay as they are", "error", err)
		}
	}
	res, err := c.fetchLocked(ctx, Validators{})
	var failed *answer.Error
	if errors.As(err, &failed) && failed.Code == codeFetchFailed {
		return res, nil
	}
	return res, err
}

// mark marks releases by the feed of exploited vulnerabilities. Its absence changes nothing.
func (c *Catalogue) mark(ctx context.Context) error {
	c.marking.Lock()
	defer c.marking.Unlock()
	body, next, same, err := c.o.Exploited.Fetch(ctx, c.marked)
	if err != nil || same {
		return err
	}
	fixes, err := release.ParseExploited(body)
	if err != nil {
		return err
	}
	book, _ := c.o.Book()
	now := c.o.Now()
	marked, changed := book.Catalog.Mark(fixes, now)
	if changed || !slices.Equal(marked.Exploited, book.Catalog.Exploited) {
		err = c.o.Update(ctx, func(tx *storage.BookTx) error {
			marked, changed := tx.Catalog.Mark(fixes, now)
			return tx.SetCatalog(marked, changed, now)
		})
	}
	if err == nil {
		c.marked = next
	}
	return err
}

// ReadFiles reads, before the first Mac is answered, the catalogue and the exploited feed where they are files. A file that
// cannot be read ends the start. Content that is refused does not: what is known stays in force, as it does while the
// server runs.
func (c *Catalogue) ReadFiles(ctx context.Context) error {
	if c.o.Apple.Fetch != nil && !c.o.Apple.URL {
		res, err := c.fetch(ctx)
		if err != nil {
			return fmt.Errorf("read the catalogue: %w", err)
		}
		if res.Refused != nil {
			c.o.Log.Warn(
				"the catalogue is refused; starting with the last good one",
				"revision",
				res.Revision,
				"reason",
				*res.Refused,
			)
		}
	}
	if c.o.Exploited.Fetch != nil && !c.o.Exploited.URL {
		err := c.mark(ctx)
		if err != nil && !errors.Is(err, release.ErrRefused) {
			return fmt.Errorf("read the exploited feed: %w", err)
		}
		if err != nil {
			c.o.Log.Warn("the exploited feed is refused; starting with the marks that are known", "reason", err)
		}
	}
	return nil
}
