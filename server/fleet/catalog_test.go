package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// feedSource is a Fetch that answers what it is told to.
type feedSource struct {
	name, body string
	err        error
	n          int
}

func (s *feedSource) fetch(ctx context.Context, _ Validators) ([]byte, Validators, bool, error) {
	v := Validators{From: s.name}
	if err := ctx.Err(); err != nil {
		return nil, v, false, err
	}
	if s.n++; s.err != nil {
		return nil, v, false, s.err
	}
	v.ETag = s.body
	return []byte(s.body), v, false, nil
}

// feedOf is a response of Apple's feed with macOS entries "version build posted" for the given board.
func feedOf(board string, entries ...string) string {
	type entry struct {
		ProductVersion, Build, PostingDate, ExpirationDate string
		SupportedDevices                                   []string
	}
	var list []entry
	for _, e := range entries {
		w := strings.Fields(e)
		list = append(list, entry{w[0], w[1], w[2], "2027-12-31", []string{board}})
	}
	b, err := json.Marshal(map[string]any{"AssetSets": map[string]any{"macOS": list}, "PublicAssetSets": map[string]any{"macOS": list}, "PublicBackgroundSecurityImprovements": map[string]any{}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func worldWithFeed(t *testing.T, src *feedSource) *world {
	w := newWorld(t)
	w.o.Catalogue = Source{Name: src.name, URL: true, Fetch: src.fetch}
	w.catalogue = w.newCatalogue()
	return w
}

func (w *world) refreshNow() RefreshResult {
	w.t.Helper()
	res, err := w.Refresh(context.Background(), Origin{Actor: "admin-token"})
	w.must(err)
	w.reconcileAll()
	return res
}

// As an admin would: a first automatic policy; then Apple posts a newer release: the target moves, the deadline stays (rules 6.3). A feed
// that lost its releases is refused and said so, and the last good catalogue stays.
func TestNewReleaseKeepsTheDeadline(t *testing.T) {
	src := &feedSource{body: feedOf("J413AP", "26.6.2 25G83 2026-08-17", "26.7 25H10 2026-08-17", "15.7.9 24G830 2026-08-06")}
	w := worldWithFeed(t, src)
	if res := w.refreshNow(); !res.Changed || res.Refused != nil {
		t.Fatalf("first response: %+v", res)
	}
	w.enrol("MAC-1", "C02AAA", "26.6.2", "25G83")
	if _, err := w.putPolicy(`{"name":"auto","priority":1,"updates":{"mode":"automatic","within_days":14}}`, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	if got := w.sync("MAC-1")["plimsoll.os-update"]; got["TargetOSVersion"] != "26.7" || got["TargetLocalDateTime"] != "2026-08-31T12:00:00" {
		t.Fatalf("enforced: %v; 26.7 was posted on August 17, so it is due on the 31st at noon", got)
	}
	w.pass(5 * 24 * time.Hour)
	src.body = feedOf("J413AP", "26.6.2 25G83 2026-08-17", "26.7 25H10 2026-08-20", "26.7.1 25H12 2026-08-24", "15.7.9 24G830 2026-08-06")
	if res := w.refreshNow(); !res.Changed {
		t.Fatal("a new release is no change")
	}
	if got := w.sync("MAC-1")["plimsoll.os-update"]; got["TargetOSVersion"] != "26.7.1" || got["TargetLocalDateTime"] != "2026-08-31T12:00:00" {
		t.Errorf("after the newer release (and a re-stamped posting date): %v; the deadline must stay", got)
	}
	token, err := w.Tokens(context.Background(), "MAC-1")
	w.must(err)
	for name, body := range map[string]string{
		"empty":         `{"AssetSets":{},"PublicAssetSets":{}}`,
		"half":          feedOf("J413AP", "26.7.1 25H12 2026-08-24"),
		"HTML":          "<html>Service Unavailable</html>",
		"truncated":     src.body[:len(src.body)/2],
		"not an object": `[1,2,3]`,
	} {
		t.Run(name, func(t *testing.T) {
			good := src.body
			defer func() { src.body = good }()
			src.body = body
			w.pass(2 * time.Minute)
			res := w.refreshNow()
			if res.Changed || res.Refused == nil {
				t.Errorf("%+v, want a refusal", res)
			}
			if ready := w.Ready(context.Background()); !ready.Ready || ready.Catalogue.Refused == "" {
				t.Errorf("readiness: %+v", ready)
			}
			if again, err := w.Tokens(context.Background(), "MAC-1"); err != nil || string(again) != string(token) {
				t.Errorf("tokens changed: %s, %v", again, err)
			}
		})
	}
	src.err = errors.New("no route to host")
	w.pass(2 * time.Minute)
	if res, err := w.Refresh(context.Background(), Origin{Actor: "admin-token"}); err != nil || res.Changed || res.Refused == nil || !strings.Contains(*res.Refused, "no route") {
		t.Errorf("a fetch that fails: %+v, %v", res, err)
	}
	if ready := w.Ready(context.Background()); !ready.Ready || !strings.Contains(ready.Catalogue.Error, "no route") {
		t.Errorf("readiness: %+v", ready)
	}
	src.err = nil
	var e *Error
	if _, err := w.Refresh(context.Background(), Origin{Actor: "admin-token"}); !errors.As(err, &e) || e.Code != "rate_limited" {
		t.Errorf("a second refresh within a minute: %v", err)
	}
	page, err := w.Releases(context.Background(), testDay.Add(time.Hour), 100, "")
	w.must(err)
	for _, r := range page.Items {
		if r.Version == "26.7.1" {
			t.Error("as of the day before it came, 26.7.1 is listed")
		}
	}
}

// A withdrawn release is debounced: it stays a target until a second fetch at least 20 h later lacked it too (rules 3).
func TestWithdrawalIsDebounced(t *testing.T) {
	with := feedOf("J413AP", "26.5 25F71 2026-05-11", "26.6 25G72 2026-07-27", "26.6.1 25G76 2026-08-06")
	without := feedOf("J413AP", "26.5 25F71 2026-05-11", "26.6 25G72 2026-07-27")
	src := &feedSource{body: with}
	w := worldWithFeed(t, src)
	w.refreshNow()
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	if _, err := w.putPolicy(`{"name":"auto","priority":1,"updates":{"mode":"automatic","within_days":90}}`, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	target := func() string { return string(w.device("MAC-1").Target.Version) }
	src.body = without
	w.pass(time.Hour)
	if res := w.refreshNow(); res.Changed || target() != "26.6.1" {
		t.Errorf("lacked once: changed %v, target %s", res.Changed, target())
	}
	w.pass(21 * time.Hour)
	if res := w.refreshNow(); !res.Changed || target() != "26.6" {
		t.Errorf("lacked twice, 21 h apart: changed %v, target %s", res.Changed, target())
	}
	src.body = with
	w.pass(time.Hour)
	if res := w.refreshNow(); !res.Changed || target() != "26.6.1" {
		t.Errorf("back again: changed %v, target %s", res.Changed, target())
	}
}

// A BSI of an older release is optional (rules 6.6): once a newer release is out, nobody is counted as overdue for it any more.
func TestABSIBecomesOptional(t *testing.T) {
	feed := func(newer string) string {
		return `{"AssetSets":{"macOS":[{"ProductVersion":"26.6.2","Build":"25G83","PostingDate":"2026-08-17","SupportedDevices":["J413AP"]}` + newer + `]},
			"PublicBackgroundSecurityImprovements":{"macOS":[{"ProductVersion":"26.6.2","ProductVersionExtra":"(a)","Build":"25G771a","PrerequisiteBuild":"25G83","PostingDate":"2026-08-18","SupportedDevices":["J413AP"]}]}}`
	}
	src := &feedSource{body: feed("")}
	w := worldWithFeed(t, src)
	w.refreshNow()
	w.enrol("MAC-1", "C02AAA", "26.6.2", "25G83")
	if _, err := w.putPolicy(`{"name":"bsi","priority":1,"updates":{"mode":"none"},"background_security":{"mode":"automatic","within_days":2}}`, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.sync("MAC-1")
	w.pass(4 * 24 * time.Hour)
	w.report("MAC-1", `{"StatusItems":{"softwareupdate":{"install-state":"none"}},"Errors":[]}`)
	w.sync("MAC-1")
	overdue := func(what string, want int) {
		t.Helper()
		c, err := w.Compliance(context.Background())
		w.must(err)
		if got := c.States["overdue"]; got != want {
			t.Errorf("%s %d Macs are overdue, want %d: %v", what, got, want, c.States)
		}
	}
	overdue("when the deadline has passed", 1)
	src.body = feed(`,{"ProductVersion":"26.7","Build":"25H10","PostingDate":"2026-08-23","SupportedDevices":["J413AP"]}`)
	w.pass(2 * time.Minute)
	w.refreshNow()
	overdue("when the BSI's release is not the newest", 0)
}

// An entry of Apple's that makes no sense is left out of the catalogue, and whoever asks is told without reading the log, as long as it is so.
func TestLeftOutEntriesAreTold(t *testing.T) {
	src := &feedSource{body: strings.ReplaceAll(feedOf("J413AP", "26.6.2 25G83 2026-08-17", "26.6.1 25G76 2026-08-06", "15.7.9 24G830 2026-08-05"), `"2026-08-06"`, `""`)}
	w := worldWithFeed(t, src)
	res := w.refreshNow()
	if len(res.LeftOut) != 2 || !strings.Contains(res.LeftOut[0], "macOS[1]") { // in either asset set
		t.Errorf("the refresh tells %q", res.LeftOut)
	}
	if got := w.CatalogueReadiness().LeftOut; len(got) != 2 {
		t.Errorf("the readiness tells %q", got)
	}
	if got := w.Stats().LeftOut; got != 2 {
		t.Errorf("the metrics count %d", got)
	}
	src.body = feedOf("J413AP", "26.6.2 25G83 2026-08-17", "26.6.1 25G76 2026-08-06", "15.7.9 24G830 2026-08-05")
	w.pass(2 * time.Minute)
	if res = w.refreshNow(); res.LeftOut == nil || len(res.LeftOut) != 0 || w.Stats().LeftOut != 0 {
		t.Errorf("mended, the refresh tells %q", res.LeftOut)
	}
}
