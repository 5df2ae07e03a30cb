package mdm

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/message"
)

// visit is the outermost service, one for each request: it lets pass only messages that say who sends them, and knows
// afterwards whether one did, and whose it was.
type visit struct {
	service.CheckinAndCommandService
	id   string            // of the sender; empty until a message said it
	cert *x509.Certificate // of the sender, once it is trusted
}

var errNobody = errors.New("the message does not say which Mac sends it")

func (v *visit) from(e *mdm.Enrollment) error {
	r := e.Resolved()
	if r == nil || r.Validate() != nil || r.IsUserChannel && r.UserChannelID == "" {
		return errNobody
	}
	if !fleet.IsDeviceID(r.DeviceChannelID) {
		return fmt.Errorf("%w: %.80q is not the identifier of an Apple device", errNobody, r.DeviceChannelID)
	}
	v.id = r.DeviceChannelID
	if r.IsUserChannel {
		v.id += ":" + r.UserChannelID
	}
	return nil
}

func (v *visit) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	if err := cmp.Or(v.from(&m.Enrollment), small(m.Raw)); err != nil {
		return err
	}
	return v.CheckinAndCommandService.Authenticate(r, m)
}

func (v *visit) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	if err := cmp.Or(v.from(&m.Enrollment), small(m.Raw)); err != nil {
		return err
	}
	return v.CheckinAndCommandService.TokenUpdate(r, m)
}

func (v *visit) CheckOut(r *mdm.Request, m *mdm.CheckOut) error {
	if err := cmp.Or(v.from(&m.Enrollment), small(m.Raw)); err != nil {
		return err
	}
	return v.CheckinAndCommandService.CheckOut(r, m)
}

func (v *visit) UserAuthenticate(r *mdm.Request, m *mdm.UserAuthenticate) ([]byte, error) {
	if err := cmp.Or(v.from(&m.Enrollment), small(m.Raw)); err != nil {
		return nil, err
	}
	return v.CheckinAndCommandService.UserAuthenticate(r, m)
}

func (v *visit) SetBootstrapToken(r *mdm.Request, m *mdm.SetBootstrapToken) error {
	if err := cmp.Or(v.from(&m.Enrollment), small(m.Raw)); err != nil {
		return err
	}
	return v.CheckinAndCommandService.SetBootstrapToken(r, m)
}

func (v *visit) GetBootstrapToken(r *mdm.Request, m *mdm.GetBootstrapToken) (*mdm.BootstrapToken, error) {
	if err := cmp.Or(v.from(&m.Enrollment), small(m.Raw)); err != nil {
		return nil, err
	}
	return v.CheckinAndCommandService.GetBootstrapToken(r, m)
}

func (v *visit) DeclarativeManagement(r *mdm.Request, m *mdm.DeclarativeManagement) ([]byte, error) {
	if err := v.from(&m.Enrollment); err != nil {
		return nil, err
	}
	if m.Endpoint != "status" {
		if err := small(m.Raw); err != nil {
			return nil, err
		}
	}
	return v.CheckinAndCommandService.DeclarativeManagement(r, m)
}

// GetToken refuses: there is no kind of token that this server gives out.
func (v *visit) GetToken(*mdm.Request, *mdm.GetToken) (*mdm.GetTokenResponse, error) {
	return nil, errors.New("no token of any kind is given out")
}

func (v *visit) CommandAndReportResults(r *mdm.Request, m *mdm.CommandResults) (*mdm.Command, error) {
	if err := v.from(&m.Enrollment); err != nil {
		return nil, err
	}
	return v.CheckinAndCommandService.CommandAndReportResults(r, m)
}

// lives wraps NanoMDM's core, inside certauth: it tells the fleet of contacts, and of what happened to a Mac once the core has
// kept it. A message whose telling failed is answered with an error, so that the Mac repeats it; the core takes it twice.
type lives struct {
	service.CheckinAndCommandService
	fleet    *fleet.Fleet
	notifier *Notifier
	sender   *sender
	log      *slog.Logger
}

// device is the id of the device channel, and whether the message came on it.
func device(e *mdm.Enrollment) (id string, itself bool) {
	r := e.Resolved()
	if r == nil {
		return "", false
	}
	return r.DeviceChannelID, !r.IsUserChannel
}

// Authenticate begins a new life.
func (s *lives) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	if err := s.CheckinAndCommandService.Authenticate(r, m); err != nil {
		return err
	}
	id, itself := device(&m.Enrollment)
	if !itself {
		return nil
	}
	c, ok := message.CheckIn(m.Raw)
	if !ok { // NanoMDM could read it
		c = fleet.CheckIn{UDID: m.UDID, Serial: m.SerialNumber}
	}
	c.Identity = s.sender.identity(r.Certificate)
	return s.fleet.Authenticate(r.Context(), id, c)
}

// TokenUpdate completes an enrolment.
func (s *lives) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	id, itself := device(&m.Enrollment)
	s.fleet.Contact(id)
	if err := s.CheckinAndCommandService.TokenUpdate(r, m); err != nil || !itself {
		return err
	}
	return s.fleet.TokenUpdate(r.Context(), id, m.Topic)
}

// CheckOut ends an enrolment.
func (s *lives) CheckOut(r *mdm.Request, m *mdm.CheckOut) error {
	if err := s.CheckinAndCommandService.CheckOut(r, m); err != nil {
		return err
	}
	id, itself := device(&m.Enrollment)
	if !itself {
		return nil
	}
	return s.fleet.CheckOut(r.Context(), id)
}

// UserAuthenticate is contact, no more.
func (s *lives) UserAuthenticate(r *mdm.Request, m *mdm.UserAuthenticate) ([]byte, error) {
	id, _ := device(&m.Enrollment)
	s.fleet.Contact(id)
	return s.CheckinAndCommandService.UserAuthenticate(r, m)
}

// SetBootstrapToken escrows the bootstrap token, or takes it back when it is empty.
func (s *lives) SetBootstrapToken(r *mdm.Request, m *mdm.SetBootstrapToken) error {
	id, itself := device(&m.Enrollment)
	s.fleet.Contact(id)
	if err := s.CheckinAndCommandService.SetBootstrapToken(r, m); err != nil || !itself {
		return err
	}
	return s.fleet.BootstrapToken(r.Context(), id, len(m.BootstrapToken.BootstrapToken) > 0)
}

// GetBootstrapToken is contact, no more.
func (s *lives) GetBootstrapToken(r *mdm.Request, m *mdm.GetBootstrapToken) (*mdm.BootstrapToken, error) {
	id, _ := device(&m.Enrollment)
	s.fleet.Contact(id)
	return s.CheckinAndCommandService.GetBootstrapToken(r, m)
}

// DeclarativeManagement is contact; the contact comes first, since it may end a silence (rules 6.4).
func (s *lives) DeclarativeManagement(r *mdm.Request, m *mdm.DeclarativeManagement) ([]byte, error) {
	id, _ := device(&m.Enrollment)
	s.fleet.Contact(id)
	topic := func(ctx context.Context) (string, error) { return s.notifier.store.Topic(ctx, id) }
	if err := s.fleet.Identified(r.Context(), id, s.sender.identity(r.Certificate), topic); err != nil {
		s.log.Debug("the identity of a Mac was not written down", "mac", id, "error", err)
	}
	return s.CheckinAndCommandService.DeclarativeManagement(r, m)
}

// CommandAndReportResults takes the answers to commands that were sent and are awaited; others are odd, and nothing is taken
// from them. The fleet takes an answer before the queue does, so that a Mac whose answer failed half-way repeats it to both.
// What is told by command is queued before the next command is chosen, and noted once it is handed out.
func (s *lives) CommandAndReportResults(r *mdm.Request, m *mdm.CommandResults) (*mdm.Command, error) {
	id, itself := device(&m.Enrollment)
	s.fleet.Contact(id)
	if !itself {
		return s.CheckinAndCommandService.CommandAndReportResults(r, m)
	}
	if err := s.answered(r.Context(), id, m); err != nil {
		return nil, err
	}
	next, err := s.CheckinAndCommandService.CommandAndReportResults(r, m)
	if err == nil && next != nil && message.Updates(next.Command.RequestType) {
		err = s.fleet.CommandFetched(r.Context(), id, next.CommandUUID)
	}
	return next, err
}

// answered tells the fleet of an answer to a command that is awaited, and that the Mac asks for the next one.
func (s *lives) answered(ctx context.Context, id string, m *mdm.CommandResults) error {
	if m.Status == "Idle" {
		return s.fleet.Polled(ctx, id)
	}
	requestType, awaited, err := s.notifier.store.Awaited(ctx, id, m.CommandUUID)
	switch {
	case err != nil:
		return err
	case !awaited:
		s.notifier.count.Unawaited.Add(1)
		s.log.Info(
			"a Mac answered a command that is not awaited",
			"mac",
			id,
			"command",
			clip(m.CommandUUID),
			"status",
			clip(m.Status),
		)
		return s.fleet.Polled(ctx, id)
	case message.Updates(requestType):
		answer := message.Answer(m.Raw)
		answer["CommandUUID"], answer["Status"] = m.CommandUUID, m.Status // as NanoMDM read them
		return s.fleet.CommandAnswer(ctx, id, answer)
	case m.Status == "NotNow":
		return s.fleet.Polled(ctx, id)
	}
	if err := s.took(ctx, id, requestType, m); err != nil {
		return err
	}
	return s.fleet.Polled(ctx, id)
}

// took takes the answer to a command that is none to update.
func (s *lives) took(ctx context.Context, id, requestType string, m *mdm.CommandResults) error {
	if m.Status != "Acknowledged" {
		return s.fleet.CommandFailed(ctx, id, fleet.CommandFailure{
			UUID: m.CommandUUID, RequestType: requestType, Status: clip(m.Status), Errors: message.Errors(m.Raw),
		})
	}
	if requestType == deviceInformation || requestType == securityInfo {
		if err := s.fleet.DeviceAnswer(ctx, id, message.Answer(m.Raw)); err != nil {
			return fmt.Errorf("%s: %w", requestType, err)
		}
	}
	return s.fleet.CommandTaken(ctx, id, requestType)
}
