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
	c.Identity = identityOf(r.Certificate)
	return s.fleet.Authenticate(r.Context(), id, c)
}

// TokenUpdate completes an enrolment.
func (s *lives) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	id, itself := device(&m.Enrollment)
	s.fleet.Contact(id)
	if err := s.CheckinAndCommandService.TokenUpdate(r, m); err != nil || !itself {
		return err
	}
	return s.fleet.TokenUpdate(r.Context(), id)
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
	if err := s.fleet.Identified(r.Context(), id, identityOf(r.Certificate)); err != nil {
		s.log.Debug("the identity of a Mac was not written down", "mac", id, "error", err)
	}
	return s.CheckinAndCommandService.DeclarativeManagement(r, m)
}

// CommandAndReportResults takes the answers to commands that were sent and are awaited; others are odd, and nothing is taken
// from them. The fleet takes an answer before the queue does, so that a Mac whose answer failed half-way repeats it to both.
func (s *lives) CommandAndReportResults(r *mdm.Request, m *mdm.CommandResults) (*mdm.Command, error) {
	id, itself := device(&m.Enrollment)
	s.fleet.Contact(id)
	if itself && m.Status != "Idle" && m.Status != "NotNow" {
		if err := s.answered(r.Context(), id, m); err != nil {
			return nil, err
		}
	}
	return s.CheckinAndCommandService.CommandAndReportResults(r, m)
}

// answered tells the fleet of an answer to a command that is awaited.
func (s *lives) answered(ctx context.Context, id string, m *mdm.CommandResults) error {
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
		return nil
	case m.Status != "Acknowledged":
		return s.fleet.CommandFailed(ctx, id, fleet.CommandFailure{
			UUID: m.CommandUUID, RequestType: requestType, Status: clip(m.Status), Errors: message.Errors(m.Raw),
		})
	}
	if requestType == deviceInformation {
		if answers := message.QueryResponses(m.Raw); len(answers) > 0 {
			if err := s.fleet.DeviceAnswer(ctx, id, answers); err != nil {
				return fmt.Errorf("DeviceInformation: %w", err)
			}
		}
	}
	return s.fleet.CommandTaken(ctx, id, requestType)
}
