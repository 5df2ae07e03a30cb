package compliance

import (
	"encoding/json"
	"slices"
	"testing"

	"plimsoll/declarations/release"
	"plimsoll/status"
)

// snap is a snapshot of an enrolled Mac at noon of 2026-08-22, changed.
func snap(change func(*Snapshot)) Snapshot {
	f := air().Facts
	f.LastContactAt = at("2026-08-22T12:00")
	s := Snapshot{Facts: &f, Now: at("2026-08-22T12:00"), Token: "one", Summary: Summary{
		State: Pending, Phase: Active, Policy: "everyone", Kind: release.KindOS, Version: "26.6.2", Build: "25G83",
		Deadline: local("2026-09-01T12:00:00"), Due: local("2026-08-31T12:00:00"), OverdueAt: at("2026-09-01T12:00"),
	}}
	if change != nil {
		change(&s)
	}
	return s
}

func TestEvents(t *testing.T) {
	tests := []struct {
		name          string
		before, after func(*Snapshot)
		want          []string
		data          map[string]any // of the first event, in part
	}{
		{"no difference", nil, nil, nil, nil},
		{"time, contact, report and flags alone", nil, func(s *Snapshot) {
			s.Now = at("2026-08-23T12:00")
			s.Facts.LastContactAt, s.Facts.LastReportAt = s.Now, s.Now
			s.Summary.Flags = NotSynced
			s.Summary.PhaseAt, s.Summary.StateAt = s.Now, s.Now
		}, nil, nil},
		{"gone", nil, func(s *Snapshot) { s.Facts = nil }, nil, nil},
		{"removed tells of nothing else", nil, func(s *Snapshot) { s.Facts.Enrolled = false; s.Summary = Summary{} }, []string{EventRemoved}, nil},
		{"stays removed", func(s *Snapshot) { s.Facts.Enrolled = false }, func(s *Snapshot) { s.Facts.Enrolled = false; s.Token = "two" }, nil, nil},
		{"another policy", nil, func(s *Snapshot) { s.Summary.Policy = "lab" }, []string{EventPolicyChanged}, map[string]any{"from": "everyone", "to": "lab"}},
		{"no policy", nil, func(s *Snapshot) { s.Summary = Summary{State: Unmanaged} }, []string{EventPolicyChanged, EventTargetCleared, EventState}, map[string]any{"from": "everyone"}},
		{
			"another target", nil, func(s *Snapshot) { s.Summary.Version, s.Summary.Build, s.Summary.Phase = "26.7", "25H1", Planned },
			[]string{EventTargetSet},
			map[string]any{"from": "26.6.2", "version": release.Version("26.7"), "build": "25H1", "deadline_local": local("2026-09-01T12:00:00"), "due_local": local("2026-08-31T12:00:00")},
		},
		{
			"another deadline", nil, func(s *Snapshot) { s.Summary.Deadline = local("2026-09-02T12:00:00"); s.Token = "two" },
			[]string{EventDeadlineChanged, EventManifestServed},
			map[string]any{"from": local("2026-09-01T12:00:00"), "to": local("2026-09-02T12:00:00")},
		},
		{"held", nil, func(s *Snapshot) { s.Summary = Summary{State: Held, Policy: "everyone", Codes: []string{"held"}} }, []string{EventTargetCleared, EventState}, nil},
		{"activated and at once downloading", func(s *Snapshot) { s.Summary.Phase = Served }, func(s *Snapshot) { s.Summary.Phase = Downloading }, []string{EventDeclarationActive, EventPhase}, nil},
		{"failed at once", func(s *Snapshot) { s.Summary.Phase = Planned }, func(s *Snapshot) { s.Summary.Phase, s.Summary.State, s.Summary.Fails = Failed, Failing, 1 }, []string{EventDeclarationActive, EventFailed}, nil},
		{"failed again", func(s *Snapshot) { s.Summary.Phase, s.Summary.State, s.Summary.Fails = Failed, Failing, 1 }, func(s *Snapshot) { s.Summary.Phase, s.Summary.State, s.Summary.Fails = Failed, Failing, 2 }, []string{EventFailed}, map[string]any{"count": 2, "version": release.Version("26.6.2")}},
		{"an unknown word", nil, func(s *Snapshot) { s.Summary.Phase = "verifying" }, []string{EventPhase}, map[string]any{"from": "active", "to": "verifying"}},
		{
			"the deadline passes", nil, func(s *Snapshot) { s.Now = at("2026-09-01T12:00"); s.Facts.LastContactAt = at("2026-08-29T12:00") },
			[]string{EventOverdue},
			map[string]any{"overdue_at": at("2026-09-01T12:00"), "build": "25G83"},
		},
		{"a rejected setting", func(s *Snapshot) { s.Summary.Kind = "" }, func(s *Snapshot) {
			s.Summary.Kind = ""
			s.Summary.State, s.Summary.Codes = Failing, []string{DeclarationRejected}
		}, []string{EventDeclarationRejected}, nil},
		{"7 days pass", func(s *Snapshot) { s.Summary = Summary{} }, func(s *Snapshot) { s.Summary = Summary{}; s.Now = at("2026-08-29T12:00") }, []string{EventSilent}, map[string]any{"last_seen_at": at("2026-08-22T12:00")}},
		{"stays silent", func(s *Snapshot) { s.Summary = Summary{}; s.Now = at("2026-08-29T12:00") }, func(s *Snapshot) { s.Summary = Summary{}; s.Now = at("2026-08-30T12:00") }, nil, nil},
		{
			"back, although nobody noticed the silence", nil, func(s *Snapshot) { s.Now = at("2026-08-29T12:01"); s.Facts.LastContactAt = s.Now },
			[]string{EventBack},
			map[string]any{"silent_since": at("2026-08-22T12:00"), "silent_seconds": 7*86400 + 60},
		},
		{"back from a silence that was noticed", func(s *Snapshot) { s.Now = at("2026-08-30T12:00") }, func(s *Snapshot) { s.Now = at("2026-08-30T12:00"); s.Facts.LastContactAt = s.Now }, []string{EventBack}, nil},
		{"updated to what is asked", nil, func(s *Snapshot) {
			s.Facts.Version, s.Facts.Build = "26.6.2", "25G83"
			s.Summary = Summary{State: Compliant, Policy: "everyone"}
		}, []string{EventUpdated, EventCompliant}, map[string]any{"from": "26.5", "to": "26.6.2", "reached_target": true}},
		{"updated to something else", nil, func(s *Snapshot) { s.Facts.Version, s.Facts.Build = "26.6", "25G72" }, []string{EventUpdated}, map[string]any{"from": "26.5", "to": "26.6", "from_build": "25F71", "to_build": "25G72"}},
		{"another build of the version", nil, func(s *Snapshot) { s.Facts.Build = "25F72" }, []string{EventUpdated}, map[string]any{"from": "26.5", "to": "26.5", "to_build": "25F72"}},
		{"went back", nil, func(s *Snapshot) { s.Facts.Version, s.Facts.Build = "26.4.1", "25E253" }, []string{EventReverted}, map[string]any{"from": "26.5", "to": "26.4.1"}},
		{"the first version that is told", func(s *Snapshot) { s.Facts.Version = "" }, nil, nil, nil},
		{"the same version, written otherwise", nil, func(s *Snapshot) { s.Facts.Version = "26.5.0" }, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events := Events(snap(tt.before), snap(tt.after))
			var types []string
			for _, e := range events {
				types = append(types, e.Type)
			}
			if !slices.Equal(types, tt.want) {
				t.Fatalf("%q, want %q", types, tt.want)
			}
			for k, v := range tt.data {
				if events[0].Data[k] != v {
					t.Errorf("%s is %v, want %v", k, events[0].Data[k], v)
				}
			}
			for _, e := range events {
				checkEvent(t, e)
			}
		})
	}
}

// checkEvent holds an event against its documentation.
func checkEvent(t *testing.T, e Event) {
	t.Helper()
	for _, d := range EventTypes {
		if d.Type == e.Type {
			for k := range e.Data {
				if !slices.Contains(d.Data, k) {
					t.Errorf("%s has the data %q, which is not documented", e.Type, k)
				}
			}
			return
		}
	}
	t.Errorf("%s is not documented", e.Type)
}

func TestTheFirstEventsOfAMac(t *testing.T) {
	events := Events(Snapshot{}, snap(nil))
	var types []string
	for _, e := range events {
		types = append(types, e.Type)
	}
	// All at once, as a Mac that was judged for the first time after its first sync.
	want := []string{EventEnrolled, EventPolicyChanged, EventTargetSet, EventManifestServed, EventDeclarationActive}
	if !slices.Equal(types, want) {
		t.Errorf("%q, want %q", types, want)
	}
}

func TestEventAsJSON(t *testing.T) {
	e := Events(snap(nil), snap(func(s *Snapshot) { s.Summary.Policy = "lab" }))[0]
	e.ID = "7"
	b, err := json.Marshal(e)
	want := `{"id":"7","at":"2026-08-22T12:00:00Z","type":"policy_changed","device":"AIR","serial":"C02AIR","text":"The Mac is governed by the policy lab.","data":{"from":"everyone","to":"lab"}}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v\nwant %s", b, err, want)
	}
	b, err = json.Marshal(Events(snap(nil), snap(func(s *Snapshot) { s.Facts.Enrolled = false }))[0].Data)
	if err != nil || string(b) != "{}" {
		t.Errorf("%s, %v", b, err)
	}
}

func TestUpdatedToABSI(t *testing.T) {
	improved := func(letter, build string) Snapshot {
		return snap(func(s *Snapshot) {
			s.Facts.Version, s.Facts.Build, s.Facts.Letter, s.Facts.SupplementalBuild = "26.3.1", "25D2128", letter, build
			s.Summary = Summary{State: Pending, Kind: release.KindBSI, Version: "26.3.1", Letter: "a", Build: "25D771280a"}
		})
	}
	e := Events(improved("", ""), improved("a", "25D771280a"))
	if len(e) != 1 || e[0].Type != EventUpdated || e[0].Data["to"] != "26.3.1 (a)" || e[0].Data["to_build"] != "25D771280a" || e[0].Data["reached_target"] != true {
		t.Errorf("%+v", e)
	}
	e = Events(improved("a", "25D771280a"), improved("", ""))
	if len(e) != 1 || e[0].Type != EventReverted || e[0].Text != "The Mac went back from macOS 26.3.1 (a) to 26.3.1." {
		t.Errorf("%+v", e)
	}
}

func TestEventsOfNobody(t *testing.T) {
	if e := Events(Snapshot{}, Snapshot{}); e != nil {
		t.Errorf("%v", e)
	}
	if e := Events(Snapshot{}, Snapshot{Facts: &status.Facts{ID: "X"}}); e != nil {
		t.Errorf("%v", e)
	}
}
