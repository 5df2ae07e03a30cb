package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"plimsoll/server/fleet/answer"
)

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
