package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// maxRounds is how often a sync may start again because the tokens changed meanwhile. While admins write policies all the time,
// a Mac on a busy machine may meet a change in several rounds; tokens that flap are found all the same.
const maxRounds = 10

// held is a declaration that the Mac holds, and what it thinks of it.
type held struct {
	Kind        string          `json:"kind"`
	Identifier  string          `json:"identifier"`
	ServerToken string          `json:"server_token"`
	Type        string          `json:"type"`
	Payload     json.RawMessage `json:"payload"`
	Body        json.RawMessage `json:"body"`

	// Judged enforcement keeps its verdict until its content changes.
	Judged  bool     `json:"judged,omitempty"`
	Active  bool     `json:"active"`
	Valid   string   `json:"valid"`
	Reasons []reason `json:"reasons,omitempty"`
}

type reason struct {
	Code        string         `json:"code"`
	Description string         `json:"description,omitempty"`
	Details     map[string]any `json:"details,omitempty"`
}

type ddmMessage struct {
	enrolment
	MessageType string
	Endpoint    string
	Data        []byte `plist:",omitempty"`
}

func (m *Mac) ddm(ctx context.Context, endpoint string, data []byte) (*answer, error) {
	return m.ddmAs(ctx, enrolment{UDID: m.st.Spec.UDID}, endpoint, data)
}

func (m *Mac) ddmAs(ctx context.Context, as enrolment, endpoint string, data []byte) (*answer, error) {
	a, err := m.checkin(ctx, endpoint, ddmMessage{as, "DeclarativeManagement", endpoint, data})
	if err != nil || data != nil {
		return a, err
	}
	if ct := mediaType(a.header); ct != "application/json" {
		m.violate("content-type", "%s came as %q", endpoint, ct)
	}
	return a, nil
}

// Sync asks for the tokens and takes what is new, as a Mac does after a DeclarativeManagement command without Data.
func (m *Mac) Sync(ctx context.Context) error {
	if !m.st.DDM {
		return errors.New("declarative management is not on: no command has turned it on")
	}
	m.st.WantSync = true
	m.st.OfferedToken, m.st.OfferedStamp = "", ""
	return m.syncCommanded(ctx)
}

// syncCommanded is the sync loop: tokens (of the command, or asked for), the manifest when the token is new, what
// changed in it, the tokens again until they settle, and one report.
func (m *Mac) syncCommanded(ctx context.Context) error {
	if m.Faults.NeverFetches {
		m.st.WantSync = false
		return nil
	}
	if !m.st.Reported { // a Mac introduces itself before it asks
		if err := m.report(ctx, true); err != nil {
			return err
		}
	}
	token := m.offered()
	fresh := false
	for round := 0; ; round++ {
		if token == "" {
			t, err := m.askTokens(ctx)
			if err != nil {
				return err
			}
			token = t
		}
		if token == m.st.LastToken {
			break
		}
		if round == maxRounds {
			m.violate("settle", "the tokens did not settle in %d rounds", maxRounds)
			break
		}
		if err := m.takeManifest(ctx); err != nil {
			return err
		}
		fresh = true
		token = ""
	}
	m.st.WantSync, m.st.Synced, m.st.AskedAt = false, true, m.now()
	m.st.OfferedToken, m.st.OfferedStamp = "", ""
	if !fresh {
		return nil
	}
	m.stats.Syncs.Add(1)
	m.st.Owed = true
	return m.report(ctx, false)
}

// offered is the token that a command brought, unless the Mac has seen newer ones since.
func (m *Mac) offered() string {
	if m.st.OfferedToken == "" {
		return ""
	}
	if ts, err := time.Parse(stampLayout, m.st.OfferedStamp); err != nil || ts.Before(m.st.LastStamp) {
		return ""
	}
	return m.st.OfferedToken
}

// askTokens asks for the tokens and checks them against those of the time before.
func (m *Mac) askTokens(ctx context.Context) (string, error) {
	a, err := m.ddm(ctx, "tokens", nil)
	if err != nil {
		return "", err
	}
	t, err := m.parseTokens(a.body)
	if err != nil {
		m.violate("tokens", "%v", err)
		return "", fmt.Errorf("tokens: %w", err)
	}
	token := t.SyncTokens.DeclarationsToken
	stamp, err := time.Parse(stampLayout, t.SyncTokens.Timestamp)
	if err != nil {
		return "", fmt.Errorf("tokens: %w", err)
	}
	switch {
	case stamp.Before(m.st.LastStamp):
		m.violate(
			"timestamp",
			"the Timestamp went back from %s to %s",
			m.st.LastStamp.Format(stampLayout),
			t.SyncTokens.Timestamp,
		)
	case m.st.LastSeenToken != "" && token != m.st.LastSeenToken && !stamp.After(m.st.LastStamp):
		m.violate("timestamp", "the token changed, the Timestamp %s did not", t.SyncTokens.Timestamp)
	case m.st.Disagreed == token && stamp.Equal(m.st.LastStamp):
		m.violate("agree", "declaration-items had another token than tokens before and after it")
	}
	m.st.Disagreed = ""
	m.st.LastSeenToken, m.st.LastStamp = token, stamp
	return token, nil
}

type manifestItem struct{ Identifier, ServerToken string }

type itemsResponse struct {
	Declarations struct {
		Activations, Configurations, Assets, Management *[]manifestItem
	}
	DeclarationsToken string
}

// takeManifest gets the manifest, fetches what is new or changed, drops what is gone, and applies the rest. Nothing
// changes when a part of it fails.
func (m *Mac) takeManifest(ctx context.Context) error {
	a, err := m.ddm(ctx, "declaration-items", nil)
	if err != nil {
		return err
	}
	var items itemsResponse
	if err := json.Unmarshal(a.body, &items); err != nil {
		m.violate("items", "declaration-items are not JSON of the right form: %v", err)
		return fmt.Errorf("declaration-items: %w", err)
	}
	if m.st.LastSeenToken != "" && items.DeclarationsToken != m.st.LastSeenToken {
		m.st.Disagreed = m.st.LastSeenToken // right when the set changed meanwhile: the next tokens tell
	}
	wanted := m.checkItems(&items)
	next := make(map[string]held, len(wanted))
	fetched := 0
	for _, w := range wanted {
		key := w.Kind + "/" + w.Identifier
		if have, ok := m.st.Held[key]; ok && have.ServerToken == w.ServerToken {
			next[key] = have
			continue
		}
		h, err := m.fetch(ctx, w)
		var he *HTTPError
		if errors.As(err, &he) && he.Status == http.StatusNotFound {
			m.violate("missing", "%s is in the manifest and answered 404: the Mac drops it", key)
			continue
		}
		if err != nil {
			return err
		}
		fetched++
		next[key] = h
	}
	dropped := 0
	for key := range m.st.Held {
		if _, ok := next[key]; !ok {
			dropped++
		}
	}
	m.checkSet(next)
	m.st.Held = next
	m.st.LastToken = items.DeclarationsToken
	m.log("synced: %d declarations, %d fetched, %d dropped%s", len(next), fetched, dropped, m.describeEnforcement())
	m.reconsider()
	return nil
}

// fetch gets one declaration and checks it.
func (m *Mac) fetch(ctx context.Context, w held) (held, error) {
	a, err := m.ddm(ctx, "declaration/"+w.Kind+"/"+w.Identifier, nil)
	if err != nil {
		return held{}, err
	}
	var d struct {
		Type, Identifier, ServerToken string
		Payload                       json.RawMessage
	}
	if err := json.Unmarshal(a.body, &d); err != nil {
		m.violate("declaration", "%s is not JSON of the right form: %v", w.Identifier, err)
		return held{}, fmt.Errorf("declaration %s: %w", w.Identifier, err)
	}
	m.stats.Fetched.Add(1)
	w.Type, w.Payload, w.Body = d.Type, d.Payload, json.RawMessage(strings.TrimSpace(string(a.body)))
	m.checkDeclaration(&w, d.Identifier, d.ServerToken)
	return w, nil
}

func (m *Mac) describeEnforcement() string {
	var b strings.Builder
	for _, e := range m.enforcements() {
		fmt.Fprintf(&b, "; %s: %s", e.id, e.TargetOSVersion)
		if e.TargetBuildVersion != "" {
			b.WriteString(" " + e.TargetBuildVersion)
		}
		b.WriteString(" by " + e.TargetLocalDateTime)
	}
	return b.String()
}

// forKind lists the held declarations of a kind in the order of their identifiers.
func (m *Mac) forKind(kind string) []held {
	var out []held
	for _, key := range sortedKeys(m.st.Held) {
		if h := m.st.Held[key]; h.Kind == kind {
			out = append(out, h)
		}
	}
	return out
}

func sortedKeys[V any](mm map[string]V) []string {
	return sortStrings(maps.Keys(mm))
}
