package self

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
)

func pointer[T any](v T) *T { return &v }

// show is the page that a user gets for what is required of them.
func show(t *testing.T, s fleet.Self, fault string) string {
	t.Helper()
	r, err := New(Options{Zone: time.UTC, Now: func() time.Time { return time.Date(2026, 12, 3, 9, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	out := httptest.NewRecorder()
	c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/self/x", nil), out)
	if err := r.show(c, http.StatusOK, "a/b", s, fault); err != nil {
		t.Fatal(err)
	}
	if out.Header().Get("X-Robots-Tag") != "noindex" {
		t.Error("search engines may keep the page")
	}
	return out.Body.String()
}

func TestThePageSays(t *testing.T) {
	required := &plan.Target{Kind: release.KindOS, Version: "26.6.2", Build: "25G83"}
	deadline := pointer("2026-12-04T12:00:00")
	asked := fleet.Self{State: "pending", CurrentVersion: "26.5", Required: required, DeadlineLocal: deadline, Policy: "All our Macs"}
	with := func(change func(*fleet.Self)) fleet.Self {
		s := asked
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name  string
		self  fleet.Self
		says  []string
		never []string
	}{
		{
			"an update", asked,
			[]string{"An update is waiting for this Mac.", "macOS 26.6.2", "Friday 4 December 2026, 12:00", "All our Macs", "Software Update", "closes your apps", "What happens at the deadline"},
			[]string{"vulnerability", "Delay by an hour", "overdue"},
		},
		{
			"an exploited one", with(func(s *fleet.Self) { s.Exploited = true }),
			[]string{"It fixes a vulnerability that is being actively exploited."},
			nil,
		},
		{
			"an overdue one", with(func(s *fleet.Self) { s.State, s.Overdue = "overdue", true }),
			[]string{"An update is overdue.", "Save your work now.", "What happens next"},
			[]string{"before lunch"},
		},
		{
			"a Mac that cannot be told", with(func(s *fleet.Self) { s.State = "incompatible" }),
			[]string{"This Mac needs macOS 26.6.2.", "cannot be updated by this service"},
			[]string{"4 December"},
		},
		{
			"an update now", with(func(s *fleet.Self) { s.UpdateNow = true }),
			[]string{"This Mac is about to update.", "asked for it to be installed now", "Save your work now.", "What happens next"},
			[]string{"4 December", "All our Macs", "is waiting for this Mac"},
		},
		{
			"a freeze before the deadline", with(func(s *fleet.Self) { s.Freeze = &fleet.SelfFreeze{From: 20790, To: 20792} }), // 3 December 2026 is day 20790
			[]string{"Updates pause up to and including Saturday 5 December 2026", "An update is waiting for this Mac."},
			[]string{"exempt"},
		},
		{
			"an exemption",
			fleet.Self{State: "exempt", CurrentVersion: "26.5", ExemptUntil: pointer(time.Date(2026, 12, 10, 22, 0, 0, 0, time.UTC))},
			[]string{"This Mac is exempt from updates until Thursday 10 December 2026, 22:00 UTC.", "No update is asked for at the moment."},
			[]string{"Updates pause", "What to do now"},
		},
		{
			"an upgrade that was asked for", with(func(s *fleet.Self) { s.Asked = true }), []string{"You asked for this upgrade."}, nil,
		},
		{
			"a Background Security Improvement",
			with(func(s *fleet.Self) {
				s.Required, s.Letter = &plan.Target{Kind: release.KindBSI, Version: "26.6.2", Build: "25G90"}, "a"
			}),
			[]string{"the Background Security Improvement macOS 26.6.2 (a)", "Privacy &amp; Security"},
			nil,
		},
		{
			"downloading", with(func(s *fleet.Self) { s.Phase = "downloading" }), []string{"Progress", "Your Mac is downloading the update."}, []string{"How far"},
		},
		{
			"reasons for users", with(func(s *fleet.Self) {
				s.Reasons = []fleet.SelfReason{{Code: "failure_disk"}, {Code: "not_synced_yet", Text: "for admins"}}
			}),
			[]string{"lack of disk space"},
			[]string{"for admins"},
		},
		{
			"a delay that is possible", with(func(s *fleet.Self) { s.CanDelay, s.DelaysLeft, s.MaxHours = true, 1, 8 }),
			[]string{"1 hour of 8 left", `action="/self/a%2fb/delay"`, "Thu 09:00 (UTC&#43;0)", `<option value="0" selected>`},
			nil,
		},
		{
			"a delay that will be", with(func(s *fleet.Self) { s.DelayFromLocal, s.DelaysLeft = pointer("2026-12-03T12:00:00"), 8 }),
			[]string{"From Thursday 3 December 2026, 12:00 on you can delay", "8 hours in all"},
			[]string{"<select"},
		},
		{
			"up to date",
			fleet.Self{State: "compliant", Fine: true, CurrentVersion: "26.6.2", Name: "Ada’s MacBook", ModelName: "MacBook Air"},
			[]string{"This Mac is up to date.", "Ada’s MacBook · MacBook Air · macOS 26.6.2"},
			[]string{"What to do now"},
		},
		{"unmanaged", fleet.Self{State: "unmanaged", Fine: true}, []string{"Nothing is asked of this Mac."}, []string{"macOS"}},
		{"unknown", fleet.Self{State: "unknown"}, []string{"No update is asked for at the moment."}, nil},
		{
			"paused",
			fleet.Self{State: "unmanaged", Fine: true, Reasons: []fleet.SelfReason{{Code: "paused"}}},
			[]string{"have paused all updates for now"},
			nil,
		},
		{
			"an offer",
			fleet.Self{State: "compliant", Fine: true, Offered: &plan.Target{Kind: release.KindOS, Version: "27.0"}},
			[]string{"An upgrade is offered", "Install macOS 27.0 now", `action="/self/a%2fb/upgrade"`},
			nil,
		},
		{
			"an offer that was taken",
			fleet.Self{State: "compliant", Fine: true, Asked: true, Offered: &plan.Target{Kind: release.KindOS, Version: "27.0"}},
			nil,
			[]string{"An upgrade is offered"},
		},
		{
			"a name that is a script",
			fleet.Self{Fine: true, Name: `<script>alert(1)</script>`, ModelName: `"><img src=x onerror=alert(1)>`},
			[]string{"&lt;script&gt;"},
			[]string{"<script>alert", "<img"},
		},
		{
			"a policy that is a script", with(func(s *fleet.Self) { s.Policy = `</dd><script>alert(1)</script>` }), []string{"&lt;script&gt;"}, []string{"<script>alert"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := strings.ReplaceAll(show(t, tt.self, ""), "%2F", "%2f")
			for _, want := range tt.says {
				if !strings.Contains(body, want) {
					t.Errorf("the page lacks %q:\n%s", want, body)
				}
			}
			for _, word := range tt.never {
				if strings.Contains(body, word) {
					t.Errorf("the page says %q", word)
				}
			}
			if strings.Contains(body, "<script src=") && strings.Count(body, "<script") != 1 {
				t.Error("there is a script besides ours")
			}
		})
	}
}

func TestAFaultIsShownAboveThePage(t *testing.T) {
	body := show(t, fleet.Self{Fine: true, State: "compliant"}, `All 2 hours have been taken & <b>`)
	if !strings.Contains(body, `role="alert"`) || !strings.Contains(body, "All 2 hours have been taken &amp; &lt;b&gt;") {
		t.Error(body)
	}
}

func TestErrorsArePagesForUsers(t *testing.T) {
	r, err := New(Options{Zone: time.UTC, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		status      int
		title, text string
		want        string
	}{
		{http.StatusNotFound, "Not found", "This link is not valid.", "This page does not exist"},
		{http.StatusServiceUnavailable, "Not available just now", "Try again in a moment.", "Not available just now"},
		{http.StatusForbidden, "Not allowed", "<script>", "&lt;script&gt;"},
	} {
		out := httptest.NewRecorder()
		c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/self/x", nil), out)
		if err := r.Fail(c, tt.status, tt.title, tt.text); err != nil {
			t.Fatal(err)
		}
		body := out.Body.String()
		if out.Code != tt.status || !strings.Contains(body, tt.want) || !strings.Contains(body, "<main") || strings.Contains(body, `href="/"`) {
			t.Errorf("%d: %d %s", tt.status, out.Code, body)
		}
	}
}
