package sim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// day0 is when the tests' time begins.
var day0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

type bench struct {
	*fakeServer
	*Mac
	t   *testing.T
	now time.Time
}

func (b *bench) pass(d time.Duration) { b.now = b.now.Add(d) }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// mac is an eager MacBook Air (M2) in UTC that runs the given release.
func macSpec(version, build string) Spec {
	return Spec{
		Serial: "C02TEST0001", UDID: "00008112-000A11112222001E", Name: "Ada's Mac",
		Hardware: Hardware{Board: "J413AP", Model: "Mac14,2", Name: "MacBook Air (M2, 2022)", AppleSilicon: true},
		OS:       OS{Version: release.Version(version), Build: build}, Eager: true, Seed: 7,
	}
}

func newBench(t *testing.T, spec Spec, faults Faults, opts ...func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, now: day0, fakeServer: newFakeServer(t)}
	o := Options{
		URL: b.srv.URL, Now: func() time.Time { return b.now }, Keys: testKeys(), HTTP: b.srv.Client(),
		Log: func(e Event) { t.Log(e.At.Format("15:04:05"), e.Text) },
	}
	for _, f := range opts {
		f(&o)
	}
	b.Mac = New(spec, faults, o)
	return b
}

// synced is a bench whose Mac is enrolled and holds what was set.
func synced(t *testing.T, spec Spec, faults Faults, configs ...declarations.Declaration) *bench {
	t.Helper()
	b := newBench(t, spec, faults)
	b.must(b.Enrol(t.Context()))
	b.set(spec.UDID, b.now, true, configs...)
	b.must(b.Poll(t.Context()))
	return b
}

func (b *bench) noViolations() {
	b.t.Helper()
	for _, v := range b.stats.Violations() {
		b.t.Errorf("violation: %s", v)
	}
}

// rules are the names of the rules that were broken, once each.
func (b *bench) rules() []string {
	var out []string
	for _, v := range b.stats.Violations() {
		if !slices.Contains(out, v.Rule) {
			out = append(out, v.Rule)
		}
	}
	return out
}

// item reads a status item out of a report; nil when it is not there.
func item(report map[string]any, name string) any {
	var at any = report
	for part := range strings.SplitSeq(name, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[part]
	}
	return at
}

func (b *bench) last() map[string]any {
	b.t.Helper()
	c := b.client(b.Spec().UDID)
	if len(c.reports) == 0 {
		b.t.Fatal("there is no report")
	}
	return c.reports[len(c.reports)-1]
}

func TestEnrol(t *testing.T) {
	for _, tc := range []struct {
		name   string
		signed bool
		caps   string
		header string
	}{
		{"plain profile", false, "POSTPKIOperation\nSHA-256\nAES\nSCEPStandard\n", ""},
		{"signed profile", true, "POSTPKIOperation\n", ""},
		{"SCEP by GET", false, "", ""},
		{"certificate in a header", false, "SCEPStandard\n", "X-Client-Cert"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, macSpec("26.5", "25F71"), Faults{}, func(o *Options) { o.Code, o.CertHeader = "abc", tc.header })
			b.code, b.signed, b.scepCap, b.certHdr = "abc", tc.signed, tc.caps, tc.header
			b.must(b.Enrol(t.Context()))
			c := b.client(b.Spec().UDID)
			if got := c.auth; got.OSVersion != "26.5" || got.BuildVersion != "25F71" || got.Model != "Mac14,2" || got.SerialNumber != "C02TEST0001" || got.Topic != "com.apple.mgmt.External.test" {
				t.Errorf("Authenticate: %+v", got)
			}
			if len(c.bootstrap) == 0 || !b.Enrolled() || b.identity.Cert.Subject.CommonName != "C02TEST0001" {
				t.Errorf("bootstrap token %d octets, enrolled %v, subject %s", len(c.bootstrap), b.Enrolled(), b.identity.Cert.Subject)
			}
			b.noViolations()
		})
	}
}

func TestEnrolRefused(t *testing.T) {
	b := newBench(t, macSpec("26.5", "25F71"), Faults{})
	b.code = "needed"
	err := b.Enrol(t.Context())
	var he *HTTPError
	if !errors.As(err, &he) || he.Status != http.StatusForbidden || IsTemporary(err) || b.Enrolled() {
		t.Fatalf("got %v", err)
	}
}

func TestIntelEscrowsNoBootstrapToken(t *testing.T) {
	spec := macSpec("15.7.7", "24G720")
	spec.Hardware = Hardware{Board: "J152FAP", Model: "MacBookPro16,1", Name: "MacBook Pro (16-inch, 2019)"}
	b := newBench(t, spec, Faults{})
	b.must(b.Enrol(t.Context()))
	if c := b.client(spec.UDID); len(c.bootstrap) != 0 {
		t.Error("an Intel Mac escrowed a bootstrap token")
	}
}

// The order is the one that a real Mac's log shows.
func TestFirstContact(t *testing.T) {
	for _, tc := range []struct {
		name     string
		withData bool
		want     []string
	}{
		{"tokens in the command", true, []string{
			"status", "declaration-items", "declaration/activation/plimsoll.status.activation",
			"declaration/configuration/plimsoll.status", "tokens", "status",
		}},
		{"no tokens in the command", false, []string{
			"status", "tokens", "declaration-items", "declaration/activation/plimsoll.status.activation",
			"declaration/configuration/plimsoll.status", "tokens", "status",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, macSpec("26.5", "25F71"), Faults{})
			b.must(b.Enrol(t.Context()))
			b.set(b.Spec().UDID, b.now, tc.withData, everyItem)
			b.must(b.Poll(t.Context()))
			c := b.client(b.Spec().UDID)
			if !slices.Equal(c.asked, tc.want) {
				t.Errorf("asked %q, want %q", c.asked, tc.want)
			}
			first := c.reports[0]
			if item(first, "device.operating-system.version") != "26.5" || item(first, "management.client-capabilities") == nil ||
				item(first, "softwareupdate.device-id") != nil {
				t.Errorf("first report: %v", first)
			}
			if got := item(c.reports[1], "softwareupdate.device-id"); got != "J413AP" {
				t.Errorf("device-id in the second report: %v", got)
			}
			if item(c.reports[1], "management.client-capabilities") != nil {
				t.Error("the second report repeats what has not changed")
			}
			b.noViolations()

			b.set(b.Spec().UDID, b.now, tc.withData, everyItem) // the same again: nothing to do
			n := len(b.client(b.Spec().UDID).asked)
			b.must(b.Poll(t.Context()))
			extra := b.client(b.Spec().UDID).asked[n:]
			if tc.withData && len(extra) != 0 || !tc.withData && !slices.Equal(extra, []string{"tokens"}) {
				t.Errorf("an unchanged token made the Mac ask %q", extra)
			}
		})
	}
}

func TestOnlyChangesAreFetched(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem)
	n := len(b.client(b.Spec().UDID).asked)
	b.pass(time.Minute)
	b.set(b.Spec().UDID, b.now, true, everyItem, enforce(t, "26.6.2", "", "2026-12-01T12:00:00"))
	b.must(b.Poll(t.Context()))
	want := []string{
		"declaration-items", "declaration/activation/plimsoll.os-update.activation",
		"declaration/configuration/plimsoll.os-update", "tokens", "status",
	}
	if got := b.client(b.Spec().UDID).asked[n:]; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	b.pass(time.Minute)
	b.set(b.Spec().UDID, b.now, true, everyItem)
	b.must(b.Poll(t.Context()))
	if got, want := b.Held(), []string{"plimsoll.status", "plimsoll.status.activation"}; !slices.Equal(got, want) {
		t.Errorf("holds %q, want %q", got, want)
	}
	b.noViolations()
}

// A whole update, by the Mac's own clock, with the sequence of states that the server sees.
func TestUpdate(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem, enforce(t, "26.6.2", "", "2026-12-01T12:00:00"))
	var states []string
	for range 40 {
		b.pass(10 * time.Second)
		b.must(b.Poll(t.Context()))
		b.must(b.Step(t.Context()))
	}
	c := b.client(b.Spec().UDID)
	for _, r := range c.reports {
		if s, ok := item(r, "softwareupdate.install-state").(string); ok {
			states = append(states, s)
		}
		if item(r, "softwareupdate.install-state") == "downloading" {
			continue
		}
		if item(r, "softwareupdate.install-state") == "waiting" {
			if p := item(r, "softwareupdate.pending-version"); p == nil || p.(map[string]any)["target-local-date-time"] != "2026-12-01T12:00:00" || p.(map[string]any)["build-version"] != "25G83" {
				t.Errorf("pending-version %v", p)
			}
		}
	}
	if want := []string{"none", "waiting", "downloading", "prepared", "installing", "none"}; !slices.Equal(states, want) {
		t.Errorf("install-state went %q, want %q", states, want)
	}
	r := b.last()
	if item(r, "device.operating-system.version") != "26.6.2" || item(r, "device.operating-system.build-version") != "25G83" || item(r, "device.operating-system.marketing-name") != "macOS 26.6.2" {
		t.Errorf("last report %v", r)
	}
	if b.Targeted() || !b.Settled() || b.stats.Updates.Load() != 1 {
		t.Errorf("targeted %v, settled %v, updates %d", b.Targeted(), b.Settled(), b.stats.Updates.Load())
	}
	b.noViolations()
}

// The same by hand, as scenario tests drive it; with one failure on the way.
func TestUpdateByHand(t *testing.T) {
	b := synced(t, macSpec("15.7.7", "24G720"), Faults{}, everyItem, enforce(t, "15.7.9", "24G830", "2026-12-01T12:00:00"))
	ctx := t.Context()
	steps := []struct {
		name string
		do   func() error
		want string
	}{
		{"download", b.StartDownload, "downloading"},
		{"downloaded", b.FinishDownload, "prepared"},
		{"install", b.StartInstall, "installing"},
		{"failure", func() error { return b.FailInstall(DiskText) }, "failed"},
		{"waiting again", b.Wait, "waiting"},
		{"download again", b.StartDownload, "downloading"},
		{"downloaded again", b.FinishDownload, "prepared"},
		{"install again", b.StartInstall, "installing"},
		{"done", b.FinishInstall, "none"},
	}
	for _, s := range steps {
		b.must(s.do())
		b.must(b.Report(ctx, false))
		if got := item(b.last(), "softwareupdate.install-state"); got != s.want {
			t.Fatalf("%s: install-state %v, want %s", s.name, got, s.want)
		}
		if s.want == "failed" {
			f, _ := item(b.last(), "softwareupdate.failure-reason").(map[string]any)
			if f["count"] != 1.0 || f["reason"] != DiskText || f["timestamp"] != "2026-11-23T09:00:00Z" {
				t.Errorf("failure-reason %v", f)
			}
		}
	}
	if f, _ := item(b.last(), "softwareupdate.failure-reason").(map[string]any); f["count"] != 0.0 {
		t.Errorf("after success failure-reason is %v", f)
	}
	if err := b.StartInstall(); err == nil {
		t.Error("an install without a target began")
	}
	b.noViolations()
}

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		name, has, build string
		target, tbuild   string
		wantText         string
		wantRules        []string
	}{
		{"older", "15.7.7", "24G720", "15.7", "", "target OS version (15.7) is older than current version (15.7.7)", []string{"downgrade"}},
		{"same", "26.6.2", "25G83", "26.6.2", "", "target OS version (26.6.2) is the same as current version (26.6.2)", []string{"downgrade"}},
		{"not a version", "26.3.1", "25D2128", "26.3.1 (a)", "", "target OS version (26.3.1 (a)) has an invalid format", []string{"enforcement"}},
		{"no such release", "26.5", "25F71", "26.5.9", "", "", []string{"target"}},
		{"a build of another board", "26.0", "25A354", "26.0.1", "25A8364", "", []string{"target"}},
		{"newer than anything known", "26.5", "25F71", "26.9", "", "", nil},
		{"good", "26.5", "25F71", "26.6.2", "", "", nil},
		{"BSI", "26.3.1", "25D2128", "26.3.1", "25D771280a", "", nil},
		{"BSI without its base", "26.3", "25D125", "26.3.1", "25D771280a", "", []string{"target"}},
		{"BSI of another board", "26.3.2", "25D2140", "26.3.2", "25D771400a", "", []string{"target"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := synced(t, macSpec(tc.has, tc.build), Faults{}, everyItem, enforce(t, tc.target, tc.tbuild, "2026-12-01T12:00:00"))
			confs, _ := item(b.last(), "management.declarations.configurations").([]any)
			var entry map[string]any
			for _, c := range confs {
				if m := c.(map[string]any); strings.HasPrefix(m["identifier"].(string), "plimsoll.os-update") || m["identifier"] == "plimsoll.bsi" {
					entry = m
				}
			}
			text, _ := json.Marshal(entry)
			if entry["active"] != true {
				t.Fatalf("entry %s", text)
			}
			if tc.wantText == "" && entry["valid"] != "valid" || tc.wantText != "" && (entry["valid"] != "invalid" ||
				!strings.Contains(string(text), `"code":"Error.ConfigurationCannotBeApplied"`) ||
				!strings.Contains(string(text), "[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: "+tc.wantText)) {
				t.Errorf("entry %s, want %q", text, tc.wantText)
			}
			if got := b.rules(); !slices.Equal(got, tc.wantRules) {
				t.Errorf("violations %q, want %q", got, tc.wantRules)
			}
		})
	}
}

func TestBSI(t *testing.T) {
	for _, absence := range []Absence{AbsentItems, EmptyItems, BaseItems} {
		spec := macSpec("26.3.1", "25D2128")
		spec.NoBSI = absence
		b := synced(t, spec, Faults{}, everyItem, enforce(t, "26.3.1", "25D771280a", "2026-12-01T12:00:00"))
		for range 20 {
			b.pass(10 * time.Second)
			b.must(b.Step(t.Context()))
		}
		r := b.last()
		if item(r, "device.operating-system.supplemental.extra-version") != "(a)" ||
			item(r, "device.operating-system.supplemental.build-version") != "25D771280a" ||
			item(r, "device.operating-system.build-version") != nil || b.OS().Build != "25D2128" {
			t.Errorf("after the BSI: %v", r)
		}
		b.pass(time.Minute)
		b.set(spec.UDID, b.now, true, everyItem)
		b.must(b.Poll(t.Context()))
		b.must(b.RemoveBSI())
		b.must(b.Step(t.Context()))
		if got, ok := item(b.last(), "device.operating-system.supplemental.extra-version").(string); !ok || got != "" {
			t.Errorf("after its removal extra-version is %v", got)
		}
		b.noViolations()
	}
}

func TestServerFaultsAreNoticed(t *testing.T) {
	d := enforce(t, "26.6.2", "", "2026-12-01T12:00:00")
	answer := func(w http.ResponseWriter, ct, body string) bool {
		w.Header().Set("Content-Type", ct)
		_, _ = w.Write([]byte(body))
		return true
	}
	isDecl := func(endpoint string) bool { return endpoint == "declaration/configuration/plimsoll.os-update" }
	for _, tc := range []struct {
		name string
		hook func(w http.ResponseWriter, endpoint string, c *client) bool
		want string
	}{
		{"404 for what is in the manifest", func(w http.ResponseWriter, e string, _ *client) bool {
			if isDecl(e) {
				http.Error(w, "gone", http.StatusNotFound)
				return true
			}
			return false
		}, "missing"},
		{"another content under the promised token", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "application/json", strings.Replace(string(d.Body), "26.6.2", "26.6.1", 1))
		}, "token"},
		{"another token than promised", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "application/json", string(enforce(t, "26.6.1", "", "2026-12-01T12:00:00").Body))
		}, "token"},
		{"a deadline with a zone", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "application/json", strings.Replace(string(d.Body), "12:00:00", "12:00:00Z", 1))
		}, "enforcement"},
		{"not application/json", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "text/plain", string(d.Body))
		}, "content-type"},
		{"null in place of an array", func(w http.ResponseWriter, e string, _ *client) bool {
			return e == "declaration-items" && answer(w, "application/json",
				`{"Declarations":{"Activations":[],"Configurations":[],"Assets":null,"Management":[]},"DeclarationsToken":"`+declarations.DeclarationsToken(nil, 0)+`"}`)
		}, "items"},
		{"a token that is no hash of the items", func(w http.ResponseWriter, e string, c *client) bool {
			return e == "declaration-items" && answer(w, "application/json", string(declarations.ItemsJSON(declarations.ItemsOf(c.decls), "other")))
		}, "items"},
		{"tokens and items disagree", func(w http.ResponseWriter, e string, c *client) bool {
			return e == "declaration-items" && answer(w, "application/json", string(declarations.ItemsJSON(nil, declarations.DeclarationsToken(nil, 0))))
		}, "agree"},
		{"an activation without its configuration", func(w http.ResponseWriter, e string, c *client) bool {
			if e == "declaration-items" {
				c.decls = []declarations.Declaration{declarations.Activation(d)}
			}
			return false
		}, "activation"},
		{"two enforcements", func(_ http.ResponseWriter, e string, c *client) bool {
			if e == "declaration-items" {
				l, err := declarations.ParseLocal("2026-12-01T12:00:00")
				if err != nil {
					t.Fatal(err)
				}
				two := declarations.Enforcement("two", "26.6.1", "", l, "")
				c.decls = append(c.decls, two, declarations.Activation(two))
				declarations.SortDeclarations(c.decls)
				c.stamp = c.stamp.Add(time.Second)
			}
			return false
		}, "enforcement"},
		{"status answered 204", func(w http.ResponseWriter, e string, _ *client) bool {
			if e == "status" {
				w.WriteHeader(http.StatusNoContent)
			}
			return e == "status"
		}, "204"},
		{"status answered with a body", func(w http.ResponseWriter, e string, _ *client) bool {
			return e == "status" && answer(w, "application/json", `{}`)
		}, "status"},
		{"a timestamp with a fraction", func(w http.ResponseWriter, e string, _ *client) bool {
			return e == "tokens" && answer(w, "application/json", `{"SyncTokens":{"DeclarationsToken":"x","Timestamp":"2026-11-23T09:00:00.5Z"}}`)
		}, "tokens"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, macSpec("26.5", "25F71"), Faults{})
			b.must(b.Enrol(t.Context()))
			b.set(b.Spec().UDID, b.now, false, everyItem, d)
			b.hook = tc.hook
			_ = b.Poll(t.Context()) // some of these end in an error, all in a violation
			b.hook = nil
			_ = b.Poll(t.Context())
			if got := b.rules(); !slices.Contains(got, tc.want) {
				t.Errorf("violations %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTimestampsAreMonotonic(t *testing.T) {
	for _, tc := range []struct {
		name  string
		after time.Duration
		want  []string
	}{
		{"later", time.Second, nil},
		{"the same, with another token", 0, []string{"timestamp"}},
		{"earlier", -time.Second, []string{"timestamp"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem)
			b.set(b.Spec().UDID, b.now.Add(tc.after), false, everyItem, enforce(t, "26.6.2", "", "2026-12-01T12:00:00"))
			b.must(b.Poll(t.Context()))
			if got := b.rules(); !slices.Equal(got, tc.want) {
				t.Errorf("violations %q, want %q", got, tc.want)
			}
		})
	}
}

// While the server is in trouble the Mac keeps what it holds and does the rest later.
func TestTroubleIsRetried(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem)
	before := b.Token()
	b.pass(time.Minute)
	b.set(b.Spec().UDID, b.now, true, everyItem, enforce(t, "26.6.2", "", "2026-12-01T12:00:00"))
	b.hook = func(w http.ResponseWriter, e string, _ *client) bool {
		if strings.HasPrefix(e, "declaration/") {
			http.Error(w, "store", http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	if err := b.Poll(t.Context()); !IsTemporary(err) {
		t.Fatalf("got %v", err)
	}
	if b.Token() != before || len(b.Held()) != 2 {
		t.Errorf("the Mac holds %q", b.Held())
	}
	b.hook = nil
	b.down = http.StatusServiceUnavailable
	if err := b.Step(t.Context()); !IsTemporary(err) {
		t.Fatalf("got %v", err)
	}
	b.down = 0
	b.must(b.Step(t.Context()))
	if len(b.Held()) != 4 {
		t.Errorf("the Mac holds %q", b.Held())
	}
	// A report that is not acknowledged is sent again.
	b.must(b.Wait())
	b.down = http.StatusServiceUnavailable
	if err := b.Report(t.Context(), false); !IsTemporary(err) {
		t.Fatalf("got %v", err)
	}
	b.down = 0
	b.must(b.Report(t.Context(), false))
	if got := item(b.last(), "softwareupdate.install-state"); got != "waiting" {
		t.Errorf("install-state %v", got)
	}
	b.srv.Close()
	if err := b.Poll(t.Context()); !IsTemporary(err) || b.stats.Unreachable.Load() != 1 {
		t.Errorf("without a server: %v, %d unreachable", err, b.stats.Unreachable.Load())
	}
	b.noViolations()
}

func TestHeartbeat(t *testing.T) {
	for _, tc := range []struct {
		name, version, build string
		want                 int64
	}{
		{"macOS 26 every day", "26.6.2", "25G83", 2},
		{"macOS 13 never", "13.7.8", "22H730", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := macSpec(tc.version, tc.build)
			b := synced(t, spec, Faults{}, everyItem)
			n := b.stats.FullReports.Load()
			for range 49 {
				b.pass(time.Hour)
				b.must(b.Step(t.Context()))
			}
			if got := b.stats.FullReports.Load() - n; got != tc.want {
				t.Errorf("%d heartbeats in 49 hours, want %d", got, tc.want)
			}
			for _, raw := range b.client(spec.UDID).raw {
				if tc.want == 0 && strings.Contains(string(raw), "FullReport") {
					t.Error("macOS 13 knows no FullReport")
				}
			}
			if tc.want > 0 && (item(b.last(), "device.operating-system.version") != tc.version || item(b.last(), "softwareupdate.install-state") != "none") {
				t.Errorf("heartbeat %v", b.last())
			}
		})
	}
}

func TestCommands(t *testing.T) {
	b := newBench(t, macSpec("14.8.7", "23J520"), Faults{})
	b.must(b.Enrol(t.Context()))
	b.mu.Lock()
	for i, rt := range []string{"DeviceInformation", "SecurityInfo", "EraseTheMoon", ""} {
		cmd := commandPlist{CommandUUID: string(rune('a' + i))}
		cmd.Command.RequestType = rt
		cmd.Command.Queries = []string{"SoftwareUpdateDeviceID", "OSVersion", "BuildVersion", "DeviceName", "SerialNumber", "Nonsense"}
		b.clients[b.Spec().UDID].queue = append(b.clients[b.Spec().UDID].queue, cmd)
	}
	b.mu.Unlock()
	b.must(b.Poll(t.Context()))
	res := b.client(b.Spec().UDID).results
	var status []string
	for _, r := range res {
		status = append(status, r["Status"].(string))
	}
	if want := []string{"Acknowledged", "Acknowledged", "Error", "CommandFormatError"}; !slices.Equal(status, want) {
		t.Fatalf("results %q, want %q", status, want)
	}
	q, _ := res[0]["QueryResponses"].(map[string]any)
	if len(q) != 5 || q["SoftwareUpdateDeviceID"] != "J413AP" || q["OSVersion"] != "14.8.7" || q["BuildVersion"] != "23J520" || q["DeviceName"] != "Ada's Mac" || q["SerialNumber"] != "C02TEST0001" {
		t.Errorf("DeviceInformation %v", q)
	}
}

func TestMacOS12KnowsNoDDM(t *testing.T) {
	b := newBench(t, macSpec("12.7.6", "21H1320"), Faults{})
	b.must(b.Enrol(t.Context()))
	b.set(b.Spec().UDID, b.now, true)
	b.must(b.Poll(t.Context()))
	if c := b.client(b.Spec().UDID); c.results[0]["Status"] != "Error" || len(c.asked) != 0 || !b.Settled() {
		t.Errorf("results %v, asked %q, settled %v", c.results, c.asked, b.Settled())
	}
}

func TestUnsupportedItemsAreErrors(t *testing.T) {
	b := synced(t, macSpec("14.8.7", "23J520"), Faults{}, everyItem)
	raw := b.client(b.Spec().UDID).raw
	if got := string(raw[len(raw)-1]); !strings.Contains(got, `"StatusItem":"softwareupdate.device-id"`) || strings.Contains(got, `"device-id":`) {
		t.Errorf("report %s", got)
	}
}

// What Apple publishes after the simulator's data were taken can be added.
func TestWorldLearns(t *testing.T) {
	w := NewWorld()
	feed := `{"PublicAssetSets":{"macOS":[{"ProductVersion":"26.7","Build":"25H10","PostingDate":"2026-11-20","SupportedDevices":["J413AP"]}]}}`
	if err := w.AddFeed([]byte(feed)); err != nil {
		t.Fatal(err)
	}
	if r, ok := w.release("26.7", "", "J413AP"); !ok || r.Build != "25H10" {
		t.Errorf("26.7 is %+v", r)
	}
	if _, ok := w.release("26.7", "", "J700AP"); ok {
		t.Error("26.7 is offered to a board that it does not list")
	}
	if err := w.AddFeed([]byte(`{"AssetSets":{"macOS":[{"ProductVersion":"x","Build":"1"}]}}`)); err == nil {
		t.Error("a feed with a broken version was taken")
	}
}

// Everything that the program's own snapshot offers, the simulated Macs can install.
func TestWorldCoversTheSnapshot(t *testing.T) {
	w := NewWorld()
	for _, r := range release.Snapshot().Releases {
		if r.Version.Major() < 12 {
			continue
		}
		if r.Kind == release.KindBSI {
			if got, ok := w.bsi(r.Build); !ok || got.PrerequisiteBuild != r.PrerequisiteBuild || len(got.Devices) != len(r.Devices) {
				t.Errorf("BSI %s is %+v", r.Build, got)
			}
			continue
		}
		for _, board := range r.Devices {
			if got, ok := w.release(r.Version, r.Build, board); !ok || got.Posted > r.Posted {
				t.Errorf("%s %s for %s is %+v", r.Version, r.Build, board, got)
			}
		}
	}
}

func TestForgottenMacAsksOn(t *testing.T) {
	b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem)
	b.mu.Lock()
	delete(b.clients, b.Spec().UDID)
	b.mu.Unlock()
	for range 2 {
		var he *HTTPError
		if err := b.Poll(context.WithoutCancel(t.Context())); !errors.As(err, &he) || he.Status != http.StatusBadRequest || IsTemporary(err) {
			t.Fatalf("got %v", err)
		}
	}
	if !b.Enrolled() {
		t.Error("400 unenrolled the Mac")
	}
}

func TestUserChannel(t *testing.T) {
	for _, tc := range []struct {
		name  string
		items []declarations.Item
		want  []string
	}{
		{"empty, as it must be", nil, nil},
		{"with a declaration", []declarations.Item{{Kind: declarations.KindManagement, Identifier: "a", ServerToken: "b"}}, []string{"user-channel"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := macSpec("26.5", "25F71")
			spec.User = "ada"
			b := newBench(t, spec, Faults{})
			b.must(b.Enrol(t.Context()))
			cmd := commandPlist{CommandUUID: "u1"}
			cmd.Command.RequestType = "DeclarativeManagement"
			b.mu.Lock()
			b.clients[spec.UDID].userQueue, b.clients[spec.UDID].userItems = []commandPlist{cmd}, tc.items
			b.mu.Unlock()
			b.must(b.Poll(t.Context()))
			if c := b.client(spec.UDID); c.users != 1 || c.userReports != 1 || len(c.userQueue) != 0 {
				t.Errorf("%d logins, %d reports, %d commands left", c.users, c.userReports, len(c.userQueue))
			}
			if got := b.rules(); !slices.Equal(got, tc.want) {
				t.Errorf("violations %q, want %q", got, tc.want)
			}
		})
	}
}

// Without any command a Mac asks for the tokens once a day.
func TestDailySync(t *testing.T) {
	b := synced(t, macSpec("13.7.8", "22H730"), Faults{}, everyItem)
	n := len(b.client(b.Spec().UDID).asked)
	for range 49 {
		b.pass(time.Hour)
		b.must(b.Step(t.Context()))
	}
	if got, want := b.client(b.Spec().UDID).asked[n:], []string{"tokens", "tokens"}; !slices.Equal(got, want) {
		t.Errorf("in 49 hours it asked %q, want %q", got, want)
	}
}
