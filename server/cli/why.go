package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// why is the command that explains one Mac.
type why struct {
	Remote `embed:""`
	Output string `short:"o" default:"table" enum:"table,json" help:"Print text (table), or json."`
	Device string `arg:"" help:"Serial number or enrollment id."`
}

// Run prints state, target, deadline, the reasons with their advice, and how the plan came about.
func (w *why) Run(env *Env) error {
	c, err := w.open()
	if err != nil {
		return err
	}
	if strings.Trim(w.Device, ".") == "" {
		return usage("DEVICE: %q is neither a serial number nor an enrollment id", w.Device)
	}
	path := "/v1/devices/" + url.PathEscape(w.Device)
	raw, _, err := c.do(env, request{method: http.MethodGet, path: path})
	if err != nil {
		return err
	}
	plan, _, err := c.do(env, request{method: http.MethodGet, path: path + "/plan"})
	if err != nil {
		return err
	}
	if w.Output == "json" {
		return printJSON(env.Out, []byte(`{"device":`+string(raw)+`,"plan":`+string(plan)+`}`))
	}
	var d device
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	var p struct {
		DeadlineWords []string `json:"deadline_words"`
		Policies      []struct {
			Name, Why string
			Won       bool
		}
		Releases []struct{ Version, Build, Role, Why string }
	}
	if err := json.Unmarshal(plan, &p); err != nil {
		return err
	}
	var b bytes.Buffer
	say := func(label, text string) {
		if text != "" {
			b.WriteString(label + strings.Repeat(" ", max(1, 12-len(label))) + wrap(text, strings.Repeat(" ", 12)) + "\n")
		}
	}
	say("Mac", d.Serial+"  "+d.Name+"  "+d.ModelName)
	say("macOS", d.OS.Version+" "+d.OS.Letter+" "+d.OS.Build)
	b.WriteString("State       " + env.paint(d.State, clean(d.State)) + "\n")
	say("Phase", d.Phase)
	say("Flags", strings.Join(d.Flags, " "))
	if d.Policy != nil {
		say("Policy", *d.Policy)
	}
	if d.Target != nil {
		say("Target", d.Target.Version+" "+d.Target.Build)
	}
	if d.DeadlineLocal != nil {
		say("Deadline", local(d.DeadlineLocal)+" (local time of the Mac)")
	}
	say("Last seen", moment(d.LastSeenAt))
	for i, r := range d.Reasons {
		if i == 0 {
			b.WriteString("\nWhy\n")
		}
		b.WriteString("  " + clean(r.Code) + ": " + wrap(r.Text, "    ") + "\n")
		if r.Advice != "" {
			b.WriteString("    -> " + wrap(r.Advice, "       ") + "\n")
		}
	}
	for i, words := range p.DeadlineWords {
		if i == 0 {
			b.WriteString("\nHow the deadline came about\n")
		}
		b.WriteString("  " + wrap(words, "    ") + "\n")
	}
	_, err = env.Out.Write(b.Bytes())
	return err
}
