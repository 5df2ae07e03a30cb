package cli

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// devices is the command that lists Macs. Its filters are the API's.
type devices struct {
	Remote `embed:""`
	Output `embed:""`

	State      string `help:"Only Macs in this state."`
	Flag       string `help:"Only Macs that have this flag."`
	Policy     string `help:"Only Macs that this policy governs."`
	Group      string `help:"Only members of this group."`
	Version    string `help:"Only Macs that run this version."`
	Model      string `help:"Only Macs of this model."`
	Q          string `help:"Only Macs whose serial number or name contains this."         name:"q" placeholder:"TEXT"`
	Ring       string `help:"Only Macs of this ring."`
	Mechanism  string `help:"declaration, command, installer or none: only Macs that updates reach so."`
	SeenBefore string `help:"Only Macs that were last in contact before then."                      placeholder:"TIME"`
	Enrolled   string `help:"true or false: only Macs that are enrolled, or not any more."`
	Sort       string `help:"serial, deadline or last_seen."`
}

func (d *devices) query() url.Values {
	q := url.Values{"limit": {"1000"}}
	for name, value := range map[string]string{
		"state": d.State, "flag": d.Flag, "policy": d.Policy, "group": d.Group, "version": d.Version, "model": d.Model, "q": d.Q,
		"ring": d.Ring, "mechanism": d.Mechanism,
		"seen_before": d.SeenBefore, "enrolled": d.Enrolled, "sort": d.Sort,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// device is what the commands print of a Mac.
type device struct {
	ID, Serial, Name, State, Phase string
	ModelName                      string `json:"model_name"`
	OS                             struct{ Version, Build, Letter string }
	Target                         *struct{ Version, Build string }
	Policy                         *string
	Flags                          []string
	DueLocal                       *string    `json:"due_local"`
	DeadlineLocal                  *string    `json:"deadline_local"`
	LastSeenAt                     *time.Time `json:"last_seen_at"`
	Reasons                        []reason
}

type reason struct{ Code, Text, Advice string }

// Run lists the Macs, all pages of them.
func (d *devices) Run(env *Env) error {
	c, err := d.open()
	if err != nil {
		return err
	}
	if d.Output.Output == "csv" {
		return d.csv(env, c)
	}
	all := []json.RawMessage{}
	q := d.query()
	for {
		var page struct {
			Devices []json.RawMessage
			Next    string `json:"next_cursor"`
		}
		if err := c.get(env, "/v1/devices", q, &page); err != nil {
			return err
		}
		all = append(all, page.Devices...)
		if page.Next == "" {
			break
		}
		q.Set("cursor", page.Next)
	}
	if d.Output.Output == "json" {
		b, err := json.Marshal(map[string]any{"devices": all})
		if err != nil {
			return err
		}
		return printJSON(env.Out, b)
	}
	rows := make([][]string, 0, len(all))
	states := make([]string, 0, len(all))
	for _, raw := range all {
		var m device
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		target := ""
		if m.Target != nil {
			target = m.Target.Version
		}
		rows = append(rows, []string{
			m.Serial, m.Name, m.OS.Version, m.State, m.Phase, target, local(m.DeadlineLocal), ago(m.LastSeenAt),
		})
		states = append(states, m.State)
	}
	header := []string{"SERIAL", "NAME", "VERSION", "STATE", "PHASE", "TARGET", "DEADLINE", "SEEN"}
	return printTable(env.Out, header, rows, func(row, column int, text string) string {
		if column == 3 {
			return env.paint(states[row], text)
		}
		return text
	})
}

// csv prints the API's own rows.
func (d *devices) csv(env *Env, c *client) error {
	q := d.query()
	for first := true; ; first = false {
		b, h, err := c.do(env, request{method: http.MethodGet, path: "/v1/devices", query: q, accept: "text/csv"})
		if err != nil {
			return err
		}
		if err := printCSV(env.Out, b, first); err != nil {
			return err
		}
		next := nextCursor(h)
		if next == "" {
			return nil
		}
		q.Set("cursor", next)
	}
}

// nextCursor is that of a Link header with rel="next"; empty when there is no next page.
func nextCursor(h http.Header) string {
	target, params, _ := strings.Cut(strings.TrimPrefix(h.Get("Link"), "<"), ">")
	if !strings.Contains(params, `rel="next"`) {
		return ""
	}
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Query().Get("cursor")
}

// local is a wall-clock time of a Mac, to the minute.
func local(s *string) string {
	if s == nil {
		return ""
	}
	day, clock, _ := strings.Cut(*s, "T")
	return strings.TrimSpace(day + " " + clock[:min(len(clock), 5)])
}

// moment is a time in UTC, to the minute.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

// ago is how long ago a moment was, in its largest unit.
func ago(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "never"
	}
	switch d := time.Since(*t); {
	case d < time.Hour:
		return strconv.Itoa(max(0, int(d.Minutes()))) + "m ago"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h ago"
	default:
		return strconv.Itoa(int(d.Hours()/24)) + "d ago"
	}
}

// paint colours a state on a terminal.
func (e *Env) paint(state, text string) string {
	colour := map[string]string{"compliant": "32", "overdue": "31", "failing": "31", "incompatible": "31", "pending": "33"}[state]
	if !e.Terminal || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
