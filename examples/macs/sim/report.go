package sim

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// What macOS 13 and 14 support, as real Macs reported it.
//
//go:embed data/capabilities-13.json
var capabilities13 []byte

//go:embed data/capabilities-14.json
var capabilities14 []byte

type capabilities struct {
	SupportedVersions []string       `json:"supported-versions"`
	SupportedFeatures map[string]any `json:"supported-features"`
	SupportedPayloads struct {
		Declarations struct {
			Activations    []string `json:"activations"`
			Assets         []string `json:"assets"`
			Configurations []string `json:"configurations"`
			Management     []string `json:"management"`
		} `json:"declarations"`
		StatusItems []string `json:"status-items"`
	} `json:"supported-payloads"`
}

// capabilitiesOf has the capabilities of macOS 13, 14 and 15; later ones are like 15 in what matters here.
var capabilitiesOf = func() map[int]*capabilities {
	out := map[int]*capabilities{}
	for major, raw := range map[int][]byte{13: capabilities13, 14: capabilities14, 15: capabilities14} {
		var c capabilities
		if err := json.Unmarshal(raw, &c); err != nil {
			panic("built-in capabilities: " + err.Error()) // embedded at build time
		}
		out[major] = &c
	}
	c := &out[15].SupportedPayloads
	c.Declarations.Configurations = append(c.Declarations.Configurations, declarations.TypeSettings)
	c.StatusItems = append(c.StatusItems, "softwareupdate.beta-enrollment", "softwareupdate.device-id")
	return out
}()

func (m *Mac) capabilities() *capabilities {
	return capabilitiesOf[min(max(m.major(), 13), 15)]
}

// introduction is what a Mac reports before anything was subscribed to, beside the management items.
var introduction = []string{
	"device.identifier.serial-number", "device.identifier.udid", "device.model.family", "device.model.identifier",
	"device.model.marketing-name", "device.operating-system.build-version", "device.operating-system.family",
	"device.operating-system.marketing-name", "device.operating-system.supplemental.build-version",
	"device.operating-system.supplemental.extra-version", "device.operating-system.version",
}

// items are all status items of the Mac, by name; those that it supports and has something to say of.
func (m *Mac) items() map[string]any {
	s, os := m.st.Spec, m.st.OS
	all := map[string]any{
		"device.identifier.serial-number":        s.Serial,
		"device.identifier.udid":                 s.UDID,
		"device.model.family":                    "Mac",
		"device.model.identifier":                s.Hardware.Model,
		"device.model.marketing-name":            s.Hardware.Name,
		"device.operating-system.family":         "macOS",
		"device.operating-system.version":        string(os.Version),
		"device.operating-system.build-version":  os.Build,
		"device.operating-system.marketing-name": marketingName(os.Version),
		"management.client-capabilities":         m.capabilities(),
		"management.declarations":                m.declarationsItem(),
		"softwareupdate.beta-enrollment":         "",
		"softwareupdate.device-id":               s.Hardware.Board,
	}
	const extra, build = "device.operating-system.supplemental.extra-version", "device.operating-system.supplemental.build-version"
	version, err := json.Marshal(os.Version)
	// A BSI that was reported and is gone is taken back, unless another release makes that plain.
	takeBack := m.st.Told[extra] != nil && err == nil && bytes.Equal(version, m.st.Told["device.operating-system.version"])
	switch {
	case os.Letter != "":
		all[extra], all[build] = "("+os.Letter+")", os.SupplementalBuild
	case s.NoBSI == EmptyItems, s.NoBSI == AbsentItems && takeBack:
		all[extra], all[build] = "", ""
	case s.NoBSI == BaseItems:
		all[extra], all[build] = "", os.Build
	}
	m.updateItems(all)
	supported := m.capabilities().SupportedPayloads.StatusItems
	for name := range all {
		if !slices.Contains(supported, name) {
			delete(all, name)
		}
	}
	return all
}

func (m *Mac) updateItems(all map[string]any) {
	in := &m.st.Install
	all["softwareupdate.install-state"] = in.state()
	reason := map[string]any{"reason": []string{}}
	pending := map[string]any{"os-version": "", "build-version": ""}
	if in.State != "" {
		reason = map[string]any{"reason": []string{"declaration"}, "declaration-id": in.ID}
		v, b := target{os: in.OS, bsi: in.BSI}.pending()
		pending = map[string]any{"os-version": v, "build-version": b}
		if m.major() >= 15 {
			pending["target-local-date-time"] = in.Local
		}
	}
	all["softwareupdate.install-reason"], all["softwareupdate.pending-version"] = reason, pending
	failure := map[string]any{"count": in.Failures}
	if in.Failures > 0 {
		failure["reason"], failure["timestamp"] = in.FailText, in.FailedAt.UTC().Format(time.RFC3339)
	}
	all["softwareupdate.failure-reason"] = failure
}

type declarationStatus struct {
	Active      bool     `json:"active"`
	Identifier  string   `json:"identifier"`
	Valid       string   `json:"valid"`
	ServerToken string   `json:"server-token"`
	Reasons     []reason `json:"reasons,omitempty"`
}

func (m *Mac) declarationsItem() map[string][]declarationStatus {
	out := map[string][]declarationStatus{}
	for section, kind := range map[string]string{
		"activations": "activation", "assets": "asset", "configurations": "configuration", "management": "management",
	} {
		list := []declarationStatus{}
		for _, h := range m.forKind(kind) {
			list = append(list, declarationStatus{h.Active, h.Identifier, h.Valid, h.ServerToken, h.Reasons})
		}
		out[section] = list
	}
	return out
}

// subscribed lists the items of the active subscriptions, and of them those that this macOS does not know.
func (m *Mac) subscribed() (known, unknown []string) {
	supported := m.capabilities().SupportedPayloads.StatusItems
	for _, h := range m.forKind("configuration") {
		var p struct{ StatusItems []struct{ Name string } }
		if h.Type != declarations.TypeSubscriptions || !h.Active || json.Unmarshal(h.Payload, &p) != nil {
			continue
		}
		for _, it := range p.StatusItems {
			if slices.Contains(supported, it.Name) {
				known = append(known, it.Name)
			} else {
				unknown = append(unknown, it.Name)
			}
		}
	}
	return known, unknown
}

// due are the items to report now, as JSON by name: all that are reportable, or only the changed ones. gone are
// the names that were reported once and have nothing to say any more.
func (m *Mac) due(full bool) (items map[string]json.RawMessage, gone []string, err error) {
	names, _ := m.subscribed()
	names = append(names, "management.client-capabilities", "management.declarations")
	if !m.st.Reported {
		names = append(names, introduction...)
	}
	all := m.items()
	items = map[string]json.RawMessage{}
	for _, name := range names {
		v, ok := all[name]
		if !ok {
			gone = append(gone, name)
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, nil, fmt.Errorf("status item %s: %w", name, err)
		}
		if full || !bytes.Equal(raw, m.st.Told[name]) {
			items[name] = raw
		}
	}
	return items, gone, nil
}

type itemError struct {
	StatusItem string
	Reasons    []itemReason
}

// itemReason is capitalised here, unlike in management.declarations.
type itemReason struct{ Code, Description string }

type statusReport struct {
	StatusItems map[string]any
	Errors      []itemError
	FullReport  bool `json:",omitempty"`
}

// nest puts items under their dot paths.
func nest(items map[string]json.RawMessage) map[string]any {
	root := map[string]any{}
	for _, name := range sortedKeys(items) {
		at := root
		parts := strings.Split(name, ".")
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = items[name]
	}
	return root
}

// Report sends a status report: everything, or what has changed since the last one that was acknowledged; nothing is
// sent when nothing has.
func (m *Mac) Report(ctx context.Context, full bool) error {
	if !m.st.DDM {
		return errors.New("declarative management is not on: no command has turned it on")
	}
	return m.report(ctx, full)
}

func (m *Mac) report(ctx context.Context, full bool) error {
	if m.Faults.StopsReporting && m.st.Reported {
		m.st.Owed = false
		return nil
	}
	items, gone, err := m.due(full)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		m.st.Owed = false
		return nil
	}
	if m.Faults.BadReports != 0 {
		if err := m.badReport(ctx); err != nil {
			return err
		}
	}
	r := statusReport{StatusItems: nest(items), Errors: []itemError{}, FullReport: full && m.major() >= 14}
	if _, unknown := m.subscribed(); full || items["management.declarations"] != nil {
		for _, name := range unknown {
			r.Errors = append(
				r.Errors,
				itemError{name, []itemReason{{"Error.UnsupportedStatusItem", "The status item is not supported."}}},
			)
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("status report: %w", err)
	}
	if err := m.sendStatus(ctx, body); err != nil {
		return err
	}
	m.acknowledged(items, gone, full)
	return nil
}

func (m *Mac) sendStatus(ctx context.Context, body []byte) error {
	a, err := m.ddm(ctx, "status", body)
	if err != nil {
		return err
	}
	if len(a.body) != 0 {
		m.violate("status", "a status report was answered with a body of %d octets, not empty", len(a.body))
	}
	return nil
}

func (m *Mac) acknowledged(items map[string]json.RawMessage, gone []string, full bool) {
	m.stats.Reports.Add(1)
	if full || m.st.Told == nil {
		m.st.Told = map[string]json.RawMessage{}
	}
	for name, raw := range items {
		m.st.Told[name] = raw
	}
	for _, name := range gone {
		delete(m.st.Told, name)
	}
	m.st.Reported, m.st.Owed = true, false
	if full {
		m.stats.FullReports.Add(1)
		m.st.FullAt = m.now()
	}
	if m.toldOS() {
		m.st.ServerOS = m.st.OS
	}
	names := sortedKeys(items)
	if full {
		names = []string{fmt.Sprintf("everything (%d items)", len(names))}
	} else if len(names) > 4 {
		names = append(names[:4], fmt.Sprintf("and %d more", len(names)-4))
	}
	m.log("reported %s", strings.Join(names, ", "))
}

// toldOS tells whether what was acknowledged says what the Mac runs.
func (m *Mac) toldOS() bool {
	told := func(name string) string {
		var s string
		if json.Unmarshal(m.st.Told["device.operating-system."+name], &s) != nil {
			return ""
		}
		return s
	}
	return told("version") == string(m.st.OS.Version) && told("build-version") == m.st.OS.Build &&
		release.NormalLetter(told("supplemental.extra-version")) == m.st.OS.Letter
}

// heartbeatDue: from macOS 14 a full report goes out every 24 hours.
func (m *Mac) heartbeatDue() bool {
	return m.st.Reported && m.major() >= 14 && m.now().Sub(m.st.FullAt) >= heartbeatPeriod
}

// badReport sends something that no Mac should send: in turn broken JSON, JSON that is no report, and a report with
// wrong types, deep nesting and secrets in it, which a server must take.
func (m *Mac) badReport(ctx context.Context) error {
	n := m.Faults.BadReports
	if n > 0 {
		m.Faults.BadReports--
	} else {
		n = int(m.chance(0, 3))
	}
	refused := true
	var body []byte
	switch n % 3 {
	case 0:
		body = []byte(`{"StatusItems":{"softwareupdate":{"install-state":"wai`)
	case 1:
		body = []byte(`["not a report"]`)
	default:
		refused = false
		body = fmt.Appendf(
			nil,
			`{"StatusItems":{"softwareupdate":{"install-reason":7},"mdm":{"push-magic":%q,"push-token":"c2VjcmV0"},"test":{"deep":%s1%s}},"Errors":"none"}`,
			m.st.PushMagic,
			strings.Repeat("[", 100),
			strings.Repeat("]", 100),
		)
	}
	err := m.sendStatus(ctx, body)
	var he *HTTPError
	switch {
	case refused && err == nil:
		m.violate("bad-report", "a report that is not a report was accepted: %s", body)
	case refused && errors.As(err, &he) && he.Status == http.StatusBadRequest:
	case err != nil && IsTemporary(err):
		return err
	case err != nil && !refused:
		m.violate("bad-report", "a report with odd parts was refused: %v", err)
	case err != nil:
		m.violate("bad-report", "a report that is not a report was answered otherwise than 400: %v", err)
	}
	return nil
}
