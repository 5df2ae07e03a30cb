package sim

import (
	"context"
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
