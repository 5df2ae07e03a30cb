package fleet

import (
	"context"
	"fmt"
	"slices"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

func (f *Fleet) group(g policy.Group) Group {
	out := Group{Name: g.Name, Devices: g.Devices, ETag: answer.ETag(g)}
	if out.Devices == nil {
		out.Devices = []string{}
	}
	for _, d := range g.Devices {
		if !f.index.AnyEnrolled(f.index.Resolve(d)) {
			out.UnknownMembers++
		}
	}
	return out
}

func members(devices []string) ([]string, error) {
	for i, d := range devices {
		if d == "" || len(d) > 256 {
			return nil, answer.Invalid("the group is not valid", policy.FieldError{Field: fmt.Sprintf("devices.%d", i), Reason: "must be a serial number or an enrollment id of 1 to 256 characters"})
		}
	}
	devices = slices.Clone(devices)
	slices.Sort(devices)
	return slices.Compact(devices), nil
}

// putGroup writes a group that change makes out of the stored one (nil: none).
func (f *Fleet) putGroup(ctx context.Context, name string, o WriteOptions, change func(*policy.Group) (policy.Group, error)) (Group, bool, *Impact, error) {
	if !policy.ValidName(name) {
		return Group{}, false, nil, answer.Invalid("the group is not valid", policy.FieldError{Field: "name", Reason: "must be 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"})
	}
	var impact *Impact
	var next policy.Group
	created := false
	err := f.guard(ctx, o, &impact, func(book *storage.Book, _ *plan.Book) (func(*storage.BookTx) error, bool, error) {
		before := book.Group(name)
		current := ""
		if before != nil {
			current = answer.ETag(*before)
		}
		if !answer.Matches(o.IfMatch, current) {
			return nil, false, answer.PreconditionFailed("the group")
		}
		var err error
		if next, err = change(before); err != nil {
			return nil, false, err
		}
		created = before == nil
		if before != nil && slices.Equal(before.Devices, next.Devices) {
			return nil, false, nil
		}
		return func(tx *storage.BookTx) error { return tx.PutGroup(next) }, false, nil
	}, func(in *policy.Input) {
		in.Groups = slices.DeleteFunc(slices.Clone(in.Groups), func(g policy.Group) bool { return g.Name == name })
		in.Groups = append(in.Groups, next)
	})
	if err != nil {
		return Group{}, false, impact, err
	}
	return f.group(next), created, impact, nil
}

// PutGroup creates or replaces a group.
func (f *Fleet) PutGroup(ctx context.Context, name string, devices []string, o WriteOptions) (Group, bool, *Impact, error) {
	devices, err := members(devices)
	if err != nil {
		return Group{}, false, nil, err
	}
	return f.putGroup(ctx, name, o, func(*policy.Group) (policy.Group, error) {
		return policy.Group{Name: name, Devices: devices}, nil
	})
}

// EditGroup adds and removes members of a group that exists.
func (f *Fleet) EditGroup(ctx context.Context, name string, add, remove []string, o WriteOptions) (Group, *Impact, error) {
	g, _, impact, err := f.putGroup(ctx, name, o, func(before *policy.Group) (policy.Group, error) {
		if before == nil {
			return policy.Group{}, answer.NotFound(fmt.Sprintf("there is no group named %q", name))
		}
		devices, err := members(slices.Concat(before.Devices, add))
		if err != nil {
			return policy.Group{}, err
		}
		devices = slices.DeleteFunc(devices, func(d string) bool { return slices.Contains(remove, d) })
		return policy.Group{Name: name, Devices: devices}, nil
	})
	return g, impact, err
}

// Group reads one group.
func (f *Fleet) Group(_ context.Context, name string) (Group, error) {
	g := f.book.cur.Load().stored.Group(name)
	if g == nil {
		return Group{}, answer.NotFound(fmt.Sprintf("there is no group named %q", name))
	}
	return f.group(*g), nil
}

// Groups lists the groups by name.
func (f *Fleet) Groups(_ context.Context, limit int, cursor string) (Page[Group], error) {
	all := f.book.cur.Load().stored.Groups
	return answer.List("groups", limit, cursor, len(all), func(i int) string { return all[i].Name }, func(i int) Group { return f.group(all[i]) })
}

// DeleteGroup deletes a group; policies that name it go on naming it.
func (f *Fleet) DeleteGroup(ctx context.Context, name string, o WriteOptions) (*Impact, error) {
	var impact *Impact
	err := f.guard(ctx, o, &impact, func(book *storage.Book, _ *plan.Book) (func(*storage.BookTx) error, bool, error) {
		g := book.Group(name)
		if g == nil {
			return nil, false, answer.NotFound(fmt.Sprintf("there is no group named %q", name))
		}
		if !answer.Matches(o.IfMatch, answer.ETag(*g)) {
			return nil, false, answer.PreconditionFailed("the group")
		}
		return func(tx *storage.BookTx) error { tx.DeleteGroup(name); return nil }, false, nil
	}, func(in *policy.Input) {
		in.Groups = slices.DeleteFunc(slices.Clone(in.Groups), func(g policy.Group) bool { return g.Name == name })
	})
	return impact, err
}
