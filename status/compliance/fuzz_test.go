package compliance

import (
	"fmt"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/status"
)

// FuzzJudge: whatever a Mac reports, there is an answer, it is complete, and judging again changes nothing.
func FuzzJudge(f *testing.F) {
	token := func(d *plan.Plan, id string) string {
		for _, d := range d.Declarations {
			if d.Identifier == id {
				return d.ServerToken
			}
		}
		return ""
	}
	l := &life{index: summer, mac: air(), now: at("2026-08-22T09:00")}
	plan := asks("25G83", "2026-08-23T12:00:00")(l)
	ours := token(plan, declarations.IDOSUpdate)
	for _, seed := range []string{
		`{}`,
		`{"StatusItems":{"softwareupdate":{"install-state":"failed","failure-reason":{"count":1e99,"reason":"battery","timestamp":"never"},"pending-version":{"os-version":"26.6.2 (","build-version":"x"}}}}`,
		`{"StatusItems":{"softwareupdate":{"install-state":"\u0000\ud800","failure-reason":{"count":-1}}}}`,
		fmt.Sprintf(`{"StatusItems":{"management":{"declarations":{"configurations":[{"identifier":"plimsoll.os-update","server-token":%q,"active":true,"valid":"invalid","reasons":[{"code":"x","details":{"Error":"target (1) is older than current (2)"}}]}]}}}}`, ours),
		fmt.Sprintf(`{"StatusItems":{"management":{"declarations":{"configurations":[{"identifier":"plimsoll.os-update","server-token":%q,"active":true,"valid":"valid"}]}}}}`, ours),
		fmt.Sprintf(`{"StatusItems":{"management":{"declarations":{"configurations":[{"identifier":"plimsoll.status","server-token":%q,"active":"yes","valid":"invalid","reasons":[null,7,{"details":[]}]}]}}}}`, token(plan, declarations.IDStatus)),
	} {
		f.Add([]byte(seed), int64(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, seconds int64) {
		r, err := status.Parse(body)
		if err != nil {
			t.Skip()
		}
		mac := air()
		mac.Facts = mac.Facts.Apply(r, at("2026-08-22T09:30"))
		in := Input{
			Mac: &mac, Plan: plan, Index: summer, Status: status.Merge(nil, r), Now: at("2026-08-22T10:00").Add(time.Duration(seconds%1e8) * time.Second),
			Manifest: &declarations.Manifest{DeclarationsToken: plan.Token, Items: declarations.ItemsOf(plan.Declarations), ServedAt: at("2026-08-22T09:00")},
		}
		v := Judge(in)
		if len(v.Reasons) == 0 && v.State != Compliant || len(v.Codes) > keptCodes || len(v.Phase) > longestPhase {
			t.Fatalf("%+v", v)
		}
		for _, r := range v.Reasons {
			if r.Text == "" || r.Advice == "" || r.Evidence == nil {
				t.Fatalf("%+v", r)
			}
		}
		in.Before = v.Summary
		again := Judge(in)
		before := Snapshot{Summary: v.Summary, Facts: &mac.Facts, Now: in.Now}
		after := Snapshot{Summary: again.Summary, Facts: &mac.Facts, Now: in.Now}
		if e := Events(before, after); len(e) != 0 {
			t.Fatalf("judging twice brought %+v", e)
		}
		ReasonsAt(v.Summary, &mac.Facts, in.Now, true)
		NeedsResync(in.Manifest, in.Status, in.Now)
	})
}

// BenchmarkJudge judges a Mac in the middle of a download, with a report of the usual size: at most 20 µs are asked for.
func BenchmarkJudge(b *testing.B) {
	l := &life{index: summer, mac: air(), planner: floor, now: at("2026-08-22T09:00")}
	plan := l.planner(l)
	l.fetch()
	body := `{"StatusItems":{"softwareupdate":{"install-state":"downloading","failure-reason":{"count":0},"pending-version":{"os-version":"26.6.2","build-version":"25G83"}},"management":{"declarations":{"activations":[`
	for i, kind := range []declarations.Kind{declarations.KindActivation, declarations.KindConfiguration} {
		if i > 0 {
			body += `],"configurations":[`
		}
		comma := ""
		for _, item := range l.manifest.Items {
			if item.Kind == kind {
				body += fmt.Sprintf(`%s{"identifier":%q,"server-token":%q,"active":true,"valid":"valid"}`, comma, item.Identifier, item.ServerToken)
				comma = ","
			}
		}
	}
	r, err := status.Parse([]byte(body + `],"assets":[],"management":[]}}}}`))
	if err != nil {
		b.Fatal(err)
	}
	in := Input{Mac: &l.mac, Plan: plan, Index: summer, Status: status.Merge(nil, r), Manifest: l.manifest, Now: l.now.Add(time.Hour)}
	in.Before = Judge(in).Summary
	if in.Before.Phase != Downloading {
		b.Fatal(in.Before.Phase)
	}
	b.ReportAllocs()
	for b.Loop() {
		Judge(in)
	}
}
