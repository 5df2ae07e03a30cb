// Package message reads what Macs say in check-ins and in answers to commands, which are property lists.
package message

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/micromdm/plist"

	"plimsoll/status"
)

const (
	maxTags  = 4096 // start and end tags of a message that is not looked at for its depth
	maxDepth = 64   // of a message; Apple's go 6 deep
	maxChain = 16   // links of an ErrorChain that are kept; real ones have one or two
	maxSaid  = 4096 // bytes of each link's text
	maxName  = 300  // bytes of each link's domain
)

// Check refuses what the plist library must not see. Macs send XML; in the binary form that library follows
// references in circles and believes any length, both of which end the process. Its XML reader calls itself for every level.
func Check(body []byte) error {
	if bytes.HasPrefix(body, []byte("bplist")) {
		return errors.New("the property list is binary, only XML is taken")
	}
	if bytes.Count(body, []byte("<")) <= maxTags {
		return nil
	}
	for dec, depth := xml.NewDecoder(bytes.NewReader(body)), 0; ; {
		token, err := dec.Token()
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the property list: %w", err)
		case depth > maxDepth:
			return fmt.Errorf("the property list is more than %d levels deep", maxDepth)
		}
	}
}

// CheckIn takes what Authenticate says of the Mac, also what NanoMDM does not read. A value that is no text is not told. ok is
// false when the message cannot be read at all.
func CheckIn(raw []byte) (c status.CheckIn, ok bool) {
	var all map[string]any
	if err := plist.Unmarshal(raw, &all); err != nil {
		return status.CheckIn{}, false
	}
	get := func(keys ...string) string {
		for _, key := range keys {
			if text, _ := all[key].(string); text != "" {
				return text
			}
		}
		return ""
	}
	return status.CheckIn{
		UDID: get("UDID"), Serial: get("SerialNumber"), Name: get("DeviceName"),
		Model: get("ProductName", "Model"), ModelName: get("ModelName"),
		Version: get("OSVersion"), Build: get("BuildVersion"),
		SupplementalBuild: get("SupplementalBuildVersion"), Letter: get("SupplementalOSVersionExtra"),
	}, true
}

// MachineInfo reads what a Mac says of itself in Setup Assistant. A value that is no text, or too long for one, is not told.
func MachineInfo(raw []byte) (m status.MachineInfo, err error) {
	if err := Check(raw); err != nil {
		return m, fmt.Errorf("MachineInfo: %w", err)
	}
	var all map[string]any
	if err := plist.Unmarshal(raw, &all); err != nil {
		return m, errors.New("MachineInfo is not a property list with a dictionary")
	}
	get := func(key string) string {
		text, _ := all[key].(string)
		if len(text) > maxName || strings.ContainsFunc(text, unicode.IsControl) {
			return ""
		}
		return strings.TrimSpace(text)
	}
	m = status.MachineInfo{
		Serial: get("SERIAL"), UDID: get("UDID"), Model: get("PRODUCT"), Version: get("OS_VERSION"), Build: get("VERSION"),
		SupplementalBuild: get("SUPPLEMENTAL_BUILD_VERSION"), Letter: get("SUPPLEMENTAL_OS_VERSION_EXTRA"),
		Board: get("SOFTWARE_UPDATE_DEVICE_ID"),
	}
	m.CanUpdate, _ = all["MDM_CAN_REQUEST_SOFTWARE_UPDATE"].(bool)
	if m.Serial == "" {
		return m, errors.New("MachineInfo has no SERIAL")
	}
	return m, nil
}

// Errors is why a Mac refused a command, in Apple's words and whole.
func Errors(raw []byte) []status.ChainError {
	var answer struct {
		ErrorChain []struct {
			ErrorCode                                               int
			ErrorDomain, LocalizedDescription, USEnglishDescription string
		}
	}
	if err := plist.Unmarshal(raw, &answer); err != nil {
		return []status.ChainError{}
	}
	chain := make([]status.ChainError, 0, min(len(answer.ErrorChain), maxChain))
	for _, e := range answer.ErrorChain[:min(len(answer.ErrorChain), maxChain)] {
		said := e.USEnglishDescription
		if said == "" {
			said = e.LocalizedDescription
		}
		chain = append(
			chain,
			status.ChainError{Code: e.ErrorCode, Domain: Clip(e.ErrorDomain, maxName), Description: Clip(said, maxSaid)},
		)
	}
	return chain
}

// Answer is an answer to a command as a decoded property list; empty when it cannot be decoded.
func Answer(raw []byte) map[string]any {
	answer := map[string]any{}
	if err := plist.Unmarshal(raw, &answer); err != nil || answer == nil {
		return map[string]any{}
	}
	return answer
}

// HasBootstrapToken tells whether a SetBootstrapToken message carries a token; an empty one takes it back.
func HasBootstrapToken(raw []byte) bool {
	var m struct{ BootstrapToken []byte }
	return plist.Unmarshal(raw, &m) == nil && len(m.BootstrapToken) > 0
}

// Clip cuts a text of a Mac's after n bytes.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Command is a command as a Mac gets it.
type Command struct {
	CommandUUID string
	Command     Request
}

// Request is what a command asks for.
type Request struct {
	RequestType string
	Data        []byte   `plist:",omitempty"`
	Queries     []string `plist:",omitempty"`
	Updates     []Update `plist:",omitempty"`
}

// Update is an item of a ScheduleOSUpdate (rules 14).
type Update struct{ InstallAction, ProductVersion string }

// The request types of update commands.
const (
	ScheduleOSUpdate = "ScheduleOSUpdate"
	OSUpdateStatus   = "OSUpdateStatus"
)

// Updates tells whether a command of that type is an update command.
func Updates(requestType string) bool {
	return requestType == ScheduleOSUpdate || requestType == OSUpdateStatus
}

// UpdateRequest is what an update command asks for: one action for one version, or without a version how far updates have come.
func UpdateRequest(action, version string) Request {
	if version == "" {
		return Request{RequestType: OSUpdateStatus}
	}
	return Request{RequestType: ScheduleOSUpdate, Updates: []Update{{action, version}}}
}

// Encode is the command as a property list.
func (c Command) Encode() ([]byte, error) {
	raw, err := plist.MarshalIndent(c, "\t")
	if err != nil {
		return nil, fmt.Errorf("encode a %s command: %w", c.Command.RequestType, err)
	}
	return raw, nil
}
