package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/micromdm/plist"
)

const userCapability = "com.apple.mdm.per-user-connections"

// userEnrolment is what the user channel's messages carry.
func (m *Mac) userEnrolment() enrolment {
	s := m.st.Spec
	sum := sha256.Sum256(fmt.Appendf(nil, "user %s %s", s.UDID, s.User))
	h := strings.ToUpper(hex.EncodeToString(sum[:16]))
	return enrolment{
		UDID:   s.UDID,
		UserID: h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], UserShortName: s.User, UserLongName: s.User,
	}
}

func (m *Mac) hasUser() bool {
	return m.st.Spec.User != "" && slices.Contains(m.st.Profile.ServerCapabilities, userCapability)
}

// userLogin opens the user channel, when the Mac has a managed user and the server wants such channels.
func (m *Mac) userLogin(ctx context.Context) error {
	if !m.hasUser() {
		return nil
	}
	token := sha256.Sum256(fmt.Appendf(nil, "user token %s", m.st.Spec.UDID))
	_, err := m.checkin(ctx, "TokenUpdate of the user channel", tokenUpdateMessage{
		enrolment: m.userEnrolment(), MessageType: "TokenUpdate", Topic: m.st.Profile.Topic,
		PushMagic: m.st.PushMagic, Token: token[:],
	})
	if err != nil {
		return err
	}
	m.st.UserOpen = true
	return nil
}

// pollUser works off the command queue of the user channel. Software updates belong to the device channel, so a user
// channel has nothing to hold.
func (m *Mac) pollUser(ctx context.Context) error {
	if !m.hasUser() {
		return nil
	}
	if !m.st.UserOpen {
		if err := m.userLogin(ctx); err != nil {
			return err
		}
	}
	msg := resultMessage{enrolment: m.userEnrolment(), Status: "Idle"}
	for range maxCommands {
		a, err := m.putPlist(ctx, "command channel of the user", m.st.Profile.ServerURL, typeMDM, msg)
		if err != nil {
			return err
		}
		if len(a.body) == 0 {
			return nil
		}
		var cmd commandPlist
		if err := plist.Unmarshal(a.body, &cmd); err != nil {
			m.violate("command", "the command is not a property list: %v", err)
			return nil
		}
		m.stats.Commands.Add(1)
		msg = resultMessage{enrolment: m.userEnrolment(), CommandUUID: cmd.CommandUUID, Status: "Acknowledged"}
		if cmd.Command.RequestType != "DeclarativeManagement" || !m.speaksDDM() {
			msg = unknownCommand(msg, cmd.Command.RequestType)
			continue
		}
		if err := m.syncUser(ctx); err != nil {
			return err
		}
	}
	return nil
}

// syncUser is a sync of the user channel.
func (m *Mac) syncUser(ctx context.Context) error {
	as := m.userEnrolment()
	report, err := json.Marshal(statusReport{
		StatusItems: map[string]any{"management": map[string]any{"client-capabilities": m.capabilities()}}, Errors: []itemError{},
	})
	if err != nil {
		return fmt.Errorf("status report of the user channel: %w", err)
	}
	a, err := m.ddmAs(ctx, as, "status", report)
	if err != nil {
		return err
	}
	if len(a.body) != 0 {
		m.violate("status", "a status report of the user channel was answered with a body")
	}
	if a, err = m.ddmAs(ctx, as, "tokens", nil); err != nil {
		return err
	}
	tokens, err := m.parseTokens(a.body)
	if err != nil {
		m.violate("tokens", "user channel: %v", err)
		return nil
	}
	if a, err = m.ddmAs(ctx, as, "declaration-items", nil); err != nil {
		return err
	}
	var items itemsResponse
	if err := json.Unmarshal(a.body, &items); err != nil {
		m.violate("items", "user channel: declaration-items are not JSON of the right form: %v", err)
		return nil
	}
	if n := len(m.checkItems(&items)); n > 0 {
		m.violate("user-channel", "the user channel is to hold %d declarations; software updates belong to the device channel", n)
	}
	if items.DeclarationsToken != tokens.SyncTokens.DeclarationsToken {
		m.violate("agree", "user channel: tokens and declaration-items have different tokens")
	}
	return nil
}
