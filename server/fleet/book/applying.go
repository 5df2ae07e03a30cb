package book

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// applying is an apply in the making.
type applying struct {
	keeper  *Keeper
	o       answer.WriteOptions
	now     time.Time
	before  states
	after   map[string]any // what the files hold
	managed map[string]bool

	faults   []policy.FieldError
	warnings []policy.Reason
	results  []Applied
	acts     []audit.Act
	writes   []func(*storage.BookTx) error
	past     bool
	next     policy.Input
}

func (a *applying) fault(i int, key, field, reason string) {
	a.faults = append(a.faults, policy.FieldError{Field: fmt.Sprintf("objects.%d.%s", i, field), Reason: "(" + key + ") " + reason})
}

// combine checks the objects together, as they will be, and makes the write.
func (a *applying) combine(objects []Object, prune bool, book *storage.Book, ready *plan.Book) (change, error) {
	a.next = book.Input
	changed := make([]bool, len(objects))
	for i := range objects {
		if err := a.take(i, &objects[i], changed); err != nil {
			return change{}, err
		}
	}
	a.remove(prune)
	judged := ready
	if in := book.Input; len(a.faults) == 0 { // what files name of each other is there once they are applied
		in.Groups = a.next.Groups
		var err error
		if judged, err = plan.Compile(in); err != nil {
			return change{}, fmt.Errorf("compile the book with the groups of the files: %w", err)
		}
	}
	for i := range objects {
		if changed[i] {
			a.judge(i, &objects[i], book, judged)
		}
	}
	a.clashes(objects)
	if len(a.faults) > 0 {
		return change{}, answer.Invalid("the objects are not valid", a.faults...)
	}
	slices.SortFunc(a.results, func(x, y Applied) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name))
	})
	c := change{apply: func(in *policy.Input) { *in = a.next }, acts: a.acts, past: a.past}
	if len(a.writes) > 0 {
		c.write = func(tx *storage.BookTx) error {
			for _, write := range a.writes {
				if err := write(tx); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return c, nil
}

// take compares an object with the server's, and puts it into the book that will be.
func (a *applying) take(i int, o *Object, changed []bool) error {
	key := o.key()
	kind, name, _ := strings.Cut(key, "/")
	if _, twice := a.after[key]; twice {
		a.fault(i, key, "name", "stands in the files twice")
		return nil
	}
	if g := o.Group; g != nil {
		devices, err := members(g.Devices)
		if invalid, is := err.(*answer.Error); is { //nolint:errorlint // members returns it as it is
			for _, f := range invalid.Fields {
				a.fault(i, key, f.Field, f.Reason)
			}
			return nil
		}
		o.Group = &policy.Group{Name: g.Name, Devices: devices}
	}
	if f := o.Freeze; f != nil && a.before[key] == nil && f.To != 0 && !f.EndsAt().After(a.now) {
		a.after[key] = nil
		a.warnings = append(a.warnings, policy.Reason{
			Code: "freeze_over", Text: fmt.Sprintf("The freeze %q is over and is not on the server: it is left out.", f.Name),
			Advice: "Delete its file.", Evidence: map[string]any{"freeze": f.Name},
		})
		return nil
	}
	a.after[key] = o.state()
	act := audit.Act{Action: kind + ".put", Object: key, Reason: o.reason(), Before: a.before[key], After: a.after[key]}
	if kind == KindGroup {
		act.Members = []string{"devices"}
	}
	res := Applied{Kind: kind, Name: name, Action: ActionNone, Managed: a.managed[key], Fields: []audit.Change{}}
	fields, err := audit.Differences(act)
	if err != nil {
		return err
	}
	if changed[i] = len(fields) > 0; changed[i] {
		res.Action, res.Managed, res.Fields = ActionUpdate, true, fields
		if a.before[key] == nil {
			res.Action = ActionCreate
		}
		a.acts = append(a.acts, act)
		a.stage(key, o)
	}
	a.results = append(a.results, res)
	return nil
}

func (o *Object) state() any {
	switch {
	case o.Policy != nil:
		return *o.Policy
	case o.Group != nil:
		return groupState(o.Group)
	case o.Hold != nil:
		return holdState(o.Hold)
	}
	return freezeState(o.Freeze)
}

func (o *Object) reason() string {
	switch {
	case o.Hold != nil:
		return o.Hold.Reason
	case o.Freeze != nil:
		return o.Freeze.Reason
	}
	return ""
}

// stage puts an object that changes into the book that will be, and into the commit.
func (a *applying) stage(key string, o *Object) {
	in, by := &a.next, a.o.By.Actor
	put := func(write func(*storage.BookTx) error) {
		a.writes = append(a.writes, write, func(tx *storage.BookTx) error { return tx.SetManaged(key) })
	}
	switch {
	case o.Policy != nil:
		var before *policy.Stored
		if i := slices.IndexFunc(in.Policies, func(p policy.Stored) bool { return p.Name == o.Policy.Name }); i >= 0 {
			before = &in.Policies[i]
		}
		p := policy.Stored{Policy: *o.Policy, CreatedAt: a.now, UpdatedAt: a.now, Asks: policy.Asks(before, o.Policy, a.now)}
		if before != nil {
			p.CreatedAt = before.CreatedAt
		}
		in.Policies = append(withoutPolicy(in.Policies, p.Name), p)
		put(func(tx *storage.BookTx) error { return tx.PutPolicy(p) })
	case o.Group != nil:
		in.Groups = append(withoutGroup(in.Groups, o.Group.Name), *o.Group)
		put(func(tx *storage.BookTx) error { return tx.PutGroup(*o.Group) })
	case o.Hold != nil:
		h := *o.Hold
		h.Since, h.By = a.now, by
		if i := slices.IndexFunc(in.Holds, func(x release.Hold) bool { return x.Subject == h.Subject }); i >= 0 {
			h.Since = in.Holds[i].Since
		}
		in.Holds = append(withoutHold(in.Holds, h.Subject), h)
		put(func(tx *storage.BookTx) error { return tx.PutHold(h) })
	default:
		f := *o.Freeze
		f.CreatedAt, f.UpdatedAt, f.By = a.now, a.now, by
		if i := slices.IndexFunc(in.Freezes, func(x policy.Freeze) bool { return x.Name == f.Name }); i >= 0 {
			f.CreatedAt = in.Freezes[i].CreatedAt
		}
		in.Freezes = append(withoutFreeze(in.Freezes, f.Name), f)
		put(func(tx *storage.BookTx) error { return tx.PutFreeze(f) })
	}
}

// remove lists what is on the server and not in the files; with prune it deletes of it what an apply wrote.
func (a *applying) remove(prune bool) {
	for _, key := range slices.Sorted(maps.Keys(a.before)) {
		if _, there := a.after[key]; there {
			continue
		}
		kind, name, _ := strings.Cut(key, "/")
		res := Applied{Kind: kind, Name: name, Action: ActionKeep, Managed: a.managed[key], Fields: []audit.Change{}}
		if prune && a.managed[key] {
			act := audit.Act{Action: kind + ".delete", Object: key, Before: a.before[key]}
			if fields, err := audit.Differences(act); err == nil {
				res.Fields = fields
			}
			res.Action, res.Managed = ActionDelete, false
			a.acts = append(a.acts, act)
			a.drop(kind, name)
		}
		a.results = append(a.results, res)
	}
}

func (a *applying) drop(kind, name string) {
	in := &a.next
	var drop func(*storage.BookTx)
	switch kind {
	case KindPolicy:
		in.Policies = withoutPolicy(in.Policies, name)
		drop = func(tx *storage.BookTx) { tx.DeletePolicy(name) }
	case KindGroup:
		in.Groups = withoutGroup(in.Groups, name)
		drop = func(tx *storage.BookTx) { tx.DeleteGroup(name) }
	case KindHold:
		in.Holds = withoutHold(in.Holds, name)
		drop = func(tx *storage.BookTx) { tx.DeleteHold(name) }
	case KindFreeze:
		in.Freezes = withoutFreeze(in.Freezes, name)
		drop = func(tx *storage.BookTx) { tx.DeleteFreeze(name) }
	}
	a.writes = append(a.writes, func(tx *storage.BookTx) error { drop(tx); return nil })
}

// judge checks an object that changes by the rules of its kind.
func (a *applying) judge(i int, o *Object, book *storage.Book, ready *plan.Book) {
	key := o.key()
	var faults []policy.FieldError
	var warnings []policy.Reason
	switch {
	case o.Policy != nil:
		before := book.Policy(o.Policy.Name)
		faults, warnings = policy.Validate(o.Policy, before, ready.Book, a.now)
		a.past = a.past || len(faults) == 0 && policy.DeadlinePast(o.Policy, a.now) &&
			(before == nil || before.Rule().Deadline != o.Policy.Rule().Deadline)
	case o.Group != nil:
		if !policy.ValidName(o.Group.Name) {
			a.fault(i, key, "name", "must be 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")
		}
	case o.Hold != nil:
		faults = a.keeper.holdFaults(o.Hold)
		for f := range faults {
			faults[f].Field = strings.Replace(faults[f].Field, "subject", "name", 1)
		}
	default:
		faults, warnings = policy.ValidateFreeze(o.Freeze, book.Freeze(o.Freeze.Name), ready.Book, a.now)
	}
	for _, f := range faults {
		a.fault(i, key, f.Field, f.Reason)
	}
	for _, w := range warnings {
		w.Evidence = maps.Clone(w.Evidence)
		if w.Evidence == nil {
			w.Evidence = map[string]any{}
		}
		w.Evidence["object"] = key
		a.warnings = append(a.warnings, w)
	}
}

// clashes finds policies of equal priority, in the book that will be: two may swap theirs.
func (a *applying) clashes(objects []Object) {
	byPriority := map[int][]string{}
	for i := range a.next.Policies {
		p := &a.next.Policies[i]
		byPriority[p.Priority] = append(byPriority[p.Priority], p.Name)
	}
	seen := map[int]bool{}
	for i := range objects {
		p := objects[i].Policy
		if p == nil || len(byPriority[p.Priority]) < 2 {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(byPriority[p.Priority]), func(n string) bool { return n == p.Name })
		inFiles := slices.ContainsFunc(others, func(n string) bool { _, is := a.after[KindPolicy+"/"+n]; return is })
		if inFiles && !seen[p.Priority] { // of two equal ones the second is the fault
			seen[p.Priority] = true
			continue
		}
		a.fault(i, objects[i].key(), "priority",
			fmt.Sprintf("policy %q has priority %d too: priorities must differ", others[0], p.Priority))
	}
}
