package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// reconsider applies what the Mac holds: verdicts on every declaration, then what is to be installed.
func (m *Mac) reconsider() {
	referenced := map[string]bool{}
	for _, key := range sortedKeys(m.st.Held) {
		h := m.st.Held[key]
		if h.Kind != "activation" {
			continue
		}
		var missing []string
		refs := standardConfigurations(h.Payload)
		for _, id := range refs {
			if _, ok := m.st.Held["configuration/"+id]; !ok {
				missing = append(missing, id)
			}
		}
		h.Active, h.Valid, h.Reasons = true, "valid", nil
		if len(missing) > 0 {
			h.Active, h.Valid = false, "invalid"
			h.Reasons = []reason{{
				Code: "Error.MissingConfigurations", Description: "Activation is missing configurations",
				Details: map[string]any{"ConfigurationIdentifiers": missing},
			}}
		} else {
			for _, id := range refs {
				referenced[id] = true
			}
		}
		m.st.Held[key] = h
	}
	for _, key := range sortedKeys(m.st.Held) {
		h := m.st.Held[key]
		switch h.Kind {
		case "configuration":
			m.judge(&h, referenced[h.Identifier])
		case "management", "asset":
			h.Active, h.Valid = true, "valid"
		}
		m.st.Held[key] = h
	}
	m.schedule()
}

// judge gives a configuration its verdict.
func (m *Mac) judge(h *held, referenced bool) {
	if !slices.Contains(m.capabilities().SupportedPayloads.Declarations.Configurations, h.Type) {
		h.Active, h.Valid = false, "invalid"
		h.Reasons = []reason{{
			Code: "Error.ConfigurationNotSupported", Description: "Configuration is not supported",
			Details: map[string]any{"Identifier": h.Identifier, "ServerToken": h.ServerToken},
		}}
		return
	}
	if !referenced {
		h.Active, h.Valid = false, "unknown"
		h.Reasons = []reason{{
			Code:        "Info.NotReferencedByActivation",
			Description: fmt.Sprintf("Configuration “%s:%s” is not referenced by an activation.", h.Identifier, h.ServerToken),
			Details:     map[string]any{"Identifier": h.Identifier, "ServerToken": h.ServerToken},
		}}
		return
	}
	if h.Judged {
		h.Active = true
		return
	}
	h.Active, h.Valid, h.Reasons = true, "valid", nil
	if h.Type != declarations.TypeEnforcement {
		return
	}
	h.Judged = true
	text := m.Faults.Reject
	if text == "" {
		text = m.objection(h)
	}
	if text == "" {
		return
	}
	h.Valid = "invalid"
	h.Reasons = []reason{{
		Code: "Error.ConfigurationCannotBeApplied", Description: "Configuration cannot be applied",
		Details: map[string]any{"Error": text},
	}}
	m.stats.Rejected.Add(1)
	m.log("rejects %s: %s", h.Identifier, text)
}

const invalidDeclaration = "[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: "

// objection is macOS's text for an enforcement that it cannot apply, empty for one that it can.
func (m *Mac) objection(h *held) string {
	var e enforcement
	if err := json.Unmarshal(h.Payload, &e); err != nil {
		return invalidDeclaration + "the payload cannot be read"
	}
	v, err := release.ParseVersion(e.TargetOSVersion)
	if err != nil {
		return fmt.Sprintf("%starget OS version (%s) has an invalid format", invalidDeclaration, e.TargetOSVersion)
	}
	cur := m.st.OS
	c := v.Compare(cur.Version)
	switch {
	case c < 0:
		return fmt.Sprintf("%starget OS version (%s) is older than current version (%s)", invalidDeclaration, v, cur.Version)
	case c > 0:
		return ""
	case e.TargetBuildVersion == "" || e.TargetBuildVersion == cur.Build:
		return fmt.Sprintf("%starget OS version (%s) is the same as current version (%s)", invalidDeclaration, v, cur.Version)
	case e.TargetBuildVersion == cur.SupplementalBuild:
		return fmt.Sprintf(
			"%starget build version (%s) is the same as current build version (%s)",
			invalidDeclaration,
			e.TargetBuildVersion,
			cur.SupplementalBuild,
		)
	}
	return ""
}

// enforcements are the active enforcement declarations, the earliest deadline first, as macOS takes them.
func (m *Mac) enforcements() []enforcement {
	var out []enforcement
	for _, h := range m.st.Held {
		var e enforcement
		if h.Type != declarations.TypeEnforcement || json.Unmarshal(h.Payload, &e) != nil {
			continue
		}
		e.id, e.token = h.Identifier, h.ServerToken
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b enforcement) int {
		if c := strings.Compare(a.TargetLocalDateTime, b.TargetLocalDateTime); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return out
}

// target is what an enforcement makes the Mac install.
type target struct {
	id, token string
	os        OS // what it will run then
	bsi       bool
	local     string
}

// pending is the version as pending-version names it.
func (t target) pending() (version, build string) {
	if t.bsi {
		return fmt.Sprintf("%s (%s)", t.os.Version, t.os.Letter), t.os.SupplementalBuild
	}
	return string(t.os.Version), t.os.Build
}

// wanted is what is to be installed now. An enforcement whose target Apple does not offer to this Mac stays active, and
// nothing comes of it.
func (m *Mac) wanted() (target, bool) {
	for _, e := range m.enforcements() {
		h := m.st.Held["configuration/"+e.id]
		if !h.Active || h.Valid != "valid" {
			continue
		}
		v, err := release.ParseVersion(e.TargetOSVersion)
		if err != nil {
			continue
		}
		t := target{id: e.id, token: e.token, local: e.TargetLocalDateTime}
		cur := m.st.OS
		if bsi, ok := m.opt.World.bsi(e.TargetBuildVersion); ok {
			if bsi.Version.Compare(v) != 0 || bsi.PrerequisiteBuild != cur.Build || bsi.Letter <= cur.Letter ||
				!slices.Contains(bsi.Devices, m.st.Spec.Hardware.Board) {
				continue
			}
			t.bsi = true
			t.os = OS{Version: cur.Version, Build: cur.Build, Letter: bsi.Letter, SupplementalBuild: bsi.Build}
			return t, true
		}
		if v.Compare(cur.Version) <= 0 {
			continue // fulfilled: ignored
		}
		r, ok := m.opt.World.release(v, e.TargetBuildVersion, m.st.Spec.Hardware.Board)
		if !ok {
			continue
		}
		t.os = OS{Version: r.Version, Build: r.Build}
		return t, true
	}
	return target{}, false
}

// deadline is the instant at which the Mac's own wall clock shows a local time.
func (m *Mac) deadline(local string) time.Time {
	l, err := declarations.ParseLocal(local)
	if err != nil {
		return m.now()
	}
	return l.At(m.st.Spec.Zone).Add(-m.Faults.ClockSkew)
}
