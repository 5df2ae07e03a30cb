// Package editor is the form in which people write a policy: it reads and shows policies, and says at which field a fault is.
package editor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/schemas"
	"plimsoll/server/web/view"
)

// Form is a policy as the editor's form carries it: text, so that what is wrong can be shown as it was typed. A field that
// does not belong to the chosen mode is not part of the policy.
type Form struct {
	Original string // the name of the policy that is edited; empty for a new one
	ETag     string

	Name, Label, Priority                             string
	Groups, Exclude, When                             string
	Mode                                              string
	WithinDays, ExploitedWithinDays, MinAgeDays, Time string
	Version, Build, Deadline                          string
	Track, Upgrade, UpgradeWithinDays                 string
	BSI                                               bool
	BSIWithinDays, BSITime                            string
	NoticeDays, DelayHours, DetailsURL, Settings      string

	Days, BSIDays []view.Option // the weekdays, those that are chosen selected
	Rings         []Ring
	Gate          bool
	GateMinMacs   string
	GateMaxBad    string
}

// Fields are those at which the editor shows faults.
var Fields = []string{
	"name", "label", "priority", "assign.groups", "assign.exclude_groups", "assign.when", "os.track", "os.upgrade",
	"os.upgrade_within_days",
	"updates.mode", "updates.within_days", "updates.exploited_within_days", "updates.time", "updates.min_age_days",
	"updates.version", "updates.build",
	"updates.deadline", "background_security.mode", "background_security.within_days", "background_security.time", "notice_days",
	"delay.max_hours", "details_url", "settings", "updates.days", "background_security.days", "rings", "gate.min_macs",
	"gate.max_bad_percent",
}

// New is what a new policy begins with: the newest of what each Mac runs, within two weeks.
func New(priority int) Form {
	return Form{
		Priority: strconv.Itoa(priority), Mode: policy.ModeAutomatic, WithinDays: "14", ExploitedWithinDays: "3", Time: "12:00",
		BSI: true, BSIWithinDays: "2", Days: weekdays(nil), BSIDays: weekdays(nil),
	}
}

// names maps the form's fields to their names, which are the paths of the policy's fields.
func (f *Form) names() map[string]*string {
	return map[string]*string{
		"original": &f.Original, "etag": &f.ETag, "name": &f.Name, "label": &f.Label, "priority": &f.Priority,
		"assign.groups": &f.Groups, "assign.exclude_groups": &f.Exclude, "assign.when": &f.When, "updates.mode": &f.Mode,
		"updates.within_days": &f.WithinDays, "updates.exploited_within_days": &f.ExploitedWithinDays,
		"updates.min_age_days": &f.MinAgeDays,
		"updates.time":         &f.Time, "updates.version": &f.Version, "updates.build": &f.Build, "updates.deadline": &f.Deadline,
		"os.track": &f.Track, "os.upgrade": &f.Upgrade, "os.upgrade_within_days": &f.UpgradeWithinDays,
		"background_security.within_days": &f.BSIWithinDays, "background_security.time": &f.BSITime, "notice_days": &f.NoticeDays,
		"delay.max_hours": &f.DelayHours, "details_url": &f.DetailsURL, "settings": &f.Settings,
		"gate.min_macs": &f.GateMinMacs, "gate.max_bad_percent": &f.GateMaxBad,
	}
}

// Read is the form as it was posted.
func Read(v url.Values) Form {
	var f Form
	for name, p := range f.names() {
		*p = strings.TrimSpace(v.Get(name))
	}
	f.BSI = v.Get("background_security.mode") == policy.ModeAutomatic
	f.Days, f.BSIDays = weekdays(v["updates.days"]), weekdays(v["background_security.days"])
	f.readRings(v)
	return f
}

func numberText(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// Of is a stored policy in the form.
func Of(p *policy.Policy) (Form, error) {
	f := Form{
		Name: p.Name, Label: p.Label, Priority: strconv.Itoa(p.Priority), Groups: strings.Join(p.Assign.Groups, ", "),
		Exclude: strings.Join(p.Assign.ExcludeGroups, ", "), When: p.Assign.When, Mode: policy.ModeNone,
		NoticeDays: numberText(p.NoticeDays), DetailsURL: p.DetailsURL, Days: weekdays(nil), BSIDays: weekdays(nil),
	}
	f.ringsOf(p)
	if u := p.Updates; u != nil {
		f.Mode, f.Time, f.Build, f.Version = u.Mode, u.Time, u.Build, string(u.Version)
		f.WithinDays, f.MinAgeDays, f.Days = numberText(u.WithinDays), numberText(u.MinAgeDays), weekdays(u.Days)
		f.ExploitedWithinDays = numberText(u.ExploitedWithinDays)
		if u.Deadline != nil {
			f.Deadline = u.Deadline.String()
		}
		if u.Versions != nil {
			words := make([]string, len(u.Versions))
			for i, v := range u.Versions {
				words[i] = string(v)
			}
			f.Version = strings.Join(words, ", ")
		}
	}
	if p.OS != nil {
		f.Track, f.Upgrade, f.UpgradeWithinDays = p.OS.Track, p.OS.Upgrade, numberText(p.OS.UpgradeWithinDays)
	}
	if s := p.BackgroundSecurity; s != nil {
		f.BSI, f.BSIWithinDays, f.BSITime = s.Mode == policy.ModeAutomatic, numberText(s.WithinDays), s.Time
		f.BSIDays = weekdays(s.Days)
	}
	if p.Delay != nil {
		f.DelayHours = strconv.Itoa(p.Delay.MaxHours)
	}
	if p.Settings != nil {
		b, err := json.MarshalIndent(p.Settings, "", "  ")
		if err != nil {
			return f, fmt.Errorf("show the settings of the policy %s: %w", p.Name, err)
		}
		f.Settings = string(b)
	}
	return f, nil
}

// reading turns a form into a policy, and notes what it cannot read.
type reading struct{ wrong []policy.FieldError }

func (r *reading) fault(name, reason string) {
	r.wrong = append(r.wrong, policy.FieldError{Field: name, Reason: reason})
}

func (r *reading) number(name, s string) *int {
	if s == "" {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		r.fault(name, "must be a whole number")
		return nil
	}
	return &n
}

// Policy reads the form. before is the policy that it replaces, nil for a new one: what that left out, and the form cannot tell
// from a default, stays left out. What is wrong with the policy itself is for the use case to say.
func (f *Form) Policy(before *policy.Policy) (policy.Policy, []policy.FieldError) {
	r := &reading{}
	if before == nil {
		before = &policy.Policy{Updates: &policy.Updates{}}
	}
	p := policy.Policy{
		Name: f.Name, Label: f.Label, DetailsURL: f.DetailsURL, NoticeDays: r.number("notice_days", f.NoticeDays),
		Assign: policy.Assign{Groups: view.Words(f.Groups), ExcludeGroups: view.Words(f.Exclude), When: f.When},
	}
	if f.Original != "" {
		p.Name = f.Original
	}
	switch n := r.number("priority", f.Priority); {
	case n != nil:
		p.Priority = *n
	case f.Priority == "":
		r.fault("priority", "must be given")
	}
	p.Updates = f.updates(r, before)
	if f.Mode != policy.ModeNone && f.Track != "" {
		p.OS = f.os(r)
	}
	switch {
	case f.BSI:
		p.BackgroundSecurity = &policy.BackgroundSecurity{
			Mode: policy.ModeAutomatic, WithinDays: r.number("background_security.within_days", f.BSIWithinDays), Time: f.BSITime,
			Days: chosen(f.BSIDays),
		}
	case before.BackgroundSecurity != nil:
		p.BackgroundSecurity = &policy.BackgroundSecurity{Mode: policy.ModeNone}
	}
	if n := r.number("delay.max_hours", f.DelayHours); n != nil {
		p.Delay = &policy.Delay{MaxHours: *n}
	}
	p.Settings = f.settings(r)
	if f.Mode == policy.ModeAutomatic {
		p.Rings, p.Gate = f.rings(r)
	}
	// The form does not show these: an edit of the rest leaves them as they are.
	p.TimeZone, p.AtEnrolment = before.TimeZone, before.AtEnrolment
	return p, r.wrong
}

func (f *Form) updates(r *reading, before *policy.Policy) *policy.Updates {
	u := &policy.Updates{Mode: f.Mode}
	switch f.Mode {
	case policy.ModeNone:
		if before.Updates == nil {
			return nil
		}
	case policy.ModeAutomatic:
		u.WithinDays, u.Days = r.number("updates.within_days", f.WithinDays), chosen(f.Days)
		if len(f.Rings) == 0 { // each ring has an age of its own
			u.MinAgeDays = r.number("updates.min_age_days", f.MinAgeDays)
		}
		u.ExploitedWithinDays, u.Time = r.number("updates.exploited_within_days", f.ExploitedWithinDays), f.Time
	case policy.ModeMinimum, policy.ModeExact:
		list := view.Words(f.Version)
		if f.Mode == policy.ModeMinimum && (len(list) > 1 ||
			len(list) == 1 && before.Updates != nil && before.Updates.Versions != nil) {
			for _, v := range list {
				u.Versions = append(u.Versions, release.Version(v))
			}
		} else {
			u.Version = release.Version(f.Version)
		}
		if f.Mode == policy.ModeExact {
			u.Build = f.Build
		}
		if f.Deadline != "" {
			l, err := view.LocalOf(f.Deadline)
			if err != nil {
				r.fault("updates.deadline", "must be a day and a time such as 2026-12-01T12:00:00")
			}
			if l != 0 {
				u.Deadline = &l
			}
		}
	}
	return u
}

func (f *Form) os(r *reading) *policy.OS {
	o := &policy.OS{Track: f.Track, Upgrade: f.Upgrade}
	if f.Track == policy.TrackCurrent {
		// The editor hides these for the track "current", so what is left in them is not meant.
		if o.Upgrade != policy.UpgradeHold {
			o.Upgrade = ""
		}
		return o
	}
	if f.Mode == policy.ModeAutomatic && f.Upgrade == policy.UpgradeEnforce {
		o.UpgradeWithinDays = r.number("os.upgrade_within_days", f.UpgradeWithinDays)
	}
	return o
}

// settings reads Apple's settings payload, which stands in the form as JSON; what it may hold is for its schema to say.
func (f *Form) settings(r *reading) *declarations.Settings {
	if f.Settings == "" {
		return nil
	}
	wrong, err := schemas.Validate("settings", []byte(f.Settings))
	if err != nil {
		r.fault("settings", strings.Replace(err.Error(), "the body", "it", 1))
		return nil
	}
	for _, w := range wrong {
		r.fault("settings."+strings.TrimPrefix(w.Field, "body"), w.Reason)
	}
	var s declarations.Settings
	if err := json.NewDecoder(bytes.NewReader([]byte(f.Settings))).Decode(&s); err != nil && len(wrong) == 0 {
		r.fault("settings", err.Error())
	}
	return &s
}
