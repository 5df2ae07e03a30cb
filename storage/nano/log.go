package nano

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"plimsoll/storage"
)

// Logged is one command of an enrolment's log: answered, or still waiting.
type Logged struct {
	Result           // while it waits, without Status, At and Raw
	NotNow time.Time // when the Mac last said NotNow to a waiting one; zero if it did not
}

// position is where a page of the log begins: before a number of the queue, and before the key of a result.
type position struct {
	number uint64
	result string
}

func (p position) String() string { return fmt.Sprintf("%d %s", p.number, p.result) }

func parsePosition(s string) (position, error) {
	if s == "" {
		return position{number: ^uint64(0)}, nil
	}
	number, result, ok := strings.Cut(s, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || result != "" && !strings.HasPrefix(result, keyResults) {
		return position{}, fmt.Errorf("%w: %q is no position in a log of commands", storage.ErrInvalid, clip(s))
	}
	return position{n, result}, nil
}

// Commands lists at most limit commands of an enrolment that wait or were answered, the last queued first. Answers are kept in
// the order in which they came, so between pages a command that was answered long after it was queued stands where its answer
// does. after is empty, or the next that the page before gave; next is empty at the end.
func (s *Store) Commands(ctx context.Context, id, after string, limit int) (list []Logged, next string, err error) {
	c, err := parseID(id)
	if err != nil {
		return nil, "", fmt.Errorf("listing commands: %w", err)
	}
	at, err := parsePosition(after)
	if err != nil {
		return nil, "", fmt.Errorf("listing commands: %w", err)
	}
	err = s.db.View(ctx, c.partition(), func(r storage.Reader) error {
		l := logReader{r: r, c: c, at: at}
		list, next = nil, ""
		if l.queue, err = readQueue(r, c); err != nil {
			return err
		}
		for len(list) < limit {
			one, more, err := l.next()
			if err != nil || !more {
				return err
			}
			list = append(list, one)
		}
		here := l.at
		if _, more, err := l.next(); err != nil || !more {
			return err
		}
		next = here.String()
		return nil
	})
	slices.SortStableFunc(list, func(a, b Logged) int { return b.Queued.Compare(a.Queued) })
	return list, next, wrap(err, "listing the commands of %s", c.id)
}

// Command finds the last command of an enrolment that has a UUID. ErrNotFound: there is none, or none any more.
func (s *Store) Command(ctx context.Context, id, uuid string) (found Logged, err error) {
	c, err := parseID(id)
	if err != nil {
		return Logged{}, fmt.Errorf("finding a command: %w", err)
	}
	err = s.db.View(ctx, c.partition(), func(r storage.Reader) error {
		l := logReader{r: r, c: c, at: position{number: ^uint64(0)}, uuid: uuid}
		if l.queue, err = readQueue(r, c); err != nil {
			return err
		}
		var any bool
		if found, any, err = l.next(); err == nil && !any {
			err = fmt.Errorf("%w: no such command", storage.ErrNotFound)
		}
		return err
	})
	return found, wrap(err, "finding command %s of %s", clip(uuid), c.id)
}

// logReader goes through a log from its newest command on.
type logReader struct {
	r     storage.Reader
	c     channel
	uuid  string // of the only command that is wanted; empty: all are
	queue []QueuedCommand
	at    position // what was read last

	entries []storage.Entry // of results, read and not given yet
	read    string          // the key of the last that was read
	end     bool            // there are no more than those
}

// next gives the next command; false at the end.
func (l *logReader) next() (Logged, bool, error) {
	i := len(l.queue) - 1
	for i >= 0 && (l.queue[i].Number >= l.at.number || l.uuid != "" && l.queue[i].UUID != l.uuid) {
		i--
	}
	if err := l.fill(); err != nil {
		return Logged{}, false, err
	}
	var answered Result
	if len(l.entries) > 0 {
		var err error
		if answered, err = decodeResult(l.entries[0]); err != nil {
			return Logged{}, false, err
		}
	}
	switch {
	case i >= 0 && (len(l.entries) == 0 || !answered.Queued.After(l.queue[i].At)):
		q := l.queue[i]
		l.at.number = q.Number
		return Logged{Result{UUID: q.UUID, RequestType: q.RequestType, Queued: q.At}, q.NotNow}, true, nil
	case len(l.entries) > 0:
		l.at.result = l.entries[0].Key
		l.entries = l.entries[1:]
		return Logged{Result: answered}, true, nil
	}
	return Logged{}, false, nil
}

// fill reads on until there is a result to give, or none is left.
func (l *logReader) fill() error {
	if l.read == "" {
		l.read = l.at.result
	}
	mine := l.c.suffix() + "/" + l.uuid
	for len(l.entries) == 0 && !l.end {
		entries, err := l.r.ListDesc(keyResults, l.read, page)
		if err != nil {
			return err
		}
		if l.end = len(entries) < page; len(entries) > 0 {
			l.read = entries[len(entries)-1].Key
		}
		l.entries = slices.DeleteFunc(entries, func(e storage.Entry) bool {
			return !l.c.ofChannel(e.Key) || l.uuid != "" && strings.TrimLeft(e.Key[len(keyResults):], "0123456789") != mine
		})
	}
	return nil
}
