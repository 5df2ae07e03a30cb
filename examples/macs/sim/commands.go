package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/micromdm/plist"
)

// maxCommands bounds how many commands one connection works off.
const maxCommands = 200

type commandPlist struct {
	CommandUUID string
	Command     struct {
		RequestType string
		Data        []byte
		Queries     []string
	}
}

type resultMessage struct {
	enrolment
	Status         string
	CommandUUID    string         `plist:",omitempty"`
	RequestType    string         `plist:",omitempty"`
	ErrorChain     []chainItem    `plist:",omitempty"`
	QueryResponses map[string]any `plist:",omitempty"`
	SecurityInfo   map[string]any `plist:",omitempty"`
}

type chainItem struct {
	ErrorCode            int
	ErrorDomain          string
	LocalizedDescription string
	USEnglishDescription string
}

// Poll connects as after a push, works off the command queue, and then syncs when a command asked for it. A server
// that forgot the Mac answers 400; the Mac goes on asking.
func (m *Mac) Poll(ctx context.Context) error {
	if m.Off() || !m.st.Enrolled {
		return nil
	}
	m.stats.Polls.Add(1)
	msg := resultMessage{enrolment: enrolment{UDID: m.st.Spec.UDID}, Status: "Idle"}
	for range maxCommands {
		a, err := m.putPlist(ctx, "command channel", m.st.Profile.ServerURL, typeMDM, msg)
		if err != nil {
			return err
		}
		if len(a.body) == 0 {
			if err := m.settle(ctx); err != nil {
				return err
			}
			return m.pollUser(ctx)
		}
		var cmd commandPlist
		if err := plist.Unmarshal(a.body, &cmd); err != nil {
			m.violate("command", "the command is not a property list: %v", err)
			return m.settle(ctx)
		}
		m.stats.Commands.Add(1)
		msg = m.execute(&cmd)
		m.log("command %s: %s", cmd.Command.RequestType, msg.Status)
	}
	m.violate("command", "more than %d commands in one connection", maxCommands)
	return m.settle(ctx)
}

// execute does what a command says and makes the answer.
func (m *Mac) execute(cmd *commandPlist) resultMessage {
	r := resultMessage{
		enrolment: enrolment{UDID: m.st.Spec.UDID}, CommandUUID: cmd.CommandUUID, Status: "Acknowledged",
	}
	if cmd.CommandUUID == "" {
		m.violate("command", "a command came without CommandUUID")
	}
	switch cmd.Command.RequestType {
	case "DeclarativeManagement":
		if !m.speaksDDM() {
			return unknownCommand(r, cmd.Command.RequestType)
		}
		m.commandSync(cmd.Command.Data)
	case "DeviceInformation":
		r.QueryResponses = m.deviceInformation(cmd.Command.Queries)
	case "SecurityInfo":
		silicon := m.st.Spec.Hardware.AppleSilicon
		r.SecurityInfo = map[string]any{
			"FDE_Enabled": true, "SystemIntegrityProtectionEnabled": true,
			"BootstrapTokenAllowedForAuthentication": "allowed", "BootstrapTokenRequiredForSoftwareUpdate": silicon,
			"BootstrapTokenRequiredForKernelExtensionApproval": silicon, "IsRecoveryLockEnabled": false,
		}
	case "":
		r.Status = "CommandFormatError"
		r.ErrorChain = []chainItem{{
			ErrorCode: 12021, ErrorDomain: "MCMDMErrorDomain",
			LocalizedDescription: "The command has no RequestType.", USEnglishDescription: "The command has no RequestType.",
		}}
	default:
		return unknownCommand(r, cmd.Command.RequestType)
	}
	return r
}

func unknownCommand(r resultMessage, requestType string) resultMessage {
	text := fmt.Sprintf("Unknown command: %s <MDMClientError:91>", requestType)
	r.Status = "Error"
	r.ErrorChain = []chainItem{
		{ErrorCode: 91, ErrorDomain: "MDMClientError", LocalizedDescription: text, USEnglishDescription: text},
	}
	return r
}

// commandSync notes what a DeclarativeManagement command asks; the sync follows when the queue is empty.
func (m *Mac) commandSync(data []byte) {
	if !m.st.DDM {
		m.st.DDM = true
		m.log("declarative management is on")
	}
	m.st.WantSync = true
	m.st.OfferedToken, m.st.OfferedStamp = "", ""
	if len(data) == 0 {
		return
	}
	t, err := m.parseTokens(data)
	if err != nil {
		m.violate("tokens", "the command's Data: %v", err)
		return
	}
	m.st.OfferedToken, m.st.OfferedStamp = t.SyncTokens.DeclarationsToken, t.SyncTokens.Timestamp
}

type tokensResponse struct {
	SyncTokens struct {
		DeclarationsToken string
		Timestamp         string
	}
}

const stampLayout = "2006-01-02T15:04:05Z"

// parseTokens reads a TokensResponse strictly.
func (m *Mac) parseTokens(b []byte) (*tokensResponse, error) {
	var t tokensResponse
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, err
	}
	token, stamp := t.SyncTokens.DeclarationsToken, t.SyncTokens.Timestamp
	if token == "" {
		return nil, errors.New("there is no DeclarationsToken")
	}
	if len(token) > 256 {
		return nil, fmt.Errorf("the DeclarationsToken has %d octets, 256 are allowed", len(token))
	}
	if ts, err := time.Parse(stampLayout, stamp); err != nil || ts.Format(stampLayout) != stamp {
		return nil, fmt.Errorf("the Timestamp %q is not of the form 2026-03-17T18:40:00Z", stamp)
	}
	return &t, nil
}

// deviceInformation answers the queries that it knows; others are left out, as macOS does.
func (m *Mac) deviceInformation(queries []string) map[string]any {
	s := m.st.Spec
	known := map[string]any{
		"UDID": s.UDID, "SerialNumber": s.Serial, "DeviceName": s.Name, "HostName": s.Name + ".local",
		"OSVersion": string(m.st.OS.Version), "BuildVersion": m.st.OS.Build,
		"Model": s.Hardware.Model, "ModelName": s.Hardware.Name, "ProductName": s.Hardware.Model,
		"IsSupervised": true, "IsAppleSilicon": s.Hardware.AppleSilicon,
		"SupplementalBuildVersion": m.st.OS.SupplementalBuild,
	}
	if m.st.OS.Letter != "" {
		known["SupplementalOSVersionExtra"] = "(" + m.st.OS.Letter + ")"
	} else {
		known["SupplementalBuildVersion"] = m.st.OS.Build
	}
	if m.major() < 27 { // removed with OS 27
		known["SoftwareUpdateDeviceID"] = s.Hardware.Board
	}
	out := map[string]any{}
	for _, q := range queries {
		if v, ok := known[q]; ok {
			out[q] = v
		}
	}
	return out
}
