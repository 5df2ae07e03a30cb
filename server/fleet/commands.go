package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"plimsoll/server/fleet/answer"
)

// Command is one command that a Mac was sent, as the API lists it (docs/api.md 4).
type Command struct {
	UUID        string     `json:"uuid"`
	RequestType string     `json:"request_type"`
	QueuedAt    time.Time  `json:"queued_at"`
	AnsweredAt  *time.Time `json:"answered_at"` // null: it waits
	// Status is the Mac's word: Acknowledged, Error, CommandFormatError; of a command that waits NotNow when the Mac said so last,
	// else Queued.
	Status string       `json:"status"`
	Errors []ChainError `json:"errors"` // in Apple's words, whole
}

// CommandAnswer is a command with what the Mac answered to it.
type CommandAnswer struct {
	Command
	// Answer is the property list of the answer as JSON, without its secrets; null while the command waits.
	Answer json.RawMessage `json:"answer"`
	// LeftOut are JSON Pointers to the values that are not in Answer: secrets, and binary data.
	LeftOut []string `json:"left_out"`
}

// CommandLog reads what an enrolment was sent, and what it answered. Implemented by server/mdm/commandlog.
type CommandLog interface {
	// Commands lists at most limit commands, the last queued first; after and next are positions in the log.
	Commands(ctx context.Context, id, after string, limit int) (list []Command, next string, err error)
	// Command finds one by its UUID; ErrNotFound when there is none.
	Command(ctx context.Context, id, uuid string) (CommandAnswer, error)
}

// enrolment finds the enrolment id of a device, or of a user channel of it: DEVICE:USER.
func (f *Fleet) enrolment(ctx context.Context, idOrSerial string) (string, error) {
	device, user, isUser := strings.Cut(idOrSerial, ":")
	id, err := f.resolve(ctx, device)
	if err != nil || !isUser {
		return id, err
	}
	return id + ":" + user, nil
}

// Commands lists what a Mac was sent and what it answered, newest first. Of a user channel (DEVICE:USER) what that was sent.
func (f *Fleet) Commands(ctx context.Context, idOrSerial string, limit int, cursor string) (Page[Command], error) {
	p := Page[Command]{Items: []Command{}}
	id, err := f.enrolment(ctx, idOrSerial)
	if err != nil {
		return p, err
	}
	list := "commands of " + id
	after, err := answer.DecodeCursor(list, cursor)
	if err != nil || f.o.Commands == nil {
		return p, err
	}
	commands, next, err := f.o.Commands.Commands(ctx, id, after, answer.PageSize(limit))
	if err != nil {
		return p, err
	}
	p.Items = append(p.Items, commands...)
	if next != "" {
		p.Next = answer.EncodeCursor(list, next)
	}
	return p, nil
}

// Command reads one command with its answer.
func (f *Fleet) Command(ctx context.Context, idOrSerial, uuid string) (CommandAnswer, error) {
	id, err := f.enrolment(ctx, idOrSerial)
	if err != nil {
		return CommandAnswer{}, err
	}
	missing := answer.NotFound(fmt.Sprintf("there is no command %q of this device (any more)", uuid))
	if f.o.Commands == nil {
		return CommandAnswer{}, missing
	}
	c, err := f.o.Commands.Command(ctx, id, uuid)
	if errors.Is(err, ErrNotFound) {
		err = missing
	}
	return c, err
}
