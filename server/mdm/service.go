package mdm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"

	"plimsoll/server/fleet"
)

// visit is the outermost service, one for each request: it lets pass only messages that say who sends them, and knows
// afterwards whether one did, and whose it was.
type visit struct {
	service.CheckinAndCommandService
	id string // of the sender; empty until a message said it
}

var errNobody = errors.New("the message does not say which Mac sends it")

func (v *visit) from(e *mdm.Enrollment) error {
	r := e.Resolved()
	if r == nil || r.Validate() != nil || r.IsUserChannel && r.UserChannelID == "" {
		return errNobody
	}
	v.id = r.DeviceChannelID
	if r.IsUserChannel {
		v.id += ":" + r.UserChannelID
	}
	return nil
}

func (v *visit) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	if err := v.from(&m.Enrollment); err != nil {
		return err
	}
	return v.CheckinAndCommandService.Authenticate(r, m)
}

func (v *visit) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	if err := v.from(&m.Enrollment); err != nil {
		return err
	}
	return v.CheckinAndCommandService.TokenUpdate(r, m)
}

func (v *visit) CheckOut(r *mdm.Request, m *mdm.CheckOut) error {
	if err := v.from(&m.Enrollment); err != nil {
		return err
	}
	return v.CheckinAndCommandService.CheckOut(r, m)
}

func (v *visit) UserAuthenticate(r *mdm.Request, m *mdm.UserAuthenticate) ([]byte, error) {
	if err := v.from(&m.Enrollment); err != nil {
		return nil, err
	}
	return v.CheckinAndCommandService.UserAuthenticate(r, m)
}

func (v *visit) SetBootstrapToken(r *mdm.Request, m *mdm.SetBootstrapToken) error {
	if err := v.from(&m.Enrollment); err != nil {
		return err
	}
	return v.CheckinAndCommandService.SetBootstrapToken(r, m)
}

func (v *visit) GetBootstrapToken(r *mdm.Request, m *mdm.GetBootstrapToken) (*mdm.BootstrapToken, error) {
	if err := v.from(&m.Enrollment); err != nil {
		return nil, err
	}
	return v.CheckinAndCommandService.GetBootstrapToken(r, m)
}

func (v *visit) DeclarativeManagement(r *mdm.Request, m *mdm.DeclarativeManagement) ([]byte, error) {
	if err := v.from(&m.Enrollment); err != nil {
		return nil, err
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

// lives wraps NanoMDM's core, inside certauth: it tells the fleet of contacts, and of what happened to a Mac once the core has kept it.
// A message whose telling failed is answered with an error, so that the Mac repeats it; the core takes it twice.
type lives struct {
	service.CheckinAndCommandService
	fleet *fleet.Fleet
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
	return s.fleet.Authenticate(r.Context(), id, checkInOf(m))
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
	return s.CheckinAndCommandService.DeclarativeManagement(r, m)
}

// CommandAndReportResults takes the answers to DeviceInformation, and notes commands to sync that a Mac refused.
func (s *lives) CommandAndReportResults(r *mdm.Request, m *mdm.CommandResults) (*mdm.Command, error) {
	id, itself := device(&m.Enrollment)
	s.fleet.Contact(id)
	next, err := s.CheckinAndCommandService.CommandAndReportResults(r, m)
	if refused := m.Status == "Error" || m.Status == "CommandFormatError"; err == nil && itself && refused && strings.HasPrefix(m.CommandUUID, syncCommand) {
		if err := s.fleet.CommandFailed(r.Context(), id); err != nil {
			return nil, err
		}
	}
	if err != nil || !itself || m.Status != "Acknowledged" || !bytes.Contains(m.Raw, []byte("QueryResponses")) {
		return next, err
	}
	if answers := queryResponses(m.Raw); len(answers) > 0 {
		if err := s.fleet.DeviceAnswer(r.Context(), id, answers); err != nil {
			return nil, fmt.Errorf("DeviceInformation: %w", err)
		}
	}
	return next, nil
}
