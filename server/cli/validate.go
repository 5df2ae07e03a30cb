package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/schemas"
)

// kinds are the kinds of objects that files may hold.
var kinds = []string{"policy", "group", "hold", "freeze", "declaration", "webhook"}

// validate is the command that checks files without a server.
type validate struct {
	Paths   []string `arg:"" name:"path" help:"Files, or folders with files, in YAML or JSON."`
	Catalog string   `                   help:"File with a response of Apple's feed, in place of the built-in catalogue." placeholder:"FILE"`
}

// Run prints one line for each fault, sorted, and the exit status is 1 when there is one.
func (v *validate) Run(env *Env) error {
	catalog, err := readCatalog(v.Catalog)
	if err != nil {
		return err
	}
	objects, faults, err := readPaths(v.Paths)
	if err != nil {
		return err
	}
	more, warnings := check(objects, catalog, time.Now())
	faults = append(faults, more...)
	sortFaults(warnings)
	for _, w := range warnings {
		if _, err := fmt.Fprintln(env.Err, "warning:", clean(w.String())); err != nil {
			return err
		}
	}
	if err := printFaults(env.Out, faults); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Out, "%d objects, no fault\n", len(objects))
	return err
}

// sortFaults brings faults into the order of their places.
func sortFaults(faults []fault) {
	slices.SortStableFunc(faults, func(a, b fault) int {
		return cmp.Or(
			cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), cmp.Compare(a.field, b.field),
		)
	})
}

func readCatalog(path string) (*release.Catalog, error) {
	known := release.Snapshot()
	if path == "" {
		return known, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	feed, err := release.ParseFeed(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	catalog, _, err := release.Merge(known, feed, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return catalog, nil
}

// bodies are the schemas of the kinds that have one.
var bodies = map[string]string{"policy": "policy-write", "group": "group-write", "hold": "hold-write", "freeze": "freeze-write"}

// checker collects what is wrong with objects.
type checker struct {
	book     *policy.Book
	now      time.Time
	seen     map[string]bool
	before   []policy.Stored
	faults   []fault
	warnings []fault
}

// check finds the faults of objects together: by schema, by the rules of their kinds, and among each other.
func check(objects []*object, catalog *release.Catalog, now time.Time) (faults, warnings []fault) {
	var groups []policy.Group
	for _, o := range objects {
		if o.kind == "group" {
			groups = append(groups, policy.Group{Name: o.name})
		}
	}
	book, err := policy.Compile(policy.Input{Catalog: catalog, Groups: groups})
	if err != nil {
		return []fault{{reason: err.Error()}}, nil
	}
	c := &checker{book: book, now: now, seen: map[string]bool{}}
	for _, o := range objects {
		c.object(o)
	}
	return c.faults, c.warnings
}

func (c *checker) fault(o *object, field, reason string) {
	c.faults = append(c.faults, fault{o.at(field, reason), field, reason})
}

func (c *checker) object(o *object) {
	if key := o.kind + "/" + o.name; c.seen[key] {
		c.fault(o, "name", fmt.Sprintf("another %s is called %q", o.kind, o.name))
	} else {
		c.seen[key] = true
	}
	b, err := o.json()
	if err != nil {
		c.fault(o, "", err.Error())
		return
	}
	if schema, ok := bodies[o.kind]; ok && slices.Contains(schemas.Names(), schema) {
		faults, err := schemas.Validate(schema, b)
		if err != nil {
			c.fault(o, "", err.Error())
			return
		}
		for _, f := range faults {
			c.fault(o, f.Field, f.Reason)
		}
		if len(faults) > 0 {
			return
		}
	}
	switch o.kind {
	case "policy":
		c.policy(o, b)
	case "group":
		if !policy.ValidName(o.name) {
			c.fault(o, "name", "must be 1 to 63 of a-z, 0-9, dots, hyphens and underscores, and begin with a letter or a digit")
		}
	case "hold":
		if err := release.CheckHoldSubject(c.book.Index, o.name); err != nil {
			c.fault(o, "name", err.Error())
		}
	}
}

func (c *checker) policy(o *object, b []byte) {
	var p policy.Policy
	if err := json.Unmarshal(b, &p); err != nil {
		c.fault(o, "", err.Error())
		return
	}
	faults, warnings := policy.Validate(&p, nil, c.book, c.now)
	for _, f := range faults {
		c.fault(o, f.Field, f.Reason)
	}
	for _, w := range warnings {
		c.warnings = append(c.warnings, fault{o.spot, "", w.Text})
	}
	if _, clash := policy.Clash(&p, c.before); clash != nil {
		c.fault(o, "priority", fmt.Sprintf("policy %q has priority %d too: priorities must differ", clash.Name, p.Priority))
	}
	c.before = append(c.before, policy.Stored{Policy: p})
}
