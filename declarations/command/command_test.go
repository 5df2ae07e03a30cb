package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/micromdm/plist"
	"pgregory.net/rapid"

	"plimsoll/declarations/release"
)

func sample(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := plist.Unmarshal(raw, &m); err != nil {
		t.Fatal(name, err)
	}
	return m
}

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

// Every sample goes through the parser of answers; the ones that are no answers to update commands give what a stranger gives.
func TestParseAnswerOfEverySample(t *testing.T) {
	want := map[string]Answer{
		"availableosupdates-10.12.6-major.plist": {UUID: "0002_AvailableOSUpdates", Status: "Acknowledged"},
		"availableosupdates-13.7.x.plist":        {UUID: "0009_AvailableOSUpdates", Status: "Acknowledged"},
		"deviceinformation-13.0-vm.plist":        {UUID: "02CD8B7A-465F-49E6-86D6-D3ACAAE5529E", Status: "Acknowledged"},
		"idle.plist":                             {Status: "Idle"},
		"ios-availableosupdates-error-2213.plist": {UUID: "0010_AvailableOSUpdates", Status: "Error", Faults: []Fault{
			{Code: 2213, Domain: "DeviceManagement.error", Text: "No update available."},
			{Code: 3, Domain: "com.apple.softwareupdateservices.errors"},
		}},
		"ios-scheduleosupdate-downloadonly.plist": {
			UUID: "0001_ScheduleOSUpdate", Status: "Acknowledged",
			Results: []Result{{Key: "iOSUpdate17A576", Action: "DownloadOnly", Status: "Downloading"}},
		},
		"machineinfo-ade-13.6.plist": {},
		"machineinfo-ade-14.4.plist": {},
		"notnow.plist":               {UUID: "0011_ScheduleOSUpdate", Status: "NotNow"},
		"osupdatestatus-13.0-deferrals.plist": {
			UUID: "0001_OSUpdateStatus", Status: "Acknowledged",
			Items: []Item{{Key: "MSU_UPDATE_22A240a_full_13.0_minor"}},
		},
		"osupdatestatus-empty.plist": {UUID: "0008_OSUpdateStatus", Status: "Acknowledged"},
		"osupdatestatus-idle-downloaded.plist": {
			UUID: "0007_OSUpdateStatus", Status: "Acknowledged",
			Items: []Item{{Key: "_OSX_18A391", Downloaded: true, Percent: 1, Status: "Idle"}},
		},
		"osupdatestatus-idle-stuck.plist": {
			UUID: "0006_OSUpdateStatus", Status: "Acknowledged",
			Items: []Item{{Key: "_OSX_18A391", Status: "Idle"}},
		},
		"request-deviceinformation-update.plist": {UUID: "0015_DeviceInformation"},
		"request-osupdatestatus.plist":           {UUID: "0014_OSUpdateStatus"},
		"request-scan.plist":                     {UUID: "0012_ScheduleOSUpdateScan"},
		"request-schedule-12.x.plist":            {UUID: "0013_ScheduleOSUpdate"},
		"scheduleosupdate-error-12008.plist": {
			UUID: "0004_ScheduleOSUpdate", Status: "Acknowledged",
			Results: []Result{{Key: "_OSX_18A391", Action: "Error", Status: "Idle", Faults: []Fault{
				{Code: 12008, Domain: "MCMDMErrorDomain", Text: "Unsupported InstallAction for this ProductKey"},
			}}},
		},
		"scheduleosupdate-error-74.plist": {UUID: "0005_ScheduleOSUpdate", Status: "Error", Faults: []Fault{
			{Code: 74, Domain: "MDMClientError", Text: "Command requires DEP enrollment: ScheduleOSUpdate <MDMClientError:74>"},
		}},
		"scheduleosupdate-result-installing.plist": {
			UUID: "0003_ScheduleOSUpdate", Status: "Acknowledged",
			Results: []Result{{Key: "_OSX_18A391", Action: "InstallASAP", Status: "Installing"}},
		},
		"securityinfo-13-vm.plist": {UUID: "9A105E87-EC35-4F65-A265-423CFB92D624", Status: "Acknowledged"},
	}
	files, err := filepath.Glob("testdata/*.plist")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d samples, %d expected: %v", len(files), len(want), err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		w, ok := want[name]
		if !ok {
			t.Errorf("%s: nothing is expected of it", name)
			continue
		}
		if d := cmp.Diff(w, ParseAnswer(sample(t, name))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestParseInfo(t *testing.T) {
	for name, want := range map[string]Info{
		"deviceinformation-13.0-vm.plist": {
			Board: "VMA2MACOSAP", Version: "13.0", Build: "22A5321d",
			AppleSilicon: yes(), Supervised: yes(), AwaitingConfiguration: no(),
		},
		"securityinfo-13-vm.plist": {Secured: true, TokenAllowed: "disallowed", TokenRequired: yes()},
		"notnow.plist":             {},
	} {
		if d := cmp.Diff(want, ParseInfo(sample(t, name))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for _, c := range []struct {
		name string
		m    map[string]any
		want Info
	}{
		{"a version without a build is not taken", map[string]any{"QueryResponses": map[string]any{"OSVersion": "13.7"}}, Info{Odd: 1}},
		{
			"a version that is none",
			map[string]any{"QueryResponses": map[string]any{"OSVersion": "new", "BuildVersion": "22A1"}},
			Info{Odd: 1},
		},
		{
			"numbers for truths",
			map[string]any{"QueryResponses": map[string]any{"IsSupervised": uint64(1), "IsAppleSilicon": int64(0)}},
			Info{Supervised: yes(), AppleSilicon: no()},
		},
		{"strings for truths", map[string]any{"QueryResponses": map[string]any{"IsSupervised": "true"}}, Info{Odd: 1}},
		{"no dictionary", map[string]any{"QueryResponses": []any{}, "SecurityInfo": "x"}, Info{Odd: 2}},
	} {
		if d := cmp.Diff(c.want, ParseInfo(c.m)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestParseAnswerOdd(t *testing.T) {
	many := make([]any, 5000)
	for i := range many {
		many[i] = map[string]any{"ProductKey": "MSU_UPDATE_22H417_patch_13.7.3_minor"}
	}
	for _, c := range []struct {
		name  string
		m     map[string]any
		odd   int
		items int
	}{
		{"nothing", nil, 0, 0},
		{"no ProductKey", map[string]any{"OSUpdateStatus": []any{map[string]any{"Status": "Idle"}}}, 1, 0},
		{"no ProductKey in a result", map[string]any{"UpdateResults": []any{map[string]any{"Status": "Idle"}}}, 1, 0},
		{"numbers as strings", map[string]any{"OSUpdateStatus": []any{
			map[string]any{"ProductKey": "k", "DownloadPercentComplete": "0.5", "IsDownloaded": "1"},
		}}, 2, 1},
		{"nested arrays", map[string]any{"OSUpdateStatus": []any{[]any{[]any{map[string]any{"ProductKey": "k"}}}}}, 1, 0},
		{"5,000 items", map[string]any{"OSUpdateStatus": many}, 4900, 100},
		{"a dictionary for an array", map[string]any{
			"OSUpdateStatus": map[string]any{}, "UpdateResults": "x", "ErrorChain": uint64(1),
		}, 3, 0},
		{"a UUID that is none", map[string]any{"CommandUUID": []any{}, "Status": true}, 2, 0},
		{"an ErrorChain of strings", map[string]any{"ErrorChain": []any{"x"}}, 1, 0},
	} {
		a := ParseAnswer(c.m)
		if a.Odd != c.odd || len(a.Items) != c.items {
			t.Errorf("%s: %d odd, %d items, want %d and %d", c.name, a.Odd, len(a.Items), c.odd, c.items)
		}
	}
	long := ParseAnswer(map[string]any{"Status": "\x00" + strings.Repeat("ä", 5000)})
	if len(long.Status) > maxText || strings.ContainsRune(long.Status, 0) || !strings.HasSuffix(long.Status, "ä") {
		t.Errorf("a long text is kept as %d bytes", len(long.Status))
	}
}

// Nothing that a Mac answers breaks a course, or makes it install early.
func FuzzAnswer(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.plist")
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m map[string]any
		if plist.Unmarshal(raw, &m) != nil {
			return
		}
		a := ParseAnswer(m)
		ParseInfo(m)
		play := minor13(t).plan().contact()
		a.UUID = play.course.Waiting.UUID
		play.step(Event{Cause: Answered, Answer: &a})
		if w := play.course.Waiting; w != nil && w.Action.Installs() {
			t.Fatal("an answer brought an install command before the deadline")
		}
	})
}

func TestConcerns(t *testing.T) {
	c := Course{Key: "_OSX_18A391", Build: "22H41"}
	for key, want := range map[string]bool{
		"_OSX_18A391": true, "MSU_UPDATE_22H41_patch_13.7.3_minor": true, "22H41": true,
		"MSU_UPDATE_22H417_patch_13.7.3_minor": false, "MSU_UPDATE_22H417_22H41": true, "": false, "062-47822": false,
	} {
		if got := c.concerns(key); got != want {
			t.Errorf("%q concerns the target: %t, want %t", key, got, want)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		a    Answer
		code string
		text string
	}{
		{"none", Answer{Results: []Result{{Status: "Installing"}}, Items: []Item{{Status: "Idle"}}}, "", ""},
		{
			"of the item", ParseAnswer(sample(t, "scheduleosupdate-error-12008.plist")), FailureOther,
			"Unsupported InstallAction for this ProductKey",
		},
		{
			"of the answer", ParseAnswer(sample(t, "scheduleosupdate-error-74.plist")), FailureOther,
			"Command requires DEP enrollment: ScheduleOSUpdate <MDMClientError:74>",
		},
		{"space", Answer{Results: []Result{{Status: "DownloadInsufficientSpace"}}}, FailureDisk, "DownloadInsufficientSpace"},
		{"power", Answer{Results: []Result{{Status: "InstallInsufficientPower"}}}, FailureBattery, "InstallInsufficientPower"},
		{"network", Answer{Results: []Result{{Status: "DownloadInsufficientNetwork"}}}, FailureOther, "DownloadInsufficientNetwork"},
		{"failed", Answer{Results: []Result{{Status: "InstallFailed"}}}, FailureOther, "InstallFailed"},
		{
			"space with Apple's text",
			Answer{
				Results: []Result{{Status: "InstallInsufficientSpace", Faults: []Fault{{Text: "Not enough"}}}},
			},
			FailureDisk, "Not enough",
		},
		{"a chain without text", Answer{Faults: []Fault{{Code: 7, Domain: "d"}}}, FailureOther, "d 7"},
	} {
		if code, text := c.a.fault(); code != c.code || text != c.text {
			t.Errorf("%s: %q %q, want %q %q", c.name, code, text, c.code, c.text)
		}
	}
}

func TestUserMustAuthorize(t *testing.T) {
	all := Token{AppleSilicon: true, Escrowed: true, Answered: true, Required: true, Allowed: "allowed"}
	for _, c := range []struct {
		name   string
		change func(*Token)
		want   bool
	}{
		{"the token does it", func(*Token) {}, false},
		{"not allowed", func(k *Token) { k.Allowed = "disallowed" }, true},
		{"not supported", func(k *Token) { k.Allowed = "not supported" }, true},
		{"none escrowed", func(k *Token) { k.Escrowed = false }, true},
		{"not required", func(k *Token) { k.Required, k.Allowed = false, "disallowed" }, false},
		{"Intel", func(k *Token) { k.AppleSilicon, k.Allowed = false, "disallowed" }, false},
		{"not answered", func(k *Token) { k.Answered, k.Allowed = false, "" }, false},
	} {
		k := all
		c.change(&k)
		if got := k.UserMustAuthorize(); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

func TestAsk(t *testing.T) {
	now := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name            string
		q               Inquiry
		v               release.Version
		active, contact bool
		ask, push       bool
	}{
		{"never asked, in contact", Inquiry{}, "13.6", false, true, true, false},
		{"13, never asked, not in contact", Inquiry{}, "13.6", false, false, false, false},
		{"12, never asked, not in contact", Inquiry{}, "12.6", false, false, true, true},
		{"asked nine minutes ago", Inquiry{AskedAt: ago(9 * time.Minute)}, "13.6", false, true, false, false},
		{"asked ten minutes ago", Inquiry{AskedAt: ago(10 * time.Minute)}, "13.6", false, true, true, false},
		{"answered", Inquiry{AskedAt: ago(time.Hour), Answered: true, Secured: true}, "12.6", false, true, false, false},
		{"12, a day ago", Inquiry{AskedAt: ago(24 * time.Hour), Answered: true, Secured: true}, "12.6", false, false, true, true},
		{"13 with a course, a day ago", Inquiry{AskedAt: ago(24 * time.Hour), Answered: true, Secured: true}, "13.6", true, false, true, true},
		{"13 without, a day ago", Inquiry{AskedAt: ago(24 * time.Hour), Answered: true, Secured: true}, "13.6", false, false, false, false},
		{"SecurityInfo is not answered", Inquiry{AskedAt: ago(time.Hour), Answered: true}, "12.6", false, true, true, false},
		{"14", Inquiry{}, "14.0", true, true, false, false},
	} {
		ask, push, next := c.q.Ask(c.v, c.active, now, c.contact)
		if ask != c.ask || push != c.push {
			t.Errorf("%s: ask %t push %t, want %t %t", c.name, ask, push, c.ask, c.push)
		}
		if !next.IsZero() && !next.After(now) {
			t.Errorf("%s: to be looked at again at %s, which is not ahead", c.name, next)
		}
	}
}

// Whatever happens and in whatever order: an install command comes only after fair notice, at a contact; one command waits at
// most; nothing waits that is not asked for; and a course read back from the store goes on as the one in memory.
func TestProperties(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 27, 8, 0, 0, 0, time.UTC) // two days before the clocks change
	rapid.Check(t, func(rt *rapid.T) {
		var c Course
		now := start
		f := Facts{ID: "mac", Life: "1", Version: "13.7.2", Build: "22H313", Told: true}
		task := &Task{Lane: rapid.SampledFrom([]Lane{Patch, Upgrade}).Draw(rt, "lane"), Version: "13.7.3", Build: "22H417", Zone: zone}
		task.Deadline = local(t, "2026-03-29T02:30:00")
		var queue []string // what NanoMDM's queue holds
		var noticed time.Time
		actions := map[string]Action{}
		asked := true
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 10, 14, 60, 61, 179, 241, 1441}).Draw(rt, "minutes")) * time.Minute)
			var ev Event
			switch rapid.IntRange(0, 9).Draw(rt, "event") {
			case 0, 1, 2:
				ev.Cause = Contact
			case 3, 4, 5, 6:
				if len(queue) == 0 {
					continue
				}
				status := rapid.SampledFrom([]string{acknowledged, acknowledged, notNow, "Error"}).Draw(rt, "status")
				a := Answer{UUID: queue[0], Status: status}
				if rapid.Bool().Draw(rt, "item") {
					status := rapid.SampledFrom([]string{"Idle", "Downloading", "Installing", "DownloadFailed"}).Draw(rt, "state")
					a.Results = []Result{{Key: "MSU_22H417_x", Status: status}}
					a.Items = []Item{{Key: "MSU_22H417_x", Status: status, Downloaded: rapid.Bool().Draw(rt, "downloaded")}}
				}
				ev = Event{Cause: Answered, Answer: &a}
			case 7:
				if len(queue) > 0 {
					ev = Event{Cause: Fetched, UUID: queue[0]}
				}
			case 8:
				asked = !asked
			case 9:
				later := *task
				later.Deadline = task.Deadline.Add(time.Duration(rapid.IntRange(0, 5).Draw(rt, "hours")) * time.Hour)
				task = &later
			}
			plan := task
			if !asked {
				plan = nil
			}
			raw, err := json.Marshal(c)
			if err != nil {
				rt.Fatal(err)
			}
			var stored Course
			if err := json.Unmarshal(raw, &stored); err != nil {
				rt.Fatal(err)
			}
			next, e := Step(c, plan, f, now, ev)
			again, f2 := Step(stored, plan, f, now, ev)
			if d := cmp.Diff(next, again) + cmp.Diff(e, f2); d != "" {
				rt.Fatalf("the stored course goes on otherwise:\n%s", d)
			}
			if ev.Answer != nil {
				if ev.Answer.Status == acknowledged && actions[ev.Answer.UUID] == NotifyOnly {
					noticed = now
				}
				if ev.Answer.Status != notNow { // NanoMDM keeps a command that is put off
					queue = slices.DeleteFunc(queue, func(u string) bool { return u == ev.Answer.UUID })
				}
			}
			queue = slices.DeleteFunc(queue, func(u string) bool { return u == e.Withdraw })
			if q := e.Queue; q != nil {
				if _, used := actions[q.UUID]; used {
					rt.Fatalf("the UUID %s comes twice", q.UUID)
				}
				queue, actions[q.UUID] = append(queue, q.UUID), q.Action
				if q.Action.Installs() {
					installsFairly(rt, task, q.Action, now, noticed, ev)
				}
			}
			switch {
			case len(queue) > 1:
				rt.Fatalf("%d update commands wait", len(queue))
			case (len(queue) == 1) != (next.Waiting != nil) || len(queue) == 1 && queue[0] != next.Waiting.UUID:
				rt.Fatalf("the queue holds %v, the course %+v", queue, next.Waiting)
			case plan == nil && (next.Active() || len(queue) != 0):
				rt.Fatal("nothing is asked, and something waits")
			case !e.NextAt.IsZero() && !e.NextAt.After(now):
				rt.Fatalf("the next moment %s is not after %s", e.NextAt, now)
			}
			c = next
		}
	})
}

func installsFairly(rt *rapid.T, task *Task, a Action, now, noticed time.Time, ev Event) {
	// 02:30 is skipped on that day in Berlin: by hand, 03:30 CEST is 01:30 UTC.
	deadline := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)
	if task.At().Before(deadline) {
		rt.Fatalf("the deadline %s is read as %s", task.Deadline, task.At())
	}
	if ev.Cause != Contact && ev.Cause != Answered {
		rt.Fatalf("%s is queued without a contact", a)
	}
	if now.Before(task.At()) {
		rt.Fatalf("%s at %s is before the deadline %s", a, now, task.At())
	}
	if task.Lane == Upgrade {
		if a != InstallASAP {
			rt.Fatalf("%s for an upgrade", a)
		}
		return
	}
	if since := now.Sub(noticed); a != InstallForceRestart || noticed.Before(task.At()) || since < time.Hour || since > 4*time.Hour {
		rt.Fatalf("%s at %s, the user was told at %s, the deadline is %s", a, now, noticed, task.At())
	}
}
