package mdm

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/plist"

	"plimsoll/server/fleet"
)

const (
	maxTags  = 4096 // start and end tags of a message that is not looked at for its depth
	maxDepth = 64   // of a message; Apple's go 6 deep
)

// checkPlist refuses what the plist library must not see. Macs send XML; in the binary form that library follows
// references in circles and believes any length, both of which end the process. Its XML reader calls itself for every level.
func checkPlist(body []byte) error {
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

// checkInOf takes what Authenticate says of the Mac, also what NanoMDM does not read. A value that is no text is not told.
func checkInOf(m *mdm.Authenticate) fleet.CheckIn {
	var all map[string]any
	if err := plist.Unmarshal(m.Raw, &all); err != nil {
		return fleet.CheckIn{UDID: m.UDID, Serial: m.SerialNumber} // NanoMDM could read it
	}
	get := func(keys ...string) string {
		for _, key := range keys {
			if text, _ := all[key].(string); text != "" {
				return text
			}
		}
		return ""
	}
	return fleet.CheckIn{
		UDID: get("UDID"), Serial: get("SerialNumber"), Name: get("DeviceName"),
		Model: get("ProductName", "Model"), ModelName: get("ModelName"),
		Version: get("OSVersion"), Build: get("BuildVersion"),
		SupplementalBuild: get("SupplementalBuildVersion"), Letter: get("SupplementalOSVersionExtra"),
	}
}

// errorChain is why a Mac refused a command, in Apple's words and whole.
func errorChain(m *mdm.CommandResults) []fleet.ChainError {
	chain := make([]fleet.ChainError, 0, min(len(m.ErrorChain), maxChain))
	for _, e := range m.ErrorChain[:min(len(m.ErrorChain), maxChain)] {
		said := e.USEnglishDescription
		if said == "" {
			said = e.LocalizedDescription
		}
		chain = append(
			chain,
			fleet.ChainError{Code: e.ErrorCode, Domain: clipTo(e.ErrorDomain, maxLogged), Description: clipTo(said, maxSaid)},
		)
	}
	return chain
}

const (
	maxChain = 16   // links of an ErrorChain that are kept; real ones have one or two
	maxSaid  = 4096 // bytes of each link's text
)

// identityOf is the certificate of a Mac as the fleet keeps it.
func identityOf(cert *x509.Certificate) fleet.Identity {
	print := fingerprintOf(cert)
	return fleet.Identity{
		Fingerprint: hex.EncodeToString(print[:]),
		IssuedAt:    cert.NotBefore.UTC(),
		ExpiresAt:   cert.NotAfter.UTC(),
	}
}

// queryResponses are the texts among the answers to a DeviceInformation command.
func queryResponses(raw []byte) map[string]string {
	var answer struct{ QueryResponses map[string]any }
	if err := plist.Unmarshal(raw, &answer); err != nil {
		return nil
	}
	texts := make(map[string]string, len(answer.QueryResponses))
	for name, v := range answer.QueryResponses {
		if text, ok := v.(string); ok {
			texts[name] = text
		}
	}
	return texts
}
