package editor

import (
	"encoding/json"
	"testing"

	"plimsoll/declarations/policy"
)

func TestPolicyFormKeepsPolicies(t *testing.T) {
	for name, text := range map[string]string{
		"the rules' example": `{"name":"engineering","label":"Engineering Macs","priority":100,"assign":{"groups":["eng"],"exclude_groups":["lab"],"when":"model startsWith 'Mac16'"},
		 "os":{"track":"26","upgrade":"enforce","upgrade_within_days":60},"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"time":"12:00","min_age_days":0},
		 "background_security":{"mode":"automatic","within_days":2,"time":"12:00"},"notice_days":5,"delay":{"max_hours":24},"details_url":"https://it.example.com/updates",
		 "settings":{"AutomaticActions":{"Download":"AlwaysOn"}}}`,
		"the sample": `{"name":"everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-03-01T12:00:00"}}`,
		"floors":     `{"name":"x","priority":-3,"updates":{"mode":"minimum","versions":["26.6.1","15.7.9"],"deadline":"2027-03-01T12:00:30"}}`,
		"one floor":  `{"name":"x","priority":0,"updates":{"mode":"minimum","versions":["26.6.1"],"deadline":"2027-03-01T12:00:00"}}`,
		"exact":      `{"name":"x","priority":1,"os":{"track":"latest","upgrade":"hold"},"updates":{"mode":"exact","version":"26.6.1","build":"25G76","deadline":"2027-03-01T12:00:00"}}`,
		"nothing":    `{"name":"x","priority":1}`,
		"rings": `{"name":"ringed","priority":1,"updates":{"mode":"automatic","within_days":14,"days":["tue","wed","thu"]},"notice_days":2,"rings":[
		 {"name":"canary","groups":["it","qa"],"within_days":2},{"name":"early","percent":2.5,"within_days":7,"min_age_days":3},{"name":"broad","min_age_days":5}],
		 "gate":{"min_macs":20,"max_bad_percent":0}}`,
		"rings without a gate": `{"name":"ringed","priority":1,"updates":{"mode":"automatic","within_days":14},"rings":[{"name":"a","percent":10},{"name":"b"}]}`,
		"a gate of defaults":   `{"name":"ringed","priority":1,"updates":{"mode":"automatic","within_days":14},"rings":[{"name":"a","percent":10},{"name":"b"}],"gate":{}}`,
		"none":                 `{"name":"x","priority":1,"updates":{"mode":"none"},"background_security":{"mode":"none"},"delay":{"max_hours":0},"notice_days":0,"details_url":"self"}`,
		"current, on hold":     `{"name":"x","priority":1,"os":{"track":"current","upgrade":"hold"},"updates":{"mode":"automatic","within_days":14}}`,
		"on demand":            `{"name":"x","priority":1,"os":{"track":"27","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var p policy.Policy
			if err := json.Unmarshal([]byte(text), &p); err != nil {
				t.Fatal(err)
			}
			form, err := Of(&p)
			if err != nil {
				t.Fatal(err)
			}
			form.Original = p.Name
			back, wrong := form.Policy(&p)
			if len(wrong) > 0 {
				t.Fatalf("what is stored is refused: %v", wrong)
			}
			want, _ := json.Marshal(p)
			if got, _ := json.Marshal(back); string(got) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestPolicyFormNamesTheFault(t *testing.T) {
	for _, tt := range []struct {
		name, field, value, want string
	}{
		{"days in words", "updates.within_days", "fourteen", "updates.within_days"},
		{"half a day", "notice_days", "0.5", "notice_days"},
		{"no priority", "priority", "", "priority"},
		{"settings that are no JSON", "settings", "{", "settings"},
		{"a setting that there is not", "settings", `{"Colour":"red"}`, "settings.Colour"},
		{"a setting of the wrong kind", "settings", `{"Notifications":"yes"}`, "settings.Notifications"},
	} {
		form := New(10)
		*form.names()[tt.field] = tt.value
		_, wrong := form.Policy(nil)
		if len(wrong) != 1 || wrong[0].Field != tt.want {
			t.Errorf("%s: %v, want one at %s", tt.name, wrong, tt.want)
			continue
		}
		if at, general := Place(wrong); len(general) > 0 || len(at[tt.field]) != 1 {
			t.Errorf("%s: shown at %v, and in general %v", tt.name, at, general)
		}
	}
}
