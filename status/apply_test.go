package status

import (
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/release"
)

// osItems is a report of the system's items; "-" leaves one out.
func osItems(t testing.TB, version, build, supplemental, extra string) *Report {
	t.Helper()
	var pairs []string
	for name, v := range map[string]string{itemVersion: version, itemBuild: build, itemSupplementalBuild: supplemental, itemSupplementalExtra: extra} {
		switch v {
		case "-":
		case "null":
			pairs = append(pairs, name, v)
		default:
			pairs = append(pairs, name, `"`+v+`"`)
		}
	}
	return items(t, pairs...)
}

// TestApplySystem: version and build stay when they are not reported; the supplemental fields go with them.
func TestApplySystem(t *testing.T) {
	type system struct {
		version                     release.Version
		build, supplemental, letter string
	}
	with := system{"26.3.1", "25D2128", "25D771280a", "a"}
	plain := system{"26.3.1", "25D2128", "", ""}
	tests := []struct {
		name string
		had  system
		r    *Report
		want system
	}{
		{"the first report", system{}, osItems(t, "26.3.1", "25D2128", "25D771280a", "(a)"), with},
		{"the first report without a BSI", system{}, osItems(t, "26.3.1", "25D2128", "-", "-"), plain},
		{"nothing reported", with, osItems(t, "-", "-", "-", "-"), with},
		{"the same again, supplemental left out", with, osItems(t, "26.3.1", "25D2128", "-", "-"), with},
		{"the same version, written otherwise", system{"26.4", "25E246", "25E771280a", "a"}, osItems(t, "26.4.0", "25E246", "-", "-"), system{"26.4.0", "25E246", "25E771280a", "a"}},
		{"null clears no version", with, osItems(t, "null", "null", "-", "-"), with},
		{"a full report without supplemental fields", with, full(osItems(t, "26.3.1", "25D2128", "-", "-")), plain},
		{"a full report without the system", with, full(osItems(t, "-", "-", "-", "-")), with},
		{"an update clears them", with, osItems(t, "26.3.2", "25D2140", "-", "-"), system{"26.3.2", "25D2140", "", ""}},
		{"an update brings others", with, osItems(t, "26.3.2", "25D2140", "25D771400a", "a"), system{"26.3.2", "25D2140", "25D771400a", "a"}},
		{"another build of the version", with, osItems(t, "-", "25D2129", "-", "-"), system{"26.3.1", "25D2129", "", ""}},
		{"a BSI was installed", plain, osItems(t, "-", "-", "25D771280a", "a"), with},
		{"a BSI was installed, the build alone is told", plain, osItems(t, "-", "-", "25D771280a", "-"), system{"26.3.1", "25D2128", "25D771280a", ""}},
		{"a BSI was installed, the letter alone is told", plain, osItems(t, "-", "-", "-", "(A)"), system{"26.3.1", "25D2128", "", "a"}},
		{"the letter follows", system{"26.3.1", "25D2128", "25D771280a", ""}, osItems(t, "-", "-", "-", "a"), with},
		{"the build follows", system{"26.3.1", "25D2128", "", "a"}, osItems(t, "-", "-", "25D771280a", "-"), with},
		{"the next BSI", with, osItems(t, "-", "-", "25D771280b", "(b)"), system{"26.3.1", "25D2128", "25D771280b", "b"}},
		{"the next BSI, the build alone is told", with, osItems(t, "-", "-", "25D771280b", "-"), system{"26.3.1", "25D2128", "25D771280b", ""}},
		{"the next BSI, the letter alone is told", with, osItems(t, "-", "-", "-", "b"), system{"26.3.1", "25D2128", "", "b"}},
		{"removed: empty", with, osItems(t, "-", "-", "", ""), plain},
		{"removed: null", with, osItems(t, "-", "-", "null", "null"), plain},
		{"removed: the base build", with, osItems(t, "-", "-", "25D2128", ""), plain},
		{"removed: the base build alone", with, osItems(t, "-", "-", "25D2128", "-"), plain},
		{"removed: the letter alone", with, osItems(t, "-", "-", "-", ""), plain},
		{"the base build in the same report", system{}, osItems(t, "26.3.1", "25D2128", "25D2128", ""), plain},
		{"a version that is none", with, osItems(t, "26.3.1 (a)", "-", "-", "-"), with},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Facts{Version: tt.had.version, Build: tt.had.build, SupplementalBuild: tt.had.supplemental, Letter: tt.had.letter}
			f = f.Apply(tt.r, came)
			if got := (system{f.Version, f.Build, f.SupplementalBuild, f.Letter}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestApplyClearsNothing: a report that is silent on a fact, or says null or nonsense, leaves it.
func TestApplyClearsNothing(t *testing.T) {
	had := Facts{
		ID: "X", UDID: "u", Serial: "s", Name: "n", Model: "Mac14,2", ModelName: "MacBook Air", Board: "J413AP", BoardFrom: BoardFromReport,
		Version: "26.4", Build: "25E246", Capabilities: Capabilities{Known: true, Enforcement: true, Items: 5}, BootstrapToken: true,
		Enrolled: true, EnrolledAt: came.Add(-time.Hour),
	}
	want := had
	want.LastReportAt, want.LastContactAt = came, came
	all := []string{itemUDID, itemSerial, itemModel, itemModelName, itemDeviceID, itemVersion, itemBuild, itemCapabilities}
	for _, v := range []string{"-", "null", `""`, `{}`, `7`, `"` + strings.Repeat("x", 5000) + `"`, `"\u0000\u0007"`} {
		var pairs []string
		for _, name := range all {
			if v != "-" && (name != itemModelName || len(v) < 100) { // a long name is cut, not refused
				pairs = append(pairs, name, v)
			}
		}
		for _, r := range []*Report{items(t, pairs...), full(items(t, pairs...))} {
			if got := had.Apply(r, came); got != want {
				t.Errorf("%.20s (full %t)\n got %+v\nwant %+v", v, r.Full, got, want)
			}
		}
	}
}

func TestApplyCleansText(t *testing.T) {
	r := items(t, itemSerial, `" C02\u0000X\u202e1 "`, itemModelName, `"Mac\nBook `+strings.Repeat("ä", 400)+`"`, itemDeviceID, `"J413AP\u0007"`)
	f := Facts{}.Apply(r, came)
	if f.Serial != "C02X1" || f.Board != "J413AP" {
		t.Errorf("serial %q, board %q", f.Serial, f.Board)
	}
	if want := "MacBook " + strings.Repeat("ä", 292); f.ModelName != want {
		t.Errorf("model name %q, want %q", f.ModelName, want)
	}
}

func TestApplyTimes(t *testing.T) {
	zone := time.FixedZone("", 7200)
	f := Facts{LastContactAt: came.Add(time.Minute)}.Apply(items(t), came.In(zone))
	if f.LastReportAt != came || f.LastContactAt != came.Add(time.Minute) {
		t.Errorf("report %v, contact %v", f.LastReportAt, f.LastContactAt)
	}
	if f = f.Apply(items(t), came.Add(time.Hour)); f.LastContactAt != came.Add(time.Hour) {
		t.Errorf("contact %v", f.LastContactAt)
	}
}

// TestBoard has the sources of a board in their order (rules 4).
func TestBoard(t *testing.T) {
	type board struct{ id, from string }
	report := items(t, itemDeviceID, `"J413AP"`)
	tests := []struct {
		name string
		do   func(Facts) Facts
		want board
	}{
		{"nothing known", func(f Facts) Facts { return f.CheckIn(CheckIn{}) }, board{}},
		{"a model that the table has", func(f Facts) Facts { return f.CheckIn(CheckIn{Model: "Macmini9,1"}) }, board{"J274AP", "table"}},
		{"a model that it lacks", func(f Facts) Facts { return f.CheckIn(CheckIn{Model: "MacBookPro14,1"}) }, board{}},
		{"the answer", func(f Facts) Facts {
			return f.CheckIn(CheckIn{Version: "14.8.7", Model: "MacBookPro15,1"}).BoardAnswer("J680AP")
		}, board{"J680AP", "query"}},
		{"the answer goes before the table", func(f Facts) Facts {
			return f.CheckIn(CheckIn{Version: "14.8.7", Model: "Macmini9,1"}).BoardAnswer("J274XX")
		}, board{"J274XX", "query"}},
		{"the answer from macOS 15 on does not count", func(f Facts) Facts {
			return f.CheckIn(CheckIn{Version: "15.7.7", Model: "Macmini9,1"}).BoardAnswer("J274XX")
		}, board{"J274AP", "table"}},
		{"an answer given earlier stays through the upgrade", func(f Facts) Facts {
			return f.CheckIn(CheckIn{Version: "14.8.7", Model: "Macmini9,1"}).BoardAnswer("J274XX").Apply(osItems(t, "15.7.7", "24G720", "-", "-"), came)
		}, board{"J274XX", "query"}},
		{"an answer that is none", func(f Facts) Facts { return f.CheckIn(CheckIn{Model: "Macmini9,1"}).BoardAnswer(" ") }, board{"J274AP", "table"}},
		{"the report goes before the answer", func(f Facts) Facts { return f.BoardAnswer("J1AP").Apply(report, came) }, board{"J413AP", "report"}},
		{"and stays", func(f Facts) Facts { return f.Apply(report, came).BoardAnswer("J1AP").Apply(items(t), came) }, board{"J413AP", "report"}},
		{"and goes before the table", func(f Facts) Facts {
			return f.Apply(items(t, itemModel, `"Macmini9,1"`), came).Apply(report, came).Apply(items(t, itemModel, `"Macmini9,1"`), came)
		}, board{"J413AP", "report"}},
		{"the model of a report is looked up", func(f Facts) Facts { return f.Apply(items(t, itemModel, `"Macmini9,1"`), came) }, board{"J274AP", "table"}},
		{"another model, another board", func(f Facts) Facts {
			return f.CheckIn(CheckIn{Model: "Macmini9,1"}).Apply(items(t, itemModel, `"VirtualThing1,1"`), came)
		}, board{}},
		{"a new life asks anew", func(f Facts) Facts { return f.Apply(report, came).CheckIn(CheckIn{Model: "Macmini9,1"}) }, board{"J274AP", "table"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.do(Facts{ID: "X"})
			if got := (board{f.Board, f.BoardFrom}); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// lived is a Mac about which everything is known.
func lived() Facts {
	return Facts{
		ID: "X", UDID: "u", Serial: "s", Name: "n", Model: "Mac14,2", ModelName: "MacBook Air", Board: "J413AP", BoardFrom: BoardFromReport,
		Version: "26.3.1", Build: "25D2128", SupplementalBuild: "25D771280a", Letter: "a",
		Capabilities: Capabilities{Known: true, Enforcement: true, Settings: true, Items: 1}, BootstrapToken: true,
		Enrolled: true, EnrolledAt: came, LastContactAt: came, LastReportAt: came,
	}
}

func TestNewLife(t *testing.T) {
	if got, want := lived().NewLife(), (Facts{ID: "X", UDID: "u", Serial: "s", Name: "n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got := lived().CheckIn(CheckIn{Serial: "s2", Model: "Macmini9,1", Version: "26.4", Build: "25E246", SupplementalBuild: "25E771280a", Letter: "(a)"})
	want := Facts{ID: "X", UDID: "u", Serial: "s2", Name: "n", Model: "Macmini9,1", Board: "J274AP", BoardFrom: BoardFromTable, Version: "26.4", Build: "25E246", SupplementalBuild: "25E771280a", Letter: "a"}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := lived().CheckIn(CheckIn{Version: "twenty-six", Name: "\x00", Serial: strings.Repeat("9", 257)}); got != (Facts{ID: "X", UDID: "u", Serial: "s", Name: "n"}) {
		t.Errorf("nonsense in Authenticate: %+v", got)
	}
}

// TestCheckInCountsUntilTheFirstReport: the report replaces what Authenticate said, whatever it said.
func TestCheckInCountsUntilTheFirstReport(t *testing.T) {
	f := Facts{ID: "X"}.CheckIn(CheckIn{Version: "26.3.1", Build: "25D771280a", Model: "Mac14,2", Name: "n"})
	f = f.Apply(osItems(t, "26.3.1", "25D2128", "25D771280a", "(a)"), came)
	if f.Build != "25D2128" || f.SupplementalBuild != "25D771280a" || f.Letter != "a" || f.Model != "Mac14,2" {
		t.Errorf("after the report %+v", f)
	}
	if got := f.Answer(CheckIn{UDID: "other", Serial: "other", Model: "Mac99,9", Name: "new name"}); got.UDID != "" || got.Serial != "" || got.Model != "Mac14,2" || got.Name != "new name" {
		t.Errorf("an answer after the report: %+v", got)
	}
	if got := (Facts{ID: "X"}).Answer(CheckIn{Serial: "s", Model: "Macmini9,1", Name: "n"}); got.Serial != "s" || got.Board != "J274AP" || got.Name != "n" {
		t.Errorf("an answer before it: %+v", got)
	}
}

// TestAnswerOfTheSystem: a Mac is asked for its version when its reports cannot be trusted, so the answer counts.
func TestAnswerOfTheSystem(t *testing.T) {
	tests := []struct {
		name                                string
		answer                              CheckIn
		version, build, supplemental, leter string
	}{
		{"updated", CheckIn{Version: "26.4", Build: "25E246"}, "26.4", "25E246", "", ""},
		{"the same", CheckIn{Version: "26.3.1", Build: "25D2128"}, "26.3.1", "25D2128", "25D771280a", "a"},
		{"the build of the BSI", CheckIn{Version: "26.3.1", Build: "25D771280a"}, "26.3.1", "25D2128", "25D771280a", "a"},
		{"nothing", CheckIn{}, "26.3.1", "25D2128", "25D771280a", "a"},
		{"nonsense", CheckIn{Version: "?", Build: strings.Repeat("9", 300)}, "26.3.1", "25D2128", "25D771280a", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := lived().Answer(tt.answer)
			if string(f.Version) != tt.version || f.Build != tt.build || f.SupplementalBuild != tt.supplemental || f.Letter != tt.leter {
				t.Errorf("got %+v", f)
			}
		})
	}
}
