package sim

import (
	"encoding/json"
	"iter"
	"net/url"
	"slices"
	"strings"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

func sortStrings(seq iter.Seq[string]) []string { return slices.Sorted(seq) }

// checkItems checks a manifest and lists what is in it.
func (m *Mac) checkItems(r *itemsResponse) []held {
	if r.DeclarationsToken == "" || len(r.DeclarationsToken) > 256 {
		m.violate("items", "the DeclarationsToken has %d octets, between 1 and 256 are allowed", len(r.DeclarationsToken))
	}
	var out []held
	seen := map[string]bool{}
	for _, section := range []struct {
		key, kind string
		items     *[]manifestItem
	}{
		{"Activations", "activation", r.Declarations.Activations},
		{"Assets", "asset", r.Declarations.Assets},
		{"Configurations", "configuration", r.Declarations.Configurations},
		{"Management", "management", r.Declarations.Management},
	} {
		if section.items == nil {
			m.violate("items", "%s is missing or null", section.key)
			continue
		}
		for _, it := range *section.items {
			switch {
			case it.Identifier == "" || len(it.Identifier) > 64 || strings.Contains(it.Identifier, "/"):
				m.violate("items", "identifier %q: between 1 and 64 octets without a slash are allowed", it.Identifier)
				continue
			case it.ServerToken == "" || len(it.ServerToken) > 64:
				m.violate(
					"items",
					"ServerToken of %s: between 1 and 64 octets are allowed, it has %d",
					it.Identifier,
					len(it.ServerToken),
				)
			case seen[it.Identifier]:
				m.violate("items", "identifier %s stands in the manifest twice", it.Identifier)
				continue
			}
			seen[it.Identifier] = true
			out = append(out, held{Kind: section.kind, Identifier: it.Identifier, ServerToken: it.ServerToken})
		}
	}
	if our := ownToken(out, r.DeclarationsToken); !our {
		m.violate("items", "the DeclarationsToken %s is not the hash of the manifest's items", r.DeclarationsToken)
	}
	return out
}

// ownToken recomputes the DeclarationsToken, for the generations that a Mac can have in any test or demonstration.
func ownToken(items []held, token string) bool {
	list := make([]declarations.Item, len(items))
	for i, it := range items {
		list[i] = declarations.Item{Kind: declarations.Kind(it.Kind), Identifier: it.Identifier, ServerToken: it.ServerToken}
	}
	declarations.SortItems(list)
	for generation := range uint64(1000) {
		if declarations.DeclarationsToken(list, generation) == token {
			return true
		}
	}
	return false
}

// checkDeclaration checks one declaration against the manifest's promise and Apple's schema.
func (m *Mac) checkDeclaration(h *held, identifier, token string) {
	if identifier != h.Identifier {
		m.violate("declaration", "asked for %s, got %s", h.Identifier, identifier)
	}
	if token != h.ServerToken {
		m.violate("token", "%s: the manifest promised %s, the body has %s", h.Identifier, h.ServerToken, token)
	}
	if !strings.HasPrefix(h.Type, "com.apple."+h.Kind+".") {
		m.violate("declaration", "%s is served as %s and has the type %s", h.Identifier, h.Kind, h.Type)
	}
	payload, err := declarations.CanonicalJSON(h.Payload)
	if err != nil || len(payload) == 0 || payload[0] != '{' {
		m.violate("declaration", "%s: the payload is not an object: %v", h.Identifier, err)
		return
	}
	if want := declarations.ServerToken(h.Type, h.Identifier, payload); want != token {
		m.violate("token", "%s: the body has the token %s, its content hashes to %s", h.Identifier, token, want)
	}
	if h.Type == declarations.TypeEnforcement {
		m.checkEnforcement(h)
	}
}

// checkSet checks what only the whole set shows.
func (m *Mac) checkSet(set map[string]held) {
	for _, key := range sortedKeys(set) {
		h := set[key]
		if h.Kind != "activation" {
			continue
		}
		for _, id := range standardConfigurations(h.Payload) {
			if _, ok := set["configuration/"+id]; !ok {
				m.violate(
					"activation",
					"%s refers to %s, which is not in the manifest: macOS rejects the whole activation",
					h.Identifier,
					id,
				)
			}
		}
	}
	enforced := 0
	for _, h := range set {
		if h.Type == declarations.TypeEnforcement {
			enforced++
		}
	}
	if enforced > 1 {
		m.violate("enforcement", "%d enforcement declarations at once", enforced)
	}
}

func standardConfigurations(payload json.RawMessage) []string {
	var p struct{ StandardConfigurations []string }
	if json.Unmarshal(payload, &p) != nil {
		return nil
	}
	return p.StandardConfigurations
}

// enforcement is the payload of the enforcement declaration.
type enforcement struct {
	id, token           string
	TargetOSVersion     string
	TargetBuildVersion  string
	TargetLocalDateTime string
	DetailsURL          string
}

var enforcementKeys = []string{"TargetOSVersion", "TargetBuildVersion", "TargetLocalDateTime", "DetailsURL"}

// checkEnforcement checks that what is enforced exists for this Mac, leads forward, and is written as macOS reads it.
func (m *Mac) checkEnforcement(h *held) {
	var keys map[string]json.RawMessage
	var e enforcement
	if json.Unmarshal(h.Payload, &keys) != nil || json.Unmarshal(h.Payload, &e) != nil {
		m.violate("enforcement", "%s: the payload has wrong types: %s", h.Identifier, h.Payload)
		return
	}
	for k := range keys {
		if !slices.Contains(enforcementKeys, k) {
			m.violate("enforcement", "%s: unknown payload key %s", h.Identifier, k)
		}
	}
	if _, err := declarations.ParseLocal(e.TargetLocalDateTime); err != nil {
		m.violate("enforcement", "%s: TargetLocalDateTime: %v", h.Identifier, err)
	}
	if e.DetailsURL != "" {
		if u, err := url.Parse(e.DetailsURL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			m.violate("enforcement", "%s: DetailsURL %q is not a web address", h.Identifier, e.DetailsURL)
		}
	}
	if m.major() < 14 && m.serverKnowsOS() {
		m.violate("enforcement", "%s: macOS %s cannot enforce by declaration", h.Identifier, m.st.OS.Version)
	}
	v, err := release.ParseVersion(e.TargetOSVersion)
	if err != nil {
		m.violate("enforcement", "%s: TargetOSVersion: %v: macOS rejects it", h.Identifier, err)
		return
	}
	if bsi, ok := m.opt.World.bsi(e.TargetBuildVersion); ok {
		m.checkBSI(h, v, &bsi)
		return
	}
	board := m.st.Spec.Hardware.Board
	if _, ok := m.opt.World.release(v, e.TargetBuildVersion, board); !ok {
		if m.opt.World.tooNew(v) {
			m.log(
				"%s %s is newer than what the simulator knows of Apple's releases: give it the feed with -catalog",
				v,
				e.TargetBuildVersion,
			)
		} else {
			m.violate("target", "%s: Apple has no %s %s for %s", h.Identifier, v, e.TargetBuildVersion, board)
		}
	}
	// Only what the server knows can be held against it: a Mac may have moved since its last report.
	if m.serverKnowsOS() && v.Compare(m.st.OS.Version) <= 0 {
		m.violate("downgrade", "%s: the target %s is not above %s, which the server knows of", h.Identifier, v, m.st.OS.Version)
	}
}

func (m *Mac) checkBSI(h *held, v release.Version, bsi *release.Release) {
	os := m.st.OS
	switch {
	case bsi.Version.Compare(v) != 0:
		m.violate("target", "%s: build %s belongs to %s, not to %s", h.Identifier, bsi.Build, bsi.Version, v)
	case !slices.Contains(bsi.Devices, m.st.Spec.Hardware.Board):
		m.violate("target", "%s: %s (%s) is not for %s", h.Identifier, v, bsi.Letter, m.st.Spec.Hardware.Board)
	case m.serverKnowsOS() && bsi.PrerequisiteBuild != os.Build:
		m.violate(
			"target",
			"%s: %s (%s) needs the base build %s, the Mac runs %s",
			h.Identifier,
			v,
			bsi.Letter,
			bsi.PrerequisiteBuild,
			os.Build,
		)
	case m.serverKnowsOS() && os.Letter >= bsi.Letter:
		m.violate(
			"downgrade",
			"%s: the target (%s) is not above (%s), which the server knows of",
			h.Identifier,
			bsi.Letter,
			os.Letter,
		)
	}
}
