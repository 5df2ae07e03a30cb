package sim

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/release"
)

// states are the values of an item over all reports that carry it.
func (b *bench) states(name string) []string {
	var out []string
	for _, r := range b.client(b.Spec().UDID).reports {
		if s, ok := item(r, name).(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func (b *bench) run(steps int, every time.Duration) {
	b.t.Helper()
	for range steps {
		b.pass(every)
		b.must(b.Poll(b.t.Context()))
		b.must(b.Step(b.t.Context()))
	}
}

func TestFaults(t *testing.T) {
	near := enforce(t, "26.6.2", "", "2026-11-23T12:00:00") // three hours after the beginning
	for _, tc := range []struct {
		name  string
		steps int
		every time.Duration
		check func(t *testing.T, b *bench)
	}{
		{"never-fetches", 5, 10 * time.Second, func(t *testing.T, b *bench) {
			if c := b.client(b.Spec().UDID); len(c.asked) != 0 || len(c.results) == 0 {
				t.Errorf("asked %q, %d results", c.asked, len(c.results))
			}
		}},
		{"rejects", 5, 10 * time.Second, func(t *testing.T, b *bench) {
			raw := b.client(b.Spec().UDID).raw
			if !strings.Contains(string(raw[len(raw)-1]), RejectText) || b.InstallState() != "none" {
				t.Errorf("state %s, report %s", b.InstallState(), raw[len(raw)-1])
			}
		}},
		{"install-fails", 80, 10 * time.Second, func(t *testing.T, b *bench) {
			failed := 0
			for _, s := range b.states("softwareupdate.install-state") {
				if s == "failed" {
					failed++
				}
			}
			if failed != 2 || b.OS().Version != "26.6.2" {
				t.Errorf("%d failures, then %s", failed, b.OS())
			}
		}},
		{"fails-battery", 80, 10 * time.Second, func(t *testing.T, b *bench) {
			if b.stats.Failures.Load() < 3 || b.OS().Version != "26.5" || b.st.Install.FailText != BatteryText {
				t.Errorf("%d failures, then %s", b.stats.Failures.Load(), b.OS())
			}
		}},
		{"off-at-deadline", 12, 15 * time.Minute, func(t *testing.T, b *bench) {
			if !b.Off() || b.OS().Version != "26.5" {
				t.Errorf("at the deadline off %v, runs %s", b.Off(), b.OS())
			}
			b.run(40, time.Hour)
			if b.Off() || b.OS().Version != "26.6.2" {
				t.Errorf("40 hours later off %v, runs %s", b.Off(), b.OS())
			}
		}},
		{"updates-itself", 12, 10 * time.Second, func(t *testing.T, b *bench) {
			versions, states := b.states("device.operating-system.version"), b.states("softwareupdate.install-state")
			if !slices.Equal(versions, []string{"26.5", "26.6.2"}) || !slices.Equal(states, []string{"none", "waiting", "none"}) {
				t.Errorf("versions %q, states %q", versions, states)
			}
		}},
		{"re-enrols", 20, 10 * time.Second, func(t *testing.T, b *bench) {
			c := b.client(b.Spec().UDID)
			if c.life != 2 || !b.Enrolled() || b.Token() != "" || c.auth.SerialNumber != b.Spec().Serial {
				t.Errorf("life %d, enrolled %v, token %q", c.life, b.Enrolled(), b.Token())
			}
		}},
		{"bad-json", 20, 10 * time.Second, func(t *testing.T, b *bench) {
			if c := b.client(b.Spec().UDID); c.refused != 2 || b.Faults.BadReports != 0 || b.OS().Version != "26.6.2" {
				t.Errorf("%d refused, %d left, %s", c.refused, b.Faults.BadReports, b.OS())
			}
		}},
		{"stops-reporting", 20, 10 * time.Second, func(t *testing.T, b *bench) {
			if c := b.client(b.Spec().UDID); len(c.reports) != 1 || b.Token() == "" || b.OS().Version != "26.6.2" {
				t.Errorf("%d reports, token %q, %s", len(c.reports), b.Token(), b.OS())
			}
		}},
		{"slow-download", 25, time.Hour, func(t *testing.T, b *bench) {
			if b.InstallState() != "downloading" {
				t.Errorf("after a day the Mac is %s", b.InstallState())
			}
			b.run(15, time.Hour)
			if b.OS().Version != "26.6.2" {
				t.Errorf("after 40 hours it runs %s", b.OS())
			}
		}},
		{"clock-skew", 1, 10 * time.Second, func(t *testing.T, b *bench) {
			if got, want := b.deadline("2026-11-23T12:00:00"), day0.Add(3*time.Hour-37*time.Hour); !got.Equal(want) {
				t.Errorf("the deadline comes at %s, want %s", got, want)
			}
		}},
		{"no-bootstrap", 3, 10 * time.Second, func(t *testing.T, b *bench) {
			if c := b.client(b.Spec().UDID); len(c.bootstrap) != 0 {
				t.Error("a bootstrap token was escrowed")
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := FaultsFor(tc.name)
			if err != nil {
				t.Fatal(err)
			}
			b := synced(t, macSpec("26.5", "25F71"), f, everyItem, near)
			b.run(tc.steps, tc.every)
			tc.check(t, b)
			b.noViolations()
		})
	}
}

func TestRemovesBSI(t *testing.T) {
	b := synced(t, macSpec("26.3.1", "25D2128"), Faults{RemovesBSI: true}, everyItem, enforce(t, "26.3.1", "25D771280a", "2026-12-01T12:00:00"))
	b.onReport = func(udid string, _ *client, items map[string]any) {
		if item(items, "device.operating-system.supplemental.extra-version") == "(a)" {
			b.setLocked(udid, b.now, true, everyItem)
		}
	}
	b.run(40, 10*time.Second)
	if got, want := b.states("device.operating-system.supplemental.extra-version"), []string{"(a)", ""}; !slices.Equal(got, want) {
		t.Errorf("extra-version went %q, want %q", got, want)
	}
	b.noViolations()
}

// Users who are not eager install somewhere between the declaration and its deadline, in the Mac's own zone.
func TestPatientUsersMeetTheDeadline(t *testing.T) {
	for seed := range uint64(6) {
		spec := macSpec("26.5", "25F71")
		spec.Eager, spec.Seed, spec.Zone = false, seed, -8*time.Hour
		b := synced(t, spec, Faults{}, everyItem, enforce(t, "26.6.2", "", "2026-11-26T12:00:00"))
		due := time.Date(2026, 11, 26, 20, 0, 0, 0, time.UTC)
		b.pass(due.Sub(b.now) - time.Second)
		if start := b.st.Install.StartAt; start.After(due) || start.Before(day0) {
			t.Errorf("seed %d: the install is to begin at %s", seed, start)
		}
		b.pass(time.Second)
		b.run(30, time.Hour)
		if b.OS().Version != "26.6.2" {
			t.Errorf("seed %d: a day after the deadline the Mac runs %s", seed, b.OS())
		}
	}
}

func TestAssignFaults(t *testing.T) {
	for _, tc := range []struct {
		arg  string
		n    int
		want []string
		err  string
	}{
		{"", 3, []string{"", "", ""}, ""},
		{"rejects,fails-disk=2", 4, []string{"", "fails-disk", "fails-disk", "rejects"}, ""},
		{"50%", 4, []string{"", "", "clock-skew", "bad-json"}, ""},
		{"nonsense", 4, nil, `unknown misbehaviour "nonsense"`},
		{"rejects=x", 4, nil, `"x" is not a number`},
		{"120%", 4, nil, "not a share"},
		{"rejects=5", 4, nil, "asks for 5 Macs, there are 4"},
	} {
		got, err := assignFaults(tc.arg, tc.n)
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) || !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, %v", tc.arg, got, err)
		}
	}
	if all, err := assignFaults("all", 20); err != nil || len(FaultNames()) != 15 || all[4] != "" || all[5] == "" {
		t.Errorf("all: %q, %v", all, err)
	}
}

// The built-in fleet has what the issue asks for: several majors, both architectures, the one-model releases, and only
// releases that exist for the board.
func TestSpecs(t *testing.T) {
	w := NewWorld()
	specs := Specs(400, 1, w, 1)
	if again := Specs(25, 1, w, 1); !slices.Equal(again, specs[:25]) {
		t.Error("the same seed makes other Macs")
	}
	if other := Specs(25, 2, w, 1); other[0].Serial == specs[0].Serial {
		t.Error("another seed makes the same Macs")
	}
	serials, udids := map[string]bool{}, map[string]bool{}
	small := map[string]bool{}
	intel := 0
	for i, s := range specs {
		serials[s.Serial], udids[s.UDID] = true, true
		if _, ok := w.release(s.OS.Version, s.OS.Build, s.Hardware.Board); !ok {
			t.Errorf("%s runs %s, which is not for it", s.Hardware.Board, s.OS)
		}
		if !s.Hardware.AppleSilicon {
			intel++
		}
		if i < 25 {
			small[string(s.OS.Version)+" "+s.OS.Build] = true
		}
		switch s.OS.Build {
		case "25A8364":
			if s.Hardware.Board != "J704AP" {
				t.Errorf("25A8364 on %s", s.Hardware.Board)
			}
		case "25D2140":
			if s.Hardware.Board != "J700AP" {
				t.Errorf("25D2140 on %s", s.Hardware.Board)
			}
		}
	}
	if len(serials) != 400 || len(udids) != 400 {
		t.Errorf("%d serial numbers, %d UDIDs", len(serials), len(udids))
	}
	if intel < 20 || intel > 200 {
		t.Errorf("%d of 400 are Intel", intel)
	}
	for _, want := range []string{"26.6.2 25G83", "26.6.1 25G76", "26.5 25F71", "15.7.9 24G830", "15.7.7 24G720", "14.8.9 23J631", "14.8.7 23J520", "13.7.8 22H730", "12.7.6 21H1320", "26.0.1 25A8364", "26.3.2 25D2140"} {
		if !small[want] {
			t.Errorf("no Mac of the first 25 runs %s", want)
		}
	}
}

func TestSaveAndRestore(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{FailInstalls: 1}, everyItem, enforce(t, "26.6.2", "", "2026-12-01T12:00:00"))
	b.run(2, 10*time.Second)
	kept, err := b.Save()
	b.must(err)
	n := b.client(b.Spec().UDID)
	again, err := Restore(kept, b.opt)
	b.must(err)
	b.Mac = again
	b.must(b.Poll(t.Context()))
	if got := b.client(b.Spec().UDID); got.life != n.life || len(got.reports) != len(n.reports) {
		t.Errorf("life %d after %d, %d reports after %d", got.life, n.life, len(got.reports), len(n.reports))
	}
	b.run(60, 10*time.Second)
	if b.OS() != (OS{Version: "26.6.2", Build: "25G83"}) || b.stats.Failures.Load() != 1 {
		t.Errorf("runs %s after %d failures", b.OS(), b.stats.Failures.Load())
	}
	b.noViolations()

	opt := b.opt
	opt.URL = "http://127.0.0.1:1"
	moved, err := Restore(kept, opt)
	b.must(err)
	if moved.Enrolled() {
		t.Error("a Mac that is to talk to another server kept its enrolment")
	}
	if _, err := Restore([]byte("{"), opt); err == nil {
		t.Error("a broken state was taken")
	}
}

func TestIssuer(t *testing.T) {
	b := newBench(t, macSpec("26.5", "25F71"), Faults{})
	b.opt.Issuer = &Issuer{Cert: b.ca, Key: testKey()}
	b.must(b.Enrol(t.Context()))
	if c := b.client(b.Spec().UDID); c.auth.SerialNumber != b.Spec().Serial {
		t.Errorf("Authenticate %+v", c.auth)
	}
	b.noViolations()
}

func TestParseProfileRefuses(t *testing.T) {
	for _, tc := range []struct{ name, profile, want string }{
		{"HTML", "<html></html>", "profile"},
		{"nothing", "", "neither a property list nor CMS"},
		{"not a configuration", `<plist version="1.0"><dict><key>PayloadType</key><string>x</string></dict></plist>`, "not a Configuration"},
		{"no MDM payload", `<plist version="1.0"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer><key>PayloadIdentifier</key><string>a</string><key>PayloadUUID</key><string>b</string></dict></plist>`, "no com.apple.mdm payload"},
	} {
		if _, err := ParseProfile([]byte(tc.profile)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestCheckOut(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem)
	b.must(b.CheckOut(t.Context()))
	if b.Enrolled() || len(b.Held()) != 0 {
		t.Errorf("enrolled %v, holds %q", b.Enrolled(), b.Held())
	}
	b.must(b.Poll(t.Context()))
	if err := b.Report(t.Context(), true); err == nil {
		t.Error("a Mac without declarative management reported")
	}
	var he *HTTPError
	if errors.As(b.Enrol(t.Context()), &he) || !b.Enrolled() {
		t.Errorf("enrolling again: %v", he)
	}
}

// A new release is known to the world before the Macs hear of it.
func TestSetOS(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem, enforce(t, "26.6.1", "", "2026-12-01T12:00:00"))
	b.opt.World.Add(release.Release{Version: "26.7", Build: "25H10", Kind: release.KindOS, Devices: []string{"J413AP"}})
	b.SetOS(OS{Version: "26.7", Build: "25H10"})
	b.must(b.Step(t.Context()))
	if item(b.last(), "device.operating-system.build-version") != "25H10" || b.Targeted() {
		t.Errorf("report %v, targeted %v", b.last(), b.Targeted())
	}
}
