// Package commandlog shows what a Mac was sent and what it answered, out of the records that NanoMDM's storage keeps.
package commandlog

import (
	"context"
	"fmt"

	"github.com/micromdm/plist"

	"plimsoll/server/fleet"
	"plimsoll/storage/nano"
)

// Log is a fleet.CommandLog over NanoMDM's storage. Safe for concurrent use.
type Log struct{ store *nano.Store }

var _ fleet.CommandLog = (*Log)(nil)

// New makes a Log.
func New(store *nano.Store) *Log { return &Log{store} }

// Commands lists at most limit commands of an enrolment, the last queued first; after is empty or the next that was given before.
func (l *Log) Commands(ctx context.Context, id, after string, limit int) ([]fleet.Command, string, error) {
	kept, next, err := l.store.Commands(ctx, id, after, limit)
	if err != nil {
		return nil, "", err
	}
	list := make([]fleet.Command, len(kept))
	for i := range kept {
		list[i] = commandOf(&kept[i])
	}
	return list, next, nil
}

// Command finds a command with its answer. The command itself is not shown: it may carry what only the Mac is to know.
func (l *Log) Command(ctx context.Context, id, uuid string) (fleet.CommandAnswer, error) {
	kept, err := l.store.Command(ctx, id, uuid)
	if err != nil {
		return fleet.CommandAnswer{}, err
	}
	a := fleet.CommandAnswer{Command: commandOf(&kept), LeftOut: []string{}}
	if kept.At.IsZero() {
		a.Answer = []byte("null")
		return a, nil
	}
	a.Answer, a.LeftOut, err = shown(kept.Raw)
	if err != nil {
		return fleet.CommandAnswer{}, fmt.Errorf("show the answer to command %s of %s: %w", uuid, id, err)
	}
	return a, nil
}

func commandOf(kept *nano.Logged) fleet.Command {
	c := fleet.Command{
		UUID: kept.UUID, RequestType: kept.RequestType, QueuedAt: kept.Queued.UTC(), Status: kept.Status,
		Errors: []fleet.ChainError{},
	}
	if kept.At.IsZero() {
		c.Status = "Queued"
		if !kept.NotNow.IsZero() {
			c.Status = "NotNow"
		}
		return c
	}
	at := kept.At.UTC()
	c.AnsweredAt = &at
	if c.Status != "Acknowledged" {
		c.Errors = chainOf(kept.Raw)
	}
	return c
}

// chainOf is the ErrorChain of an answer in Apple's words; empty for an answer without a readable one.
func chainOf(raw []byte) []fleet.ChainError {
	var answer struct {
		ErrorChain []struct {
			ErrorCode                                               int
			ErrorDomain, LocalizedDescription, USEnglishDescription string
		}
	}
	chain := []fleet.ChainError{}
	if plist.Unmarshal(raw, &answer) != nil {
		return chain
	}
	for _, e := range answer.ErrorChain {
		said := e.USEnglishDescription
		if said == "" {
			said = e.LocalizedDescription
		}
		chain = append(chain, fleet.ChainError{Code: e.ErrorCode, Domain: e.ErrorDomain, Description: said})
	}
	return chain
}
