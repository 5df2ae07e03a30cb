package companion

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/message"
)

// event is an event of NanoMDM's webhook, as far as it is read.
type event struct {
	Topic     string    `json:"topic"`
	CreatedAt time.Time `json:"created_at"`
	CheckIn   *struct {
		IDs   ids    `json:"ids"`
		Raw   []byte `json:"raw_payload"`
		Tally *int   `json:"token_update_tally"`
	} `json:"checkin_event"`
	Acknowledge *struct {
		IDs    ids    `json:"ids"`
		UUID   string `json:"command_uuid"`
		Status string `json:"status"`
		Raw    []byte `json:"raw_payload"`
	} `json:"acknowledge_event"`
}

type ids struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// device is the Mac that the event is about; ok is false when it is about none.
func (e *event) device() (id string, ok bool) {
	var of ids
	switch {
	case e.CheckIn != nil:
		of = e.CheckIn.IDs
	case e.Acknowledge != nil:
		of = e.Acknowledge.IDs
	}
	return of.ID, isDevice(of.Type) && fleet.IsDeviceID(of.ID)
}

// event takes an event. What is no event, or of a topic that is not known, is counted and taken: NanoMDM repeats nothing. A fault
// of ours is a 503, for the log over there. Payloads hold secrets: nothing of them is kept or logged.
func (l *Listener) event(ctx context.Context, body []byte) reply {
	var e event
	if json.Unmarshal(body, &e) != nil || !e.isWhole() {
		l.count.Odd.Add(1)
		return reply{status: http.StatusOK}
	}
	id, ok := e.device()
	if !ok { // a user channel, or a Shared iPad
		return reply{status: http.StatusOK}
	}
	if err := l.take(ctx, id, &e); err != nil {
		if ctx.Err() == nil {
			l.log.Warn("an event of the MDM server could not be taken", "mac", id, "topic", e.Topic, "error", err)
		}
		return reply{status: http.StatusServiceUnavailable}
	}
	return reply{status: http.StatusOK}
}

// isWhole tells whether it is an event: it has a topic that is known, a date, and what belongs to the topic.
func (e *event) isWhole() bool {
	if e.CreatedAt.IsZero() {
		return false
	}
	switch e.Topic {
	case "mdm.Connect":
		return e.Acknowledge != nil && e.Acknowledge.IDs.ID != ""
	case "mdm.Authenticate", "mdm.TokenUpdate", "mdm.CheckOut", "mdm.UserAuthenticate", "mdm.SetBootstrapToken",
		"mdm.GetBootstrapToken", "mdm.DeclarativeManagement", "mdm.GetToken":
		return e.CheckIn != nil && e.CheckIn.IDs.ID != ""
	}
	return false
}

// sighting is what an event says of its Mac.
func (e *event) sighting() fleet.Sighting {
	s := fleet.Sighting{Kind: fleet.Contacted, At: e.CreatedAt}
	switch e.Topic {
	case "mdm.Authenticate":
		s.Kind = fleet.Authenticated
		if message.Check(e.CheckIn.Raw) == nil {
			s.CheckIn, _ = message.CheckIn(e.CheckIn.Raw)
		}
	case "mdm.TokenUpdate":
		if s.Kind = fleet.LaterTokens; e.CheckIn.Tally != nil && *e.CheckIn.Tally == 1 {
			s.Kind = fleet.FirstTokens
		}
	case "mdm.CheckOut":
		s.Kind = fleet.CheckedOut
	case "mdm.SetBootstrapToken":
		escrowed := message.Check(e.CheckIn.Raw) == nil && message.HasBootstrapToken(e.CheckIn.Raw)
		s.Escrowed = &escrowed
	}
	return s
}

func (l *Listener) take(ctx context.Context, id string, e *event) error {
	taken, err := l.o.Fleet.Sighted(ctx, id, e.sighting())
	if err != nil {
		return err
	}
	if !taken {
		l.count.Dropped.Add(1)
		return nil
	}
	a := e.Acknowledge
	if a == nil {
		return nil
	}
	if a.Status != "Idle" {
		if err := l.answered(ctx, id, a.UUID, a.Status, a.Raw); err != nil {
			return err
		}
	}
	return l.o.Fleet.Polled(ctx, id)
}

const (
	deviceInformation = "DeviceInformation"
	securityInfo      = "SecurityInfo"
)

// answered takes the answer to a command of ours that is awaited; of others nothing is read.
func (l *Listener) answered(ctx context.Context, id, uuid, status string, raw []byte) error {
	c, awaited, err := l.o.Notifier.awaited(ctx, id, uuid)
	switch {
	case err != nil:
		return err
	case !awaited:
		l.count.Unawaited.Add(1)
		return nil
	case message.Updates(c.RequestType):
		return l.updateAnswered(ctx, id, uuid, status, raw)
	case status == "NotNow": // it stays where it is, and the Mac comes for it again
		return nil
	case message.Check(raw) != nil:
		raw = nil
	}
	switch {
	case status != "Acknowledged":
		err = l.o.Fleet.CommandFailed(ctx, id, fleet.CommandFailure{
			UUID: c.UUID, RequestType: c.RequestType, Status: message.Clip(status, 100), Errors: message.Errors(raw),
		})
	case c.RequestType == deviceInformation, c.RequestType == securityInfo:
		if err = l.o.Fleet.DeviceAnswer(ctx, id, message.Answer(raw)); err == nil {
			err = l.o.Fleet.CommandTaken(ctx, id, c.RequestType)
		}
	default:
		err = l.o.Fleet.CommandTaken(ctx, id, c.RequestType)
	}
	if err != nil {
		return fmt.Errorf("take the answer to a %s command: %w", c.RequestType, err)
	}
	return l.o.Notifier.answered(ctx, id, uuid)
}

// updateAnswered takes the answer to an update command.
func (l *Listener) updateAnswered(ctx context.Context, id, uuid, status string, raw []byte) error {
	if message.Check(raw) != nil {
		raw = nil
	}
	answer := message.Answer(raw)
	answer["CommandUUID"], answer["Status"] = uuid, status
	if err := l.o.Fleet.CommandAnswer(ctx, id, answer); err != nil || status == "NotNow" {
		return err
	}
	return l.o.Notifier.answered(ctx, id, uuid)
}
