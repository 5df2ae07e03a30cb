package compliance

import (
	"testing"
	"time"
	_ "time/tzdata" // wherever the tests run

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
)

const olderThanCurrent = "[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: target OS version (26.6.2) is older than current version (26.7)"

func says(item string, v any) func(*life) {
	return func(l *life) { l.report(map[string]any{item: v}) }
}

func syncs(l *life) { l.fetch() }

func activates(l *life) {
	l.report(map[string]any{"management.declarations": l.holds(nil), "softwareupdate.install-state": "none"})
}

func runsOS(version, build string) func(*life) {
	return func(l *life) {
		l.report(map[string]any{
			"device.operating-system.version": version, "device.operating-system.build-version": build,
			"softwareupdate.install-state": "none", "softwareupdate.failure-reason": map[string]any{"count": 0},
		})
	}
}

// beginning is the same for most Macs: enrolled, synced, activated, with the deadline on 2026-09-01 at noon.
var beginning = []step{
	{"2026-08-22T09:00", nil, Pending, Planned, []string{NeverSynced, DeadlineAhead}, []string{"not_synced"}, []string{EventEnrolled, EventPolicyChanged, EventTargetSet}},
	{"2026-08-22T09:05", syncs, Pending, Served, []string{NotFetched, DeadlineAhead}, []string{}, []string{EventManifestServed}},
	{"2026-08-22T09:06", activates, Pending, Active, []string{DeadlineAhead}, []string{}, []string{EventDeclarationActive}},
}

func begin(more ...step) []step { return append(append([]step{}, beginning...), more...) }

func newAir() *life { return &life{mac: air(), planner: asks("25G83", "2026-09-01T12:00:00")} }

func TestNormalUpdate(t *testing.T) {
	l := newAir()
	run(t, l, begin(
		step{"2026-08-22T10:00", says("softwareupdate.install-state", "waiting"), Pending, Waiting, []string{"waiting", DeadlineAhead}, []string{}, []string{EventPhase}},
		step{"2026-08-22T10:10", says("softwareupdate.install-state", "downloading"), Pending, Downloading, []string{"downloading", DeadlineAhead}, []string{}, []string{EventPhase}},
		// Nothing new is said: no event.
		step{"2026-08-23T09:00", says("softwareupdate.install-state", "downloading"), Pending, Downloading, []string{"downloading", DeadlineAhead}, []string{}, nil},
		step{"2026-08-23T10:11", says("softwareupdate.install-state", "downloading"), Pending, Downloading, []string{DownloadingLong, DeadlineAhead}, []string{}, nil},
		step{"2026-08-24T10:00", says("softwareupdate.install-state", "prepared"), Pending, Prepared, []string{"prepared", DeadlineAhead}, []string{}, []string{EventPhase}},
		step{"2026-08-24T20:00", says("softwareupdate.install-state", "installing"), Pending, Installing, []string{"installing", DeadlineAhead}, []string{}, []string{EventPhase}},
		step{"2026-08-24T21:00", runsOS("26.6.2", "25G83"), Compliant, "", nil, []string{"not_synced"}, []string{EventUpdated, EventCompliant}},
		step{"2026-08-24T21:05", syncs, Compliant, "", nil, []string{}, []string{EventManifestServed}},
	))
}

func TestUpdatedTellsHowLongItTook(t *testing.T) {
	l := newAir()
	run(t, l, beginning)
	l.now = at("2026-08-24T09:05")
	runsOS("26.6.2", "25G83")(l)
	e := l.judge()[0]
	want := map[string]any{
		"from": "26.5", "to": "26.6.2", "from_build": "25F71", "to_build": "25G83", "reached_target": true,
		"seconds_since_target": 2*24*3600 + 300, "seconds_since_served": 2 * 24 * 3600,
	}
	if e.Type != EventUpdated || len(e.Data) != len(want) {
		t.Fatalf("%+v", e)
	}
	for k, v := range want {
		if e.Data[k] != v {
			t.Errorf("%s is %v, want %v", k, e.Data[k], v)
		}
	}
}

func TestFailureThatRecovers(t *testing.T) {
	battery := map[string]any{"count": 2, "timestamp": "2026-08-24T20:10:00Z", "reason": `Error Domain=SUOSUErrorDomain Code=8 "BatteryTooLow"`}
	run(t, newAir(), begin(
		step{"2026-08-24T20:11", func(l *life) {
			l.report(map[string]any{"softwareupdate.install-state": "failed", "softwareupdate.failure-reason": battery})
		}, Failing, Failed, []string{FailureBattery, InstallFailed}, []string{}, []string{EventFailed}},
		// It is tried again; the last attempt is still a failed one.
		step{"2026-08-25T08:00", says("softwareupdate.install-state", "installing"), Failing, Failed, []string{FailureBattery, InstallFailed}, []string{}, nil},
		step{"2026-08-25T08:30", says("softwareupdate.failure-reason", map[string]any{"count": 3, "reason": "There is not enough free space"}), Failing, Failed, []string{FailureDisk, InstallFailed}, []string{}, []string{EventFailed}},
		step{"2026-08-25T09:00", func(l *life) {
			l.report(map[string]any{"softwareupdate.install-state": "installing", "softwareupdate.failure-reason": map[string]any{"count": 0}})
		}, Pending, Installing, []string{"installing", DeadlineAhead}, []string{}, []string{EventPhase}},
		step{"2026-08-25T09:30", runsOS("26.6.2", "25G83"), Compliant, "", nil, []string{"not_synced"}, []string{EventUpdated, EventCompliant}},
	))
}

func TestRejection(t *testing.T) {
	l := newAir()
	run(t, l, []step{
		beginning[0], beginning[1],
		{"2026-08-22T09:06", func(l *life) {
			l.report(map[string]any{"management.declarations": l.rejects(declarations.IDOSUpdate, "[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: target OS version (26.6.2) has an invalid format")})
		}, Failing, Rejected, []string{DeclarationRejected}, []string{}, []string{EventDeclarationRejected}},
		// Past the deadline it is still the rejection that explains it.
		{"2026-09-02T09:06", says("softwareupdate.install-state", "none"), Failing, Rejected, []string{DeclarationRejected, Returned, DeadlinePassed}, []string{"past_deadline"}, []string{EventBack}},
		// Another deadline is another declaration: it starts anew.
		{"2026-09-02T09:10", func(l *life) { l.planner = asks("25G83", "2026-09-09T12:00:00") }, Pending, Planned, []string{NotSyncedYet, Returned, DeadlineAhead}, []string{"not_synced"}, []string{EventDeadlineChanged, EventPhase}},
		{"2026-09-02T09:12", syncs, Pending, Served, []string{NotFetched, Returned, DeadlineAhead}, []string{}, []string{EventManifestServed}},
		{"2026-09-02T09:13", activates, Pending, Active, []string{Returned, DeadlineAhead}, []string{}, []string{EventDeclarationActive}},
	})
	r := l.verdict.Reasons[0]
	if r.Evidence["back_at"] != at("2026-09-02T09:06") {
		t.Errorf("evidence %v", r.Evidence)
	}
}

func TestRejectionKeepsApplesWordsWhole(t *testing.T) {
	l := newAir()
	run(t, l, beginning[:2])
	words := "[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: target OS version (26.6.2) has an invalid format"
	l.report(map[string]any{"management.declarations": l.rejects(declarations.IDOSUpdate, words)})
	l.judge()
	e := l.verdict.Reasons[0].Evidence
	if e["code"] != "Error.ConfigurationCannotBeApplied" || e["description"] != "Configuration cannot be applied: "+words || e["identifier"] != "plimsoll.os-update" {
		t.Errorf("evidence %v", e)
	}
}

func TestOffAcrossTheDeadline(t *testing.T) {
	run(t, newAir(), begin(
		step{"2026-08-28T09:00", says("softwareupdate.install-state", "prepared"), Pending, Prepared, []string{"prepared", DeadlineAhead}, []string{}, []string{EventPhase}},
		// The last minute before and the first after the deadline.
		step{"2026-09-01T11:59", nil, Pending, Prepared, []string{StaleReport, "prepared", DeadlineAhead}, []string{"report_stale"}, nil},
		step{"2026-09-01T12:00", nil, Overdue, Prepared, []string{DeadlinePassedOffline, StaleReport, "prepared"}, []string{"report_stale", "past_deadline"}, []string{EventOverdue}},
		step{"2026-09-04T09:00", nil, Overdue, Prepared, []string{DeadlinePassedOffline, SilentMac, "prepared"}, []string{"silent", "past_deadline"}, []string{EventSilent}},
		step{"2026-09-12T08:00", says("softwareupdate.install-state", "installing"), Overdue, Installing, []string{"installing", DeadlinePassed, Returned}, []string{"past_deadline"}, []string{EventBack, EventPhase}},
		step{"2026-09-12T08:40", runsOS("26.6.2", "25G83"), Compliant, "", nil, []string{"not_synced"}, []string{EventUpdated, EventCompliant}},
	))
}

func TestOverdueInContact(t *testing.T) {
	run(t, newAir(), begin(
		step{"2026-09-01T11:30", says("softwareupdate.install-state", "prepared"), Pending, Prepared, []string{"prepared", Returned, DeadlineAhead}, []string{}, []string{EventBack, EventPhase}},
		// A Mac that was there half an hour ago is not called offline in the first minutes.
		step{"2026-09-01T12:10", nil, Overdue, Prepared, []string{"prepared", DeadlinePassed, Returned}, []string{"past_deadline"}, []string{EventOverdue}},
		step{"2026-09-01T14:00", nil, Overdue, Prepared, []string{DeadlinePassedOffline, "prepared", Returned}, []string{"past_deadline"}, nil},
		step{"2026-09-01T14:05", says("softwareupdate.install-state", "prepared"), Overdue, Prepared, []string{"prepared", DeadlinePassed, Returned}, []string{"past_deadline"}, nil},
		step{"2026-09-01T14:06", func(l *life) { l.mac.Facts.BootstrapToken = false }, Overdue, Prepared, []string{NoBootstrapToken, "prepared", DeadlinePassed, Returned}, []string{"past_deadline", "bootstrap_token_missing"}, nil},
	))
}

func TestRemovedBSI(t *testing.T) {
	l := newAir()
	l.index, l.planner = spring, asks("25D771280a", "2026-08-25T12:00:00")
	l.mac.Facts.Version, l.mac.Facts.Build = "26.3.1", "25D2128"
	improved := func(letter, build string) func(*life) {
		return func(l *life) {
			l.report(map[string]any{
				"device.operating-system.version": "26.3.1", "device.operating-system.build-version": "25D2128",
				"device.operating-system.supplemental.extra-version": letter, "device.operating-system.supplemental.build-version": build,
			})
		}
	}
	run(t, l, begin(
		step{"2026-08-22T09:30", func(l *life) {
			l.report(map[string]any{"softwareupdate.install-state": "downloading", "softwareupdate.pending-version": map[string]any{"os-version": "26.3.1 (a)", "build-version": "25D771280a"}})
		}, Pending, Downloading, []string{"downloading", DeadlineAhead}, []string{}, []string{EventPhase}},
		step{"2026-08-22T10:00", improved("(a)", "25D771280a"), Compliant, "", nil, []string{"not_synced"}, []string{EventUpdated, EventCompliant}},
		step{"2026-08-22T10:02", syncs, Compliant, "", nil, []string{}, []string{EventManifestServed}},
		step{"2026-08-23T10:00", improved("", "25D2128"), Pending, Planned, []string{NotSyncedYet, DeadlineAhead}, []string{"not_synced"}, []string{EventReverted, EventTargetSet}},
	))
}

func TestRefusedBSIIsNotSatisfied(t *testing.T) {
	l := newAir()
	l.index, l.planner = spring, asks("25D771280a", "2026-08-25T12:00:00")
	l.mac.Facts.Version, l.mac.Facts.Build = "26.3.1", "25D2128"
	refuse := func(l *life) {
		l.report(map[string]any{"management.declarations": l.rejects(declarations.IDBSI, "target OS version (26.3.1) is the same as current version (26.3.1)")})
	}
	run(t, l, []step{
		beginning[0], beginning[1],
		{"2026-08-22T09:06", refuse, Failing, Rejected, []string{DeclarationRejected}, []string{}, []string{EventDeclarationRejected}},
	})
	if l.verdict.AskVersion {
		t.Error("the Mac is asked for its version")
	}
}

func TestSelfUpdatedToSomethingNewer(t *testing.T) {
	l := newAir()
	refuse := func(l *life) {
		l.report(map[string]any{"management.declarations": l.rejects(declarations.IDOSUpdate, olderThanCurrent)})
	}
	run(t, l, []step{
		beginning[0], beginning[1],
		{"2026-08-25T09:00", refuse, Compliant, "", []string{AlreadyNewer}, []string{}, []string{EventCompliant}},
		{"2026-08-31T09:00", refuse, Compliant, "", []string{AlreadyNewer}, []string{}, nil},
	})
	if l.verdict.AskVersion {
		t.Error("the version is asked for twice") // the run judged once more
	}
	run(t, l, []step{
		// Never overdue: what is asked is there.
		{"2026-09-01T12:30", refuse, Compliant, "", []string{AlreadyNewer}, []string{}, nil},
		{"2026-09-01T13:00", runsOS("26.7", "25H10"), Compliant, "", nil, []string{"not_synced", "prerelease"}, []string{EventUpdated}},
	})
}

func TestRefusalAsksForTheVersionOnce(t *testing.T) {
	l := newAir()
	run(t, l, beginning[:2])
	l.report(map[string]any{"management.declarations": l.rejects(declarations.IDOSUpdate, olderThanCurrent)})
	for i, want := range []bool{true, false, false} {
		l.judge()
		if l.verdict.AskVersion != want {
			t.Errorf("judgement %d: AskVersion is %v, want %v", i, l.verdict.AskVersion, want)
		}
	}
}

func TestNeverFetches(t *testing.T) {
	l := newAir()
	contact := func(l *life) { l.contact() }
	run(t, l, []step{
		beginning[0],
		{"2026-08-23T09:00", func(l *life) { l.push = "BadDeviceToken"; l.contact() }, Pending, Planned, []string{PushFailed, NeverSynced, DeadlineAhead}, []string{"not_synced"}, nil},
		{"2026-08-23T18:00", contact, Pending, Planned, []string{PushFailed, NeverSynced, StaleReport, DeadlineAhead}, []string{"report_stale", "not_synced"}, nil},
		{"2026-08-27T18:00", contact, Pending, Planned, []string{PushFailed, NeverSynced, StaleReport, DeadlineAhead}, []string{"report_stale", "not_synced"}, nil},
		{"2026-09-01T12:00", nil, Overdue, Planned, []string{DeadlinePassedOffline, PushFailed, NeverSynced, StaleReport}, []string{"report_stale", "not_synced", "past_deadline"}, []string{EventOverdue}},
	})
}

func TestReEnrolment(t *testing.T) {
	l := newAir()
	run(t, l, begin(
		step{"2026-08-24T09:00", func(l *life) { l.mac.Facts.Enrolled = false }, Pending, Active, []string{DeadlineAhead}, []string{}, []string{EventRemoved}},
		step{"2026-08-26T09:00", func(l *life) {
			f := l.mac.Facts.NewLife()
			f.Enrolled, f.EnrolledAt, f.LastContactAt = true, l.now, l.now
			f.BootstrapToken = true
			l.mac = plan.Mac{Facts: f}
			l.merged, l.manifest, l.last.Summary = nil, nil, Summary{}
			l.planner = func(*life) *plan.Plan { return &plan.Plan{Outcome: plan.Unknown} }
		}, Unknown, "", []string{"version_unknown", NeverSynced}, []string{"not_synced"}, []string{EventReEnrolled}},
		step{"2026-08-26T09:05", func(l *life) {
			l.planner = asks("25G83", "2026-09-01T12:00:00")
			l.report(map[string]any{"device.operating-system.version": "26.5", "device.operating-system.build-version": "25F71", "device.model.identifier": "Mac14,2"})
		}, Pending, Planned, []string{NeverSynced, DeadlineAhead}, []string{"not_synced"}, []string{EventPolicyChanged, EventTargetSet}},
	))
}

func TestClockSkew(t *testing.T) {
	// The Mac's clock is wrong by years either way: only its own words carry that, nothing is derived from it.
	for _, stamp := range []string{"2099-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "yesterday"} {
		run(t, newAir(), begin(
			step{"2026-08-24T20:11", says("softwareupdate.failure-reason", map[string]any{"count": 1, "timestamp": stamp, "reason": "no luck"}), Failing, Failed, []string{InstallFailed}, []string{}, []string{EventFailed}},
		))
	}
	// A contact that lies ahead, as another replica's clock may have written it, is no silence and no event.
	run(t, newAir(), begin(
		step{"2026-08-22T09:07", func(l *life) {
			l.mac.Facts.LastContactAt = l.now.Add(time.Hour)
			l.mac.Facts.LastReportAt = l.now.Add(time.Hour)
		}, Pending, Active, []string{DeadlineAhead}, []string{}, nil},
	))
}

func TestServersZoneDecidesWhatIsOverdue(t *testing.T) {
	// Noon of 2026-09-01 in Auckland (UTC+12) is midnight in UTC; in Los Angeles (UTC-7 in summer) it is 19:00.
	for zone, wants := range map[string][2]string{
		"Pacific/Auckland":    {"2026-08-31T23:59", "2026-09-01T00:00"},
		"America/Los_Angeles": {"2026-09-01T18:59", "2026-09-01T19:00"},
	} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		l := newAir()
		l.t, l.index, l.zone, l.now = t, summer, loc, at("2026-08-22T09:00")
		l.judge()
		if got := l.verdict.StateNow(at(wants[0])); got != Pending {
			t.Errorf("%s: %s at %s", zone, got, wants[0])
		}
		if got := l.verdict.StateNow(at(wants[1])); got != Overdue {
			t.Errorf("%s: %s at %s", zone, got, wants[1])
		}
	}
}
