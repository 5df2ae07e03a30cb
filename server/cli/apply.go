package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// planFiles is the command that says what apply would change.
type planFiles struct {
	Remote `embed:""`
	Paths  []string `arg:"" name:"path" help:"Files, or folders with files, in YAML or JSON."`
	Prune  bool     `                   help:"Also delete what an earlier apply wrote and no file holds any more."`
	Output string   `short:"o" default:"table" enum:"table,json" help:"Print a table, or json."`
}

// applyFiles is the command that makes the server's objects those of files.
type applyFiles struct {
	Remote `embed:""`
	Paths  []string `arg:"" name:"path" help:"Files, or folders with files, in YAML or JSON."`
	Prune  bool     `                   help:"Also delete what an earlier apply wrote and no file holds any more."`
	Yes    bool     `                   help:"Answer yes to the server's question."`
}

// applied is the answer to an apply, or to its plan.
type applied struct {
	Revision string
	Objects  []struct {
		Kind, Name, Action string
		Managed            bool
		Fields             []struct {
			Path           string
			From, To       json.RawMessage
			Added, Removed []string
		}
		ChangedBy string `json:"changed_by"`
		ChangedAt string `json:"changed_at"`
	}
	Warnings []struct{ Text string }
	Impact   *struct {
		Devices, Restarting, Cannot int
		NoLongerAsked               int     `json:"no_longer_asked"`
		FirstRestartLocal           *string `json:"first_restart_local"`
		LastRestartLocal            *string `json:"last_restart_local"`
		Guard                       *string
	}
}

func (a *applied) differs() bool {
	for i := range a.Objects {
		if o := a.Objects[i].Action; o != "none" && o != "keep" {
			return true
		}
	}
	return false
}

// Run prints the differences; the exit status is 3 when there is one.
func (p *planFiles) Run(env *Env) error {
	c, err := p.open()
	if err != nil {
		return err
	}
	objects, err := readObjects(env, p.Paths, false)
	if err != nil {
		return err
	}
	b, res, err := c.plan(env, objects, p.Prune)
	if err != nil {
		return err
	}
	if p.Output == "json" {
		err = printJSON(env.Out, b)
	} else {
		err = res.print(env.Out)
	}
	if err == nil && res.differs() {
		return &exitError{ExitDifferences, errSilent}
	}
	return err
}

// Run plans, shows the plan, and applies it to the state that it was made for.
func (a *applyFiles) Run(env *Env) error {
	c, err := a.open()
	if err != nil {
		return err
	}
	objects, err := readObjects(env, a.Paths, true)
	if err != nil {
		return err
	}
	_, res, err := c.plan(env, objects, a.Prune)
	if err != nil {
		return err
	}
	if err := res.print(env.Out); err != nil || !res.differs() {
		return err
	}
	r := applyRequest(objects, a.Prune)
	r.header = map[string]string{"If-Match": `"` + res.Revision + `"`}
	if _, err := c.confirmed(env, r, a.Yes); err != nil {
		return fileFaults(env, objects, err)
	}
	_, err = fmt.Fprintln(env.Out, "Applied.")
	return err
}

func applyRequest(objects []*object, prune bool) request {
	list := make([]map[string]any, len(objects))
	for i, o := range objects {
		list[i] = map[string]any{}
		for k, v := range o.body {
			list[i][k] = v
		}
		list[i]["kind"], list[i]["name"] = o.kind, o.name
	}
	return request{
		method: http.MethodPost, path: "/v1/apply", query: url.Values{"prune": {strconv.FormatBool(prune)}},
		body: map[string]any{"objects": list},
	}
}

func (c *client) plan(env *Env, objects []*object, prune bool) ([]byte, *applied, error) {
	r := applyRequest(objects, prune)
	r.query.Set("dry_run", "true")
	b, _, err := c.do(env, r)
	if err != nil {
		return nil, nil, fileFaults(env, objects, err)
	}
	res := &applied{}
	if err := json.Unmarshal(b, res); err != nil {
		return nil, nil, fmt.Errorf("the answer to /v1/apply is not understood: %w", err)
	}
	return b, res, nil
}

// readObjects reads files whose faults are printed, one a line. With secrets, those that are named are read from the environment.
func readObjects(env *Env, paths []string, secrets bool) ([]*object, error) {
	objects, faults, err := readPaths(paths)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		r := resolver{object: o, resolve: secrets, env: env}
		if body, ok := r.value(o.body, "").(map[string]any); ok {
			o.body = body
		}
		faults = append(faults, r.faults...)
	}
	return objects, printFaults(env.Out, faults)
}

// printFaults prints faults in order; the error says only that there are some.
func printFaults(w io.Writer, faults []fault) error {
	sortFaults(faults)
	for _, f := range faults {
		if _, err := fmt.Fprintln(w, clean(f.String())); err != nil {
			return err
		}
	}
	if len(faults) > 0 {
		return &exitError{ExitFailed, errSilent}
	}
	return nil
}

// secretName is what a file may name: it comes from a pull request, so no other variable can be read by it.
var secretName = regexp.MustCompile(`^PLIMSOLL_SECRET_[A-Z0-9_]+$`)

// resolver puts the secrets in the place of their names.
type resolver struct {
	object  *object
	resolve bool
	env     *Env
	faults  []fault
}

func (r *resolver) value(v any, path string) any {
	switch v := v.(type) {
	case map[string]any:
		if name, is := v["from_env"].(string); is && len(v) == 1 {
			return r.secret(v, name, path)
		}
		for k := range v {
			v[k] = r.value(v[k], join(path, k))
		}
	case []any:
		for i := range v {
			v[i] = r.value(v[i], join(path, strconv.Itoa(i)))
		}
	}
	return v
}

func (r *resolver) secret(v map[string]any, name, path string) any {
	at := join(path, "from_env")
	if !secretName.MatchString(name) {
		r.faults = append(r.faults, fault{r.object.at(at, ""), at, "must name a variable that begins with PLIMSOLL_SECRET_"})
		return v
	}
	if !r.resolve {
		return v
	}
	value, there := os.LookupEnv(name)
	if !there {
		r.faults = append(r.faults, fault{r.object.at(at, ""), at, "names a variable that is not set"})
	}
	return value
}

// fileFaults prints what the server finds wrong with objects, where it stands in the files.
func fileFaults(env *Env, objects []*object, err error) error {
	var said *apiError
	if !errors.As(err, &said) || said.Code != "invalid" || len(said.Errors) == 0 {
		return err
	}
	var faults []fault
	for _, e := range said.Errors {
		rest, is := strings.CutPrefix(e.Field, "objects.")
		number, field, _ := strings.Cut(rest, ".")
		i, bad := strconv.Atoi(number)
		if !is || bad != nil || i < 0 || i >= len(objects) {
			return err
		}
		reason := e.Reason
		if o := objects[i]; strings.HasPrefix(reason, "("+o.kind+"/"+o.name+") ") {
			reason = reason[len("("+o.kind+"/"+o.name+") "):]
		}
		faults = append(faults, fault{objects[i].at(field, reason), field, reason})
	}
	return printFaults(env.Out, faults)
}

var marks = map[string]string{"create": "+", "update": "~", "delete": "-"}

// print shows what changes, object by object and field by field, and whom it hits.
func (a *applied) print(w io.Writer) error {
	var b bytes.Buffer
	counts := map[string]int{}
	for i := range a.Objects {
		o := &a.Objects[i]
		counts[o.Action]++
		by := ""
		if o.ChangedBy != "" {
			by = " (changed by " + o.ChangedBy + " at " + o.ChangedAt + ")"
		}
		switch {
		case o.Action == "keep":
			fmt.Fprintf(&b, "  %s/%s stays: no file holds it%s\n", o.Kind, o.Name, by)
		case marks[o.Action] != "":
			fmt.Fprintf(&b, "%s %s/%s%s\n", marks[o.Action], o.Kind, o.Name, by)
		}
		for _, f := range o.Fields {
			if o.Action != "update" {
				break // the whole of it stands in its file, or goes
			}
			path := strings.TrimPrefix(f.Path, "/")
			if len(f.Added)+len(f.Removed) > 0 {
				fmt.Fprintf(&b, "    %s: %s\n", path, members(f.Added, f.Removed))
				continue
			}
			fmt.Fprintf(&b, "    %s: %s -> %s\n", path, short(f.From), short(f.To))
		}
	}
	for _, warning := range a.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning.Text)
	}
	fmt.Fprintf(&b, "%d to create, %d to change, %d to delete, %d as they are, %d kept.\n",
		counts["create"], counts["update"], counts["delete"], counts["none"], counts["keep"])
	if i := a.Impact; i != nil && a.differs() {
		fmt.Fprintf(&b, "%d Macs affected; %d restart", i.Devices, i.Restarting)
		if i.FirstRestartLocal != nil && i.LastRestartLocal != nil {
			fmt.Fprintf(&b, " between %s and %s (their local time)", *i.FirstRestartLocal, *i.LastRestartLocal)
		}
		fmt.Fprintf(&b, "; %d are no longer asked, %d cannot.\n", i.NoLongerAsked, i.Cannot)
		if i.Guard != nil {
			fmt.Fprintf(&b, "To be confirmed: %s.\n", *i.Guard)
		}
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, clean(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

func members(added, removed []string) string {
	const most = 5
	list := func(mark string, names []string) (words []string) {
		for i, n := range names {
			if i == most {
				return append(words, fmt.Sprintf("%s%d more", mark, len(names)-most))
			}
			words = append(words, mark+n)
		}
		return words
	}
	return strings.Join(append(list("+", added), list("-", removed)...), " ")
}

func short(value json.RawMessage) string {
	if len(value) == 0 {
		return "null"
	}
	return cut(string(value), 60)
}
