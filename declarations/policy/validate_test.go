package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll/declarations/release"
)

const sample = `{
  "name": "engineering", "label": "Engineering Macs", "priority": 100,
  "assign":  { "groups": ["eng"], "exclude_groups": ["lab"], "when": "model startsWith 'Mac16'" },
  "os":      { "track": "26", "upgrade": "enforce", "upgrade_within_days": 60 },
  "updates": { "mode": "automatic", "within_days": 14, "exploited_within_days": 3, "time": "12:00", "min_age_days": 0 },
  "background_security": { "mode": "automatic", "within_days": 2, "time": "12:00" },
  "notice_days": 5, "delay": { "max_hours": 24 }, "details_url": "https://it.example.com/updates",
  "settings": { "AutomaticActions": { "Download": "AlwaysOn" } }
}`

// What Apple offered in August 2026 to most boards, in short.
var august = []string{
	"14.8.9 23J631 2026-08-06 J1AP", "15.7.8 24G824 2026-07-27 J1AP,J2AP", "15.7.9 24G830 2026-08-06 J1AP,J2AP",
	"26.5 25F71 2026-05-18 J1AP", "26.5.2 25F84 2026-06-29 J1AP", "26.6 25G72 2026-07-27 J1AP", "26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP",
}

const (
	automatic14 = `{"updates":{"mode":"automatic","within_days":14}}`
	minimum2661 = `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`
)

func TestValidate(t *testing.T) {
	fixed := func(mode, more string) string {
		return `{"updates":{"mode":"` + mode + `","deadline":"2026-12-01T12:00:00"` + more + `}}`
	}
	upd := func(s string) string { return `{"updates":{` + s + `}}` }
	os := func(s string) string { return `{"os":{` + s + `},"updates":{"mode":"automatic","within_days":14}}` }
	tests := []struct {
		name, policy string
		fields       []string
		says         string // in the reason of the first
	}{
		{"the sample of rules 5", sample, nil, ""},
		{"names only", `{"name":"a"}`, nil, ""},
		{"a minimum", fixed("minimum", `,"version":"26.6.1"`), nil, ""},
		{"a minimum that nobody released, below what is offered", fixed("minimum", `,"version":"26.6.0.5"`), nil, ""},
		{"floors", fixed("minimum", `,"versions":["26.6.1","15.7.9"]`), nil, ""},
		{"exact", fixed("exact", `,"version":"26.6.1","build":"25G76"`), nil, ""},
		{"none", upd(`"mode":"none"`), nil, ""},
		{"current and hold", os(`"track":"current","upgrade":"hold"`), nil, ""},
		{"latest", os(`"track":"latest","upgrade":"self_service"`), nil, ""},
		{"self", `{"details_url":"self"}`, nil, ""},

		{"name with a slash", `{"name":"a/b"}`, []string{"name"}, "a-z"},
		{"name in capitals", `{"name":"Eng"}`, []string{"name"}, "63"},
		{"name too long", `{"name":"` + strings.Repeat("a", 64) + `"}`, []string{"name"}, ""},
		{"label too long", `{"label":"` + strings.Repeat("é", 201) + `"}`, []string{"label"}, "200"},
		{"label with a control character", `{"label":"a\u0007"}`, []string{"label"}, ""},
		{"priority", `{"priority":4294967296}`, []string{"priority"}, "32-bit"},
		{"empty group", `{"assign":{"groups":["eng",""]}}`, []string{"assign.groups.1"}, ""},
		{"expression", `{"assign":{"when":"modell == 'x'"}}`, []string{"assign.when"}, "modell"},
		{"expression with a clock", `{"assign":{"when":"now().Year() > 2020"}}`, []string{"assign.when"}, "now"},
		{"mode", upd(`"mode":"manual"`), []string{"updates.mode"}, "automatic, minimum, exact or none"},
		{"no mode", upd(``), []string{"updates.mode"}, ""},
		{"automatic without days", upd(`"mode":"automatic"`), []string{"updates.within_days"}, "must be given"},
		{"days out of range", upd(`"mode":"automatic","within_days":0,"exploited_within_days":366,"min_age_days":-1,"time":"24:00"`), []string{"updates.within_days", "updates.exploited_within_days", "updates.min_age_days", "updates.time"}, "between 1 and 365"},
		{"too old before it is a target", upd(`"mode":"automatic","within_days":7,"min_age_days":8`), []string{"updates.min_age_days"}, "within_days (7)"},
		{"fields of another mode", upd(`"mode":"automatic","within_days":7,"version":"26.6.1","versions":[],"build":"25G76","deadline":"2026-12-01T12:00:00"`), []string{"updates.version", "updates.versions", "updates.build", "updates.deadline"}, "no meaning when mode is automatic"},
		{"automatic's fields in minimum", fixed("minimum", `,"version":"26.6.1","within_days":7,"exploited_within_days":3,"time":"12:00","min_age_days":1,"build":"25G76"`), []string{"updates.within_days", "updates.exploited_within_days", "updates.time", "updates.min_age_days", "updates.build"}, "no meaning when mode is minimum"},
		{"everything in none", upd(`"mode":"none","within_days":7,"version":"26.6.1"`), []string{"updates.within_days", "updates.version"}, "no meaning when mode is none"},
		{"minimum without anything", upd(`"mode":"minimum"`), []string{"updates.deadline", "updates.version"}, "must be given"},
		{"minimum with both", fixed("minimum", `,"version":"26.6.1","versions":["15.7.9"]`), []string{"updates.versions"}, "beside"},
		{"floors: none", fixed("minimum", `,"versions":[]`), []string{"updates.versions"}, "between 1"},
		{"floors: two of one major", fixed("minimum", `,"versions":["26.6.1","26.6"]`), []string{"updates.versions.1"}, "second floor for macOS 26"},
		{"floors: not a version, and nothing at or above", fixed("minimum", `,"versions":["26.x","15.9"]`), []string{"updates.versions.0", "updates.versions.1"}, ""},
		{"floors: nothing at or above in its major", fixed("minimum", `,"versions":["15.9","26.6"]`), []string{"updates.versions.0"}, "it offers 26.6.2"},
		{"minimum that Apple does not reach", fixed("minimum", `,"version":"26.7"`), []string{"updates.version"}, "it offers 26.6.2, 26.6.1, 26.6"},
		{"minimum that its track does not reach", `{"os":{"track":"15","upgrade":"enforce"},"updates":{"mode":"minimum","version":"15.9","deadline":"2026-12-01T12:00:00"}}`, []string{"updates.version"}, "nothing at or above 15.9"},
		{"minimum in no version's form", fixed("minimum", `,"version":"26.3.1 (a)"`), []string{"updates.version"}, "not a version"},
		{"exact that Apple does not offer", fixed("exact", `,"version":"26.6.3"`), []string{"updates.version"}, "it offers 26.6.2"},
		{"exact, withdrawn", fixed("exact", `,"version":"26.4"`), []string{"updates.version"}, "does not offer 26.4"},
		{"exact with floors", fixed("exact", `,"versions":["26.6.1"]`), []string{"updates.versions", "updates.version"}, ""},
		{"exact with a build of another version", fixed("exact", `,"version":"26.6.1","build":"25G83"`), []string{"updates.build"}, "it offers 25G76"},
		{"exact with a BSI's build", fixed("exact", `,"version":"26.6.1","build":"25G76a"`), []string{"updates.build"}, "Background Security Improvement"},
		{"deadline in another century", `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"1999-12-01T12:00:00"}}`, []string{"updates.deadline"}, "2000"},
		{"os without a mode", `{"os":{"track":"26","upgrade":"enforce"}}`, []string{"os"}, "no meaning"},
		{"os with none", `{"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"none"}}`, []string{"os"}, "no meaning"},
		{"no track", os(`"upgrade":"enforce"`), []string{"os.track"}, "must be given"},
		{"track is a version", os(`"track":"26.1","upgrade":"enforce"`), []string{"os.track"}, "26"},
		{"track 026", os(`"track":"026","upgrade":"enforce"`), []string{"os.track"}, ""},
		{"track that no board can run", os(`"track":"28","upgrade":"enforce"`), []string{"os.track"}, "it offers 14, 15, 26"},
		{"an upgrade is never forced by omission", os(`"track":"26"`), []string{"os.upgrade"}, "enforce, self_service or hold"},
		{"latest without upgrade", os(`"track":"latest"`), []string{"os.upgrade"}, "must be given"},
		{"upgrade of current", os(`"track":"current","upgrade":"enforce"`), []string{"os.upgrade"}, "track is current"},
		{"another word", os(`"track":"26","upgrade":"force"`), []string{"os.upgrade"}, "must be"},
		{"upgrade days without enforcing", os(`"track":"26","upgrade":"hold","upgrade_within_days":9`), []string{"os.upgrade_within_days"}, "not enforced"},
		{"upgrade days in minimum", `{"os":{"track":"26","upgrade":"enforce","upgrade_within_days":9},"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, []string{"os.upgrade_within_days"}, "mode is minimum"},
		{"upgrade days out of range", os(`"track":"26","upgrade":"enforce","upgrade_within_days":0`), []string{"os.upgrade_within_days"}, "between 1 and 365"},
		{"a track below the floor", `{"os":{"track":"15","upgrade":"enforce"},"updates":{"mode":"minimum","versions":["26.6.1"],"deadline":"2026-12-01T12:00:00"}}`, []string{"os.track"}, "at least 26"},
		{"a track that is not the exact version's", `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"exact","version":"15.7.9","deadline":"2026-12-01T12:00:00"}}`, []string{"os.track"}, "current or 15"},
		{"BSI without days", `{"background_security":{"mode":"automatic"}}`, []string{"background_security.within_days"}, "must be given"},
		{"BSI out of range", `{"background_security":{"mode":"automatic","within_days":0,"time":"noon"}}`, []string{"background_security.within_days", "background_security.time"}, ""},
		{"BSI none with fields", `{"background_security":{"mode":"none","within_days":2,"time":"12:00"}}`, []string{"background_security.within_days", "background_security.time"}, "no meaning"},
		{"BSI mode", `{"background_security":{}}`, []string{"background_security.mode"}, "automatic or none"},
		{"notice", `{"notice_days":91}`, []string{"notice_days"}, "between 0 and 90"},
		{"delay", `{"delay":{"max_hours":25}}`, []string{"delay.max_hours"}, "between 0 and 24"},
		{"an address without a scheme", `{"details_url":"it.example.com"}`, []string{"details_url"}, "http"},
		{"an address of another kind", `{"details_url":"javascript:alert(1)"}`, []string{"details_url"}, ""},
		{"an address with a password", `{"details_url":"https://a:b@example.com"}`, []string{"details_url"}, ""},
		{"settings", `{"settings":{"Deferrals":{"MajorPeriodInDays":91},"AutomaticActions":{"Download":"On"}}}`, []string{"settings.Deferrals.MajorPeriodInDays", "settings.AutomaticActions.Download"}, ""},
		{"no setting at all", `{"settings":{}}`, []string{"settings"}, "at least one"},
	}
	w := given(t, automatic14, "2026-01-01", append([]string{"26.4 25E246 2026-03-24 J1AP gone", "26.6.1(a) 25G76a 2026-08-10 J1AP base=25G76"}, august...)...)
	w.in.Groups = []Group{{"eng", nil}, {"lab", nil}}
	b := w.book()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := pol(t, tt.policy)
			faults, _ := Validate(&p, nil, b, at(t, "2026-08-20"))
			var fields []string
			for _, f := range faults {
				fields = append(fields, f.Field)
			}
			if diff := cmp.Diff(tt.fields, fields); diff != "" {
				t.Errorf("%s%v", diff, faults)
			}
			if len(faults) > 0 && !strings.Contains(faults[0].Reason, tt.says) {
				t.Errorf("reason %q does not say %q", faults[0].Reason, tt.says)
			}
			// Putting the same or a relabelled policy never fails, whatever is wrong with it by now.
			before := &Stored{Policy: p}
			again := pol(t, tt.policy)
			again.Label = "relabelled"
			faults, _ = Validate(&again, before, b, at(t, "2026-08-20"))
			if faults = slices.DeleteFunc(faults, func(f FieldError) bool { return f.Field == "label" }); len(faults) != 0 {
				t.Errorf("relabelled: %v", faults)
			}
		})
	}
}

func TestValidateWhatAWriteChanges(t *testing.T) {
	before := stored(t, `{"updates":{"mode":"exact","version":"26.4","deadline":"2026-12-01T12:00:00"}}`, "2026-04-01")
	b := given(t, automatic14, "2026-01-01", august...).book()
	later := pol(t, `{"updates":{"mode":"exact","version":"26.4","deadline":"2027-01-01T12:00:00"}}`)
	if faults, _ := Validate(&later, &before, b, at(t, "2026-08-20")); len(faults) != 0 {
		t.Errorf("the deadline of a version that Apple does not offer any more cannot be moved: %v", faults)
	}
	other := pol(t, `{"updates":{"mode":"exact","version":"26.3","deadline":"2027-01-01T12:00:00"}}`)
	if faults, _ := Validate(&other, &before, b, at(t, "2026-08-20")); len(faults) != 1 {
		t.Errorf("another version: %v", faults)
	}
}

func TestWarnings(t *testing.T) {
	b := given(t, automatic14, "2026-01-01", august...).book()
	p := pol(t, `{"assign":{"groups":["eng"],"exclude_groups":["lab"]},"updates":{"mode":"automatic","within_days":7,"min_age_days":5},"settings":{"Beta":{"ProgramEnrollment":"AlwaysOff"}}}`)
	_, warnings := Validate(&p, nil, b, at(t, "2026-08-20"))
	var codes []string
	for _, w := range warnings {
		codes = append(codes, w.Code)
		if strings.ContainsAny(w.Text, "{}[]") {
			t.Errorf("text %q", w.Text)
		}
	}
	if got := strings.Join(codes, " "); got != "unknown_group unknown_group beta_needs_15_4 min_age_eats_days" {
		t.Errorf("warnings %s", got)
	}
}

func TestClash(t *testing.T) {
	others := []Stored{{Policy: Policy{Name: "a", Priority: 1}}, {Policy: Policy{Name: "b", Priority: 2}}}
	for _, tt := range []struct {
		p              Policy
		name, priority string
	}{
		{Policy{Name: "c", Priority: 3}, "", ""},
		{Policy{Name: "a", Priority: 1}, "a", ""},
		{Policy{Name: "a", Priority: 2}, "a", "b"},
		{Policy{Name: "c", Priority: 2}, "", "b"},
	} {
		name, priority := Clash(&tt.p, others)
		if nameOf(name) != tt.name || nameOf(priority) != tt.priority {
			t.Errorf("%+v clashes with %q and %q, want %q and %q", tt.p, nameOf(name), nameOf(priority), tt.name, tt.priority)
		}
	}
}

func nameOf(s *Stored) string {
	if s == nil {
		return ""
	}
	return s.Name
}

func TestDeadlinePast(t *testing.T) {
	p := pol(t, `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-20T12:00:00"}}`)
	for now, want := range map[string]bool{"2026-08-20T12:00": false, "2026-08-20T23:59": false, "2026-08-21T00:00": true} {
		if got := DeadlinePast(&p, at(t, now)); got != want {
			t.Errorf("at %s: %v", now, got)
		}
	}
	auto := pol(t, automatic14)
	if DeadlinePast(&auto, at(t, "2036-08-20")) || DeadlinePast(&Policy{}, at(t, "2036-08-20")) {
		t.Error("a policy without a deadline has one that passed")
	}
}

// What GET gives, PUT takes back unchanged.
func TestPolicyRoundTrip(t *testing.T) {
	for _, src := range []string{sample, `{"name":"a","priority":-5,"updates":{"mode":"minimum","versions":["26.6.1","15.7.9"],"deadline":"2026-12-01T12:00:00"}}`, `{"name":"a","notice_days":0,"delay":{"max_hours":0}}`} {
		p := pol(t, src)
		out, err := json.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		back := pol(t, string(out))
		if diff := cmp.Diff(p, back); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRuleDefaults(t *testing.T) {
	for _, tt := range []struct {
		policy string
		want   Rule
	}{
		{`{}`, Rule{Mode: "none", Upgrade: "hold", UpgradeWithinDays: 90, Time: 43200, BSITime: 43200, NoticeDays: 5}},
		{automatic14, Rule{Mode: "automatic", Upgrade: "hold", UpgradeWithinDays: 90, WithinDays: 14, Time: 43200, BSITime: 43200, NoticeDays: 5}},
		{minimum2661, Rule{Mode: "minimum", Track: 26, Upgrade: "enforce", UpgradeWithinDays: 90, Time: 43200, BSITime: 43200, NoticeDays: 1, Floors: []release.Version{"26.6.1"}, Deadline: 1796126400}},
	} {
		p := pol(t, tt.policy)
		if diff := cmp.Diff(tt.want, p.Rule()); diff != "" {
			t.Error(diff)
		}
	}
}
