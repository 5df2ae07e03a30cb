package book

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// Group is a static group with what is known of its members.
type Group struct {
	Name           string   `json:"name"`
	Devices        []string `json:"devices"`
	UnknownMembers int      `json:"unknown_members"` // not enrolled yet
	ETag           string   `json:"-"`
}

func (k *Keeper) group(g policy.Group) Group {
	out := Group{Name: g.Name, Devices: g.Devices, ETag: answer.ETag(g)}
	if out.Devices == nil {
		out.Devices = []string{}
	}
	for _, d := range g.Devices {
		if !k.o.Macs.AnyEnrolled(k.o.Macs.Resolve(d)) {
			out.UnknownMembers++
		}
	}
	return out
}

func members(devices []string) ([]string, error) {
	devices = slices.Clone(devices)
	for i, d := range devices {
		devices[i] = strings.TrimSpace(d)
		if d = devices[i]; d == "" || len(d) > 256 {
			return nil, answer.Invalid("the group is not valid", policy.FieldError{
				Field:  fmt.Sprintf("devices.%d", i),
				Reason: "must be a serial number or an enrollment id of 1 to 256 characters",
			})
		}
	}
	slices.SortFunc(devices, func(a, b string) int {
		return cmp.Or(strings.Compare(policy.Member(a), policy.Member(b)), strings.Compare(a, b))
	})
	return slices.CompactFunc(devices, func(a, b string) bool { return policy.Member(a) == policy.Member(b) }), nil
}

// putGroup writes a group that edit makes out of the stored one (nil: none).
func (k *Keeper) putGroup(ctx context.Context, name string, o answer.WriteOptions,
	edit func(*policy.Group) (policy.Group, error),
) (Group, bool, *answer.Impact, error) {
	if !policy.ValidName(name) {
		return Group{}, false, nil, answer.Invalid(
			"the group is not valid",
			policy.FieldError{
				Field:  "name",
				Reason: "must be 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
			},
		)
	}
	var next policy.Group
	created := false
	impact, err := k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (c change, err error) {
		before := book.Group(name)
		current := ""
		if before != nil {
			current = answer.ETag(*before)
		}
		if !answer.Matches(o.IfMatch, current) {
			return c, answer.PreconditionFailed("the group")
		}
		if next, err = edit(before); err != nil {
			return c, err
		}
		created = before == nil
		if before != nil && slices.Equal(before.Devices, next.Devices) {
			return c, nil
		}
		return change{
			apply: func(in *policy.Input) { in.Groups = append(withoutGroup(in.Groups, name), next) },
			write: func(tx *storage.BookTx) error { return tx.PutGroup(next) },
			acts: []audit.Act{{
				Action: "group.put", Object: "group/" + name, Before: groupState(before), After: next, Members: []string{"devices"},
			}},
		}, nil
	})
	if err != nil {
		return Group{}, false, nil, err
	}
	return k.group(next), created, impact, nil
}

func withoutGroup(groups []policy.Group, name string) []policy.Group {
	return slices.DeleteFunc(slices.Clone(groups), func(g policy.Group) bool { return g.Name == name })
}

// PutGroup creates or replaces a group.
func (k *Keeper) PutGroup(ctx context.Context, name string, devices []string, o answer.WriteOptions) (Group, bool,
	*answer.Impact, error,
) {
	devices, err := members(devices)
	if err != nil {
		return Group{}, false, nil, err
	}
	return k.putGroup(ctx, name, o, func(*policy.Group) (policy.Group, error) {
		return policy.Group{Name: name, Devices: devices}, nil
	})
}

// EditGroup adds and removes members of a group that exists.
func (k *Keeper) EditGroup(ctx context.Context, name string, add, remove []string, o answer.WriteOptions) (Group,
	*answer.Impact, error,
) {
	g, _, impact, err := k.putGroup(ctx, name, o, func(before *policy.Group) (policy.Group, error) {
		if before == nil {
			return policy.Group{}, answer.NotFound(fmt.Sprintf("there is no group named %q", name))
		}
		devices, err := members(slices.Concat(before.Devices, add))
		if err != nil {
			return policy.Group{}, err
		}
		gone := make(map[string]bool, len(remove))
		for _, d := range remove {
			gone[policy.Member(d)] = true
		}
		devices = slices.DeleteFunc(devices, func(d string) bool { return gone[policy.Member(d)] })
		return policy.Group{Name: name, Devices: devices}, nil
	})
	return g, impact, err
}

// Group reads one group.
func (k *Keeper) Group(_ context.Context, name string) (Group, error) {
	g := k.Current().Stored.Group(name)
	if g == nil {
		return Group{}, answer.NotFound(fmt.Sprintf("there is no group named %q", name))
	}
	return k.group(*g), nil
}

// Groups lists the groups by name.
func (k *Keeper) Groups(_ context.Context, limit int, cursor string) (answer.Page[Group], error) {
	all := k.Current().Stored.Groups
	return answer.List("groups", limit, cursor, len(all), func(i int) string { return all[i].Name },
		func(i int) Group { return k.group(all[i]) })
}

// DeleteGroup deletes a group; policies that name it go on naming it.
func (k *Keeper) DeleteGroup(ctx context.Context, name string, o answer.WriteOptions) (*answer.Impact, error) {
	return k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (change, error) {
		g := book.Group(name)
		if g == nil {
			return change{}, answer.NotFound(fmt.Sprintf("there is no group named %q", name))
		}
		if !answer.Matches(o.IfMatch, answer.ETag(*g)) {
			return change{}, answer.PreconditionFailed("the group")
		}
		return change{
			apply: func(in *policy.Input) { in.Groups = withoutGroup(in.Groups, name) },
			write: func(tx *storage.BookTx) error { tx.DeleteGroup(name); return nil },
			acts:  []audit.Act{{Action: "group.delete", Object: "group/" + name, Before: groupState(g)}},
		}, nil
	})
}
