package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// Head is the end of the chain, and where it begins (docs/api.md 5.2).
type Head = storage.AuditHead

// Query selects entries. Empty fields select all.
type Query struct {
	Actor, Action, Object string
	Since, Until          time.Time // Since included, Until not
	Limit                 int
	Cursor                string
}

func (q *Query) wants(e *Entry) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(q.Actor, e.Actor) && is(q.Action, e.Action) && is(q.Object, e.Object) &&
		!e.At.Before(q.Since) && (q.Until.IsZero() || e.At.Before(q.Until))
}

const (
	list = "audit" // of cursors
	// maxRead bounds the entries that one page reads; a page that finds nothing among them is empty, and has a cursor.
	maxRead = 20_000
	// lag is how much later than its change an entry may stand in the chain.
	lag = time.Hour
)

// Head tells where the chain ends.
func (c *Chain) Head(ctx context.Context) (Head, error) {
	return c.o.Store.AuditHead(ctx)
}

// List lists entries, the newest first.
func (c *Chain) List(ctx context.Context, q Query) (answer.Page[Entry], error) {
	page := answer.Page[Entry]{Items: []Entry{}}
	key, err := answer.DecodeCursor(list, q.Cursor)
	if err != nil {
		return page, err
	}
	before := uint64(0)
	if key != "" {
		if before, err = strconv.ParseUint(key, 10, 64); err != nil || before == 0 {
			return page, answer.BadCursor()
		}
	}
	size := answer.PageSize(q.Limit)
	for read := 0; ; {
		chunk := max(size+1, 500)
		raw, err := c.o.Store.AuditBefore(ctx, q.Object, before, chunk)
		if err != nil {
			return page, fmt.Errorf("read the audit: %w", err)
		}
		entries, err := decode(raw)
		if err != nil {
			return page, err
		}
		for i := range entries {
			e := &entries[i]
			if e.At.Before(q.Since.Add(-lag)) && !q.Since.IsZero() {
				return page, nil
			}
			if !q.wants(e) {
				before = e.N
				continue
			}
			if len(page.Items) == size {
				page.Next = answer.EncodeCursor(list, strconv.FormatUint(before, 10))
				return page, nil
			}
			page.Items = append(page.Items, *e)
			before = e.N
		}
		if read += len(entries); len(entries) < chunk {
			return page, nil
		}
		if read >= maxRead {
			page.Next = answer.EncodeCursor(list, strconv.FormatUint(before, 10))
			return page, nil
		}
	}
}

// After lists entries after a number, the oldest first.
func (c *Chain) After(ctx context.Context, n uint64, limit int) ([]Entry, error) {
	raw, err := c.o.Store.AuditAfter(ctx, n, limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return decode(raw)
}

func decode(raw [][]byte) ([]Entry, error) {
	entries := make([]Entry, 0, len(raw))
	for _, b := range raw {
		if b == nil { // trimmed between the two reads
			continue
		}
		var e Entry
		if err := json.Unmarshal(b, &e); err != nil {
			return nil, fmt.Errorf("decode an entry of the audit: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Subscribe returns a channel that signals that there may be new entries. It is closed when ctx ends.
func (c *Chain) Subscribe(ctx context.Context) <-chan struct{} {
	news := make(chan struct{}, 1)
	go func() {
		defer close(news)
		look := time.NewTicker(tellEvery)
		defer look.Stop()
		var seen uint64
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			revs, err := c.o.Store.Revisions(ctx, storage.AuditPartition)
			if err != nil || revs[0] == seen {
				continue
			}
			seen = revs[0]
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return news
}

// Mark names an entry.
type Mark struct {
	N    uint64 `json:"n"`
	Hash string `json:"hash"` // SHA-256 of its canonical JSON, hex
}

// Last is the last entry before an instant; nil when there is none, or none is kept any more.
func (c *Chain) Last(ctx context.Context, before time.Time) (*Mark, error) {
	page, err := c.List(ctx, Query{Until: before, Limit: 1})
	if err != nil || len(page.Items) == 0 {
		return nil, err
	}
	mark := &Mark{N: page.Items[0].N}
	next, err := c.After(ctx, mark.N, 1)
	if err != nil {
		return nil, err
	}
	if len(next) > 0 { // each entry holds the hash of the one before
		mark.Hash = next[0].Previous
		return mark, nil
	}
	head, err := c.Head(ctx)
	mark.Hash = head.Hash
	return mark, err
}
