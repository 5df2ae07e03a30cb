package editor

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

func decode(t *testing.T, text string) policy.Policy {
	t.Helper()
	var p policy.Policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestChoices(t *testing.T) {
	all := []fleet.Release{
		{Version: "15.7.9", Kind: "os", Available: true},
		{Version: "26.6.1", Kind: "os", Available: true},
		{Version: "26.10", Kind: "os", Available: true},
		{Version: "26.10", Build: "another", Kind: "os", Available: true},
		{Version: "26.6.1", Letter: "a", Kind: "bsi", Available: true},
		{Version: "14.8", Kind: "os"}, // not offered any more
		{Version: "27.0", Kind: "bsi", Available: true},
	}
	for _, tt := range []struct {
		track, selected string
		values          []string
	}{
		{"", "", []string{"", "current", "latest", "26", "15"}},
		{"latest", "latest", []string{"", "current", "latest", "26", "15"}},
		{"15", "15", []string{"", "current", "latest", "26", "15"}},
		{"14", "14", []string{"", "current", "latest", "26", "15", "14"}}, // a policy has it, so the form must show it
	} {
		tracks, offered := Choices(all, tt.track)
		var values, selected []string
		for _, o := range tracks {
			values = append(values, o.Value)
			if o.Selected {
				selected = append(selected, o.Value)
			}
		}
		if !slices.Equal(values, tt.values) || !slices.Equal(selected, []string{tt.selected}) {
			t.Errorf("track %q: %v, of which %v", tt.track, values, selected)
		}
		if want := []string{"26.10", "26.6.1", "15.7.9"}; !slices.Equal(offered, want) {
			t.Errorf("offered are %v, want %v", offered, want)
		}
	}
	if tracks, offered := Choices(nil, ""); len(tracks) != 3 || len(offered) != 0 {
		t.Errorf("without a catalogue: %v, %v", tracks, offered)
	}
}

func TestPlace(t *testing.T) {
	for _, tt := range []struct {
		field, reason string
		at, says      string // at nothing: in general
	}{
		{"name", "must be given", "name", "Must be given."},
		{"assign.groups[1]", "is no group", "assign.groups", "Is no group."},
		{"assign.exclude_groups[0]", "is no group", "assign.exclude_groups", "Is no group."},
		{"updates.versions[0]", "is no version", "updates.version", "Is no version."},
		{"settings", "is no JSON", "settings", "Is no JSON."},
		{"settings.Deferrals.CombinedPeriodInDays", "must be at most 90", "settings", "Deferrals.CombinedPeriodInDays: must be at most 90"},
		{"os", "must not be given", "os.track", "os must not be given"},
		{"rings[0].percent", "must be at most 100", "rings[0].percent", "Must be at most 100."},
		{"rings[1].groups[0]", "is no group", "rings[1].groups", "Is no group."},
		{"rings[1]", "must have groups or percent", "rings[1].groups", "Must have groups or percent."},
		{"rings", "must be between 2 and 10", "rings", "Must be between 2 and 10."},
		{"updates.days[1]", "must be a weekday", "updates.days", "Must be a weekday."},
		{"background_security.days", "must have at least one", "background_security.days", "Must have at least one."},
		{"gate", "needs rings", "gate.min_macs", "Needs rings."},
		{"time_zone", "is no zone", "", "time_zone: is no zone"},
	} {
		at, general := Place([]policy.FieldError{{Field: tt.field, Reason: tt.reason}})
		want, wantGeneral := map[string][]string{tt.at: {tt.says}}, []string(nil)
		if tt.at == "" {
			want, wantGeneral = map[string][]string{}, []string{tt.says}
		}
		if !maps.EqualFunc(at, want, slices.Equal) || !slices.Equal(general, wantGeneral) {
			t.Errorf("%s: at %v, in general %v", tt.field, at, general)
		}
	}
	at, _ := Place([]policy.FieldError{{Field: "assign.groups[0]", Reason: "a"}, {Field: "assign.groups[1]", Reason: "b"}})
	if len(at["assign.groups"]) != 2 {
		t.Errorf("one of two faults of a field is lost: %v", at)
	}
}

// Only the policy whose impact was shown is confirmed.
func TestFingerprint(t *testing.T) {
	texts := []string{
		`{"name":"x","priority":1}`,
		`{"name":"x","priority":2}`,
		`{"name":"x","priority":1,"updates":{"mode":"none"}}`,
		`{"name":"x","priority":1,"updates":{"mode":"automatic","within_days":14}}`,
		`{"name":"x","priority":1,"updates":{"mode":"automatic","within_days":13}}`,
	}
	seen := map[string]string{}
	for _, text := range texts {
		first, again := decode(t, text), decode(t, text)
		a, err := Fingerprint(&first)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := Fingerprint(&again); err != nil || a != b {
			t.Errorf("%s: %s, then %s, %v", text, a, b, err)
		}
		if other := seen[a]; other != "" {
			t.Errorf("%s and %s are taken for the same", other, text)
		}
		seen[a] = text
	}
}

// Every field at which a fault is shown is posted under the same name.
func TestFieldsArePosted(t *testing.T) {
	names := (&Form{}).names()
	for _, field := range Fields {
		boxes := []string{"background_security.mode", "updates.days", "background_security.days", "rings"} // to tick, and the rows
		if !slices.Contains(boxes, field) && names[field] == nil {
			t.Errorf("%s is no field of the form", field)
		}
	}
	v := url.Values{}
	for name := range names {
		v.Set(name, "  typed at "+name+"\r\n")
	}
	f := Read(v)
	for name, got := range f.names() {
		if want := "typed at " + name; *got != want {
			t.Errorf("%s is read as %q", name, *got)
		}
	}
	if f.BSI {
		t.Error("a box that was not ticked is on")
	}
	if v.Set("background_security.mode", "automatic"); !Read(v).BSI {
		t.Error("a ticked box is off")
	}
}

// What belongs to another mode than the chosen one stays in the form and is no part of the policy.
func TestOnlyTheChosenModeCounts(t *testing.T) {
	full := url.Values{
		"name": {"x"}, "priority": {"7"}, "updates.within_days": {"14"}, "updates.exploited_within_days": {"3"},
		"updates.min_age_days": {"1"}, "updates.time": {"12:00"}, "updates.version": {"26.6.1"}, "updates.build": {"25G76"},
		"updates.deadline": {"2027-03-01T12:00"}, "os.track": {"26"}, "os.upgrade": {"enforce"}, "os.upgrade_within_days": {"60"},
	}
	for _, tt := range []struct {
		name, want string
		set        url.Values
	}{
		{
			"none", `{"name":"x","priority":7,"updates":{"mode":"none"}}`,
			url.Values{"updates.mode": {"none"}},
		},
		{
			"automatic", `{"name":"x","priority":7,"os":{"track":"26","upgrade":"enforce","upgrade_within_days":60},` +
				`"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"min_age_days":1,"time":"12:00"}}`,
			url.Values{"updates.mode": {"automatic"}},
		},
		{
			"minimum", `{"name":"x","priority":7,"os":{"track":"26","upgrade":"enforce"},` +
				`"updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-03-01T12:00:00"}}`,
			url.Values{"updates.mode": {"minimum"}},
		},
		{
			"two floors", `{"name":"x","priority":7,"os":{"track":"26","upgrade":"enforce"},` +
				`"updates":{"mode":"minimum","versions":["26.6.1","15.7.9"],"deadline":"2027-03-01T12:00:00"}}`,
			url.Values{"updates.mode": {"minimum"}, "updates.version": {"26.6.1, 15.7.9"}},
		},
		{
			"exact", `{"name":"x","priority":7,"os":{"track":"26","upgrade":"enforce"},` +
				`"updates":{"mode":"exact","version":"26.6.1","build":"25G76","deadline":"2027-03-01T12:00:00"}}`,
			url.Values{"updates.mode": {"exact"}},
		},
		{
			"its own track knows no upgrade", `{"name":"x","priority":7,"os":{"track":"current"},` +
				`"updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-03-01T12:00:00"}}`,
			url.Values{"updates.mode": {"minimum"}, "os.track": {"current"}},
		},
		{
			"of the groups", `{"name":"x","priority":7,"assign":{"groups":["eng","ops"],"exclude_groups":["lab"]},"updates":{"mode":"none"}}`,
			url.Values{"updates.mode": {"none"}, "assign.groups": {"eng,  ops;"}, "assign.exclude_groups": {"lab\r\n"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := maps.Clone(full)
			maps.Copy(v, tt.set)
			f := Read(v)
			got, wrong := f.Policy(nil)
			if len(wrong) > 0 {
				t.Fatal(wrong)
			}
			want := decode(t, tt.want)
			gotText, _ := json.Marshal(got)
			wantText, _ := json.Marshal(want)
			if string(gotText) != string(wantText) {
				t.Errorf("got\n%s\nwant\n%s", gotText, wantText)
			}
		})
	}
}

// The form does not show a zone, or what happens at enrolment: an edit of the rest leaves them alone.
func TestTheFormKeepsTheRest(t *testing.T) {
	const hidden = `"rings":[{"name":"pilot","percent":10},{"name":"all"}],"time_zone":"Europe/Berlin","at_enrolment":"newest"`
	before := decode(t, `{"name":"x","priority":1,"updates":{"mode":"automatic","within_days":14,"days":["tue","wed"]},
	 "background_security":{"mode":"automatic","within_days":2,"days":["mon"]},`+hidden+`}`)
	form, err := Of(&before)
	if err != nil {
		t.Fatal(err)
	}
	form.Original, form.WithinDays, form.Name = "x", "7", "another"
	after, wrong := form.Policy(&before)
	if len(wrong) > 0 || after.Name != "x" || *after.Updates.WithinDays != 7 {
		t.Fatalf("%+v, %v", after, wrong)
	}
	if len(after.Rings) != 2 || after.TimeZone != "Europe/Berlin" || after.AtEnrolment != "newest" ||
		!slices.Equal(after.Updates.Days, []string{"tue", "wed"}) || !slices.Equal(after.BackgroundSecurity.Days, []string{"mon"}) {
		t.Errorf("an edit changed what the form does not show: %+v", after)
	}
	form.Mode, form.BSI = policy.ModeMinimum, false
	if after, _ = form.Policy(&before); after.Updates.Days != nil || after.BackgroundSecurity.Days != nil || after.Rings != nil {
		t.Errorf("another mode has the weekdays or rings of the one before: %+v", after)
	}
	if after.BackgroundSecurity.Mode != policy.ModeNone {
		t.Error("a box that was unticked leaves Background Security Improvements on")
	}
}

// What a new policy begins with can be saved once it has a name.
func TestNewPoliciesAreValid(t *testing.T) {
	form := New(20)
	form.Name = "everyone"
	p, wrong := form.Policy(nil)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	now := time.Date(2026, 8, 24, 9, 0, 0, 0, time.UTC)
	if faults, warnings := policy.Validate(&p, nil, &policy.Book{}, now); len(faults) > 0 {
		t.Errorf("%v, %v", faults, warnings)
	}
	if words := strings.Join(view.PolicyWords(&p), " "); !strings.Contains(words, "14 days") || p.Priority != 20 {
		t.Errorf("%d: %s", p.Priority, words)
	}
}
