package fleet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/storage"
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
	w.o.Fetch, w.o.FetchIsURL = src.fetch, true
	return w
}

func (w *world) refreshNow() RefreshResult {
	w.t.Helper()
	res, err := w.Refresh(context.Background())
	w.must(err)
	w.settleAll()
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
	w.settleAll()
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
	if res, err := w.Refresh(context.Background()); err != nil || res.Changed || res.Refused == nil || !strings.Contains(*res.Refused, "no route") {
		t.Errorf("a fetch that fails: %+v, %v", res, err)
	}
	if ready := w.Ready(context.Background()); !ready.Ready || !strings.Contains(ready.Catalogue.Error, "no route") {
		t.Errorf("readiness: %+v", ready)
	}
	src.err = nil
	var e *Error
	if _, err := w.Refresh(context.Background()); !errors.As(err, &e) || e.Code != "rate_limited" {
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

// fileSource is a Fetch of a file: it is the same as long as its name is.
type fileSource struct {
	path, name, body string
	err              error
}

func (s *fileSource) fetch(_ context.Context, prev Validators) ([]byte, Validators, bool, error) {
	v := Validators{From: cmp.Or(s.path, "feed"), File: s.name}
	if s.err != nil {
		return nil, Validators{From: v.From}, false, s.err
	}
	return []byte(s.body), v, prev == v, nil
}

// What is wrong with a file is said as long as it is so, once, and no longer (docs/api.md 3: /readyz).
func TestFaultsOfAFileComeAndGo(t *testing.T) {
	good := feedOf("J413AP", "26.5 25F71 2026-05-11", "26.6 25G72 2026-07-27")
	for name, fault := range map[string]fileSource{
		"cannot be read":  {err: errors.New("permission denied")},
		"is not there":    {err: &UnusableFeed{errors.New("the folder has no file")}},
		"is HTML":         {err: &UnusableFeed{errors.New("it is HTML")}},
		"is no feed":      {name: "b", body: "{}"},
		"lost its macOSs": {name: "c", body: `{"PublicAssetSets":{"macOS":[]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			src := &fileSource{name: "a", body: good}
			w := newWorld(t)
			w.o.Fetch = src.fetch
			look := func() ReadinessCatalogue { w.catalogOnce(t.Context()); return w.Ready(t.Context()).Catalogue }
			if c := look(); c.Error+c.Refused != "" || c.Source != "feed" {
				t.Fatalf("a good file: %+v", c)
			}
			for _, refresh := range []bool{false, true} {
				*src = fault
				w.pass(time.Minute)
				if c := look(); c.Error+c.Refused == "" {
					t.Fatalf("the fault is not shown: %+v", c)
				}
				revision := w.book.cur.Load().Revision
				w.pass(time.Minute)
				if c := look(); c.Error+c.Refused == "" || w.book.cur.Load().Revision != revision {
					t.Errorf("looked at again: %+v, and the book was written: %v", c, w.book.cur.Load().Revision != revision)
				}
				if res, err := w.Refresh(t.Context()); err != nil || res.Refused == nil {
					t.Errorf("refresh answers %+v, %v; want the reason", res, err)
				}
				*src = fileSource{name: "a", body: good}
				w.pass(time.Minute)
				if refresh {
					if res, err := w.Refresh(t.Context()); err != nil || res.Refused != nil || res.Changed {
						t.Errorf("refresh of the good file: %+v, %v", res, err)
					}
				}
				if c := look(); c.Error+c.Refused != "" {
					t.Errorf("the file is back, and still there is a fault: %+v", c)
				}
			}
		})
	}
}

// What was tried at one source says nothing about another: that is asked at once, and the catalogue is stale until it has answered. The same
// one is left alone until it is time, through restarts too.
func TestAnotherSourceIsAskedAtOnce(t *testing.T) {
	good := feedOf("J413AP", "26.5 25F71 2026-05-11", "26.6 25G72 2026-07-27")
	older := feedOf("J413AP", "26.5 25F71 2026-05-11")
	w := newWorld(t)
	restart := func(fetch Fetch, isURL bool) ReadinessCatalogue {
		t.Helper()
		w.reopen()
		w.o.Fetch, w.o.FetchIsURL = fetch, isURL
		w.must(w.readFiles(t.Context()))
		w.catalogOnce(t.Context())
		return w.Ready(t.Context()).Catalogue
	}
	wrong := &feedSource{name: "https://wrong", err: errors.New("no such host")}
	if c := restart(wrong.fetch, true); wrong.n != 1 || c.Error == "" {
		t.Fatalf("asked %d times: %+v", wrong.n, c)
	}
	if c := restart(wrong.fetch, true); wrong.n != 1 || c.Error == "" {
		t.Errorf("the same URL again within the hour: asked %d times: %+v", wrong.n, c)
	}
	right := &feedSource{name: "https://right", body: good}
	if c := restart(right.fetch, true); right.n != 1 || c.Error != "" || c.Source != "feed" || c.Stale {
		t.Errorf("another URL after a failure: asked %d times: %+v", right.n, c)
	}
	if c := restart(right.fetch, true); right.n != 1 || c.Stale {
		t.Errorf("the same URL again on the same day: asked %d times: %+v", right.n, c)
	}
	mirror := &feedSource{name: "https://mirror", body: good}
	if c := restart(mirror.fetch, true); mirror.n != 1 || c.Stale {
		t.Errorf("another URL after a success: asked %d times: %+v", mirror.n, c)
	}
	file := &fileSource{path: "/srv/feed.json", name: "a", body: older}
	if c := restart(file.fetch, false); c.Stale || c.Error+c.Refused != "" {
		t.Errorf("a file: %+v", c)
	}
	if c := restart(wrong.fetch, true); wrong.n != 2 || !c.Stale || c.Error == "" {
		t.Errorf("from a file to a URL that does not answer: asked %d times: %+v; the file's catalogue is not what that URL has", wrong.n, c)
	}
	empty := &feedSource{name: "https://empty", body: "{}"}
	if c := restart(empty.fetch, true); empty.n != 1 || !c.Stale || c.Error != "" || c.Refused == "" {
		t.Errorf("a URL that is refused: asked %d times: %+v", empty.n, c)
	}
	if c := restart(mirror.fetch, true); mirror.n != 2 || c.Stale || c.Error+c.Refused != "" {
		t.Errorf("back to the URL that answers: asked %d times: %+v", mirror.n, c)
	}
	w.pass(51 * time.Hour)
	mirror.err = errors.New("no route to host")
	if c := restart(mirror.fetch, true); mirror.n != 3 || !c.Stale || c.Error == "" {
		t.Errorf("two days later: asked %d times: %+v", mirror.n, c)
	}
}

// A replica that is started with a wrong path leaves a fault in the book; one that reads the good file takes it back.
func TestAFileTakesBackTheFaultOfAnother(t *testing.T) {
	w := newWorld(t)
	good := &fileSource{path: "/srv/feed.json", name: "a", body: feedOf("J413AP", "26.5 25F71 2026-05-11")}
	w.o.Fetch = good.fetch
	w.catalogOnce(t.Context())
	for _, fault := range []error{errors.New("no such file"), &UnusableFeed{errors.New("the folder has no file")}} {
		other := &fileSource{path: "/srv/fed.json", err: fault}
		ours := w.looked
		w.o.Fetch, w.looked = other.fetch, Validators{}
		w.catalogOnce(t.Context())
		if c := w.Ready(t.Context()).Catalogue; c.Error+c.Refused == "" {
			t.Fatalf("the fault is not shown: %+v", c)
		}
		other.path = "/srv/fede.json" // with the same fault, and still another source
		w.catalogOnce(t.Context())
		if from := w.book.cur.Load().stored.Fetch.From; from != other.path {
			t.Errorf("%s was tried last, and %s is remembered", other.path, from)
		}
		w.o.Fetch, w.looked = good.fetch, ours
		w.catalogOnce(t.Context())
		if c := w.Ready(t.Context()).Catalogue; c.Error+c.Refused != "" {
			t.Errorf("the fault of another file stays: %+v", c)
		}
	}
}

// A file that cannot be read ends the start (docs/api.md 1). Content that is refused does not: the last good catalogue stays, which on the first run
// is the built-in snapshot (rules 3), and so do the marks. The start says so each time.
func TestStartWithRefusedFiles(t *testing.T) {
	good := feedOf("J413AP", "26.5 25F71 2026-05-11", "26.6 25G72 2026-07-27")
	marking := `{"OSVersions":[{"SecurityReleases":[{"ProductVersion":"26.6","ActivelyExploitedCVEs":["CVE-1"]}]}]}`
	gone := fileSource{err: errors.New("no such file")}
	empty := fileSource{err: &UnusableFeed{errors.New("the folder has no file")}}
	for name, c := range map[string]struct {
		catalogue, exploited fileSource
		want                 string // of the start
		warned               string
	}{
		"both are good":           {fileSource{name: "c", body: good}, fileSource{name: "e", body: marking}, "", ""},
		"no catalogue":            {gone, fileSource{name: "e", body: marking}, "no such file", ""},
		"an empty folder":         {empty, fileSource{name: "e", body: marking}, "", "the folder has no file"},
		"a catalogue of nothing":  {fileSource{name: "c2", body: "{}"}, fileSource{name: "e", body: marking}, "", "names no macOS build"},
		"a catalogue that is cut": {fileSource{name: "c3", body: good[:40]}, fileSource{name: "e", body: marking}, "", "not valid JSON"},
		"no exploited feed":       {fileSource{name: "c", body: good}, gone, "no such file", ""},
		"one that is cut":         {fileSource{name: "c", body: good}, fileSource{name: "e2", body: `{"OSVersions": [`}, "", "not valid"},
		"one that is HTML":        {fileSource{name: "c", body: good}, fileSource{err: &UnusableFeed{errors.New("it is HTML")}}, "", "it is HTML"},
		"one of another kind":     {fileSource{name: "c", body: good}, fileSource{name: "e3", body: good}, "", "lists no release"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var log bytes.Buffer
			start := func(catalogue, exploited fileSource) error {
				w.Fleet.log = slog.New(slog.NewTextHandler(&log, nil))
				w.o.Fetch, w.o.Exploited = catalogue.fetch, exploited.fetch
				return w.Start(t.Context())
			}
			for _, at := range []string{"first start", "start with a good catalogue", "same again"} {
				log.Reset()
				err := start(c.catalogue, c.exploited)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s: %v, want %q", at, err, c.want)
				}
				if warned := strings.Contains(log.String(), "level=WARN"); warned != (c.warned != "") || !strings.Contains(log.String(), c.warned) {
					t.Errorf("%s says %q, want a warning with %q", at, log.String(), c.warned)
				}
				cat := w.book.cur.Load().Catalog
				if at != "first start" {
					if r := w.book.cur.Load().Index.Build("25G72"); cat.Source != "feed" || r == nil || !r.Exploited {
						t.Errorf("%s: the catalogue is from the %s, 26.6 is %+v; want the last good one with its marks", at, cat.Source, r)
					}
					w.reopen()
					continue
				}
				w.must(start(fileSource{name: "c", body: good}, fileSource{name: "e", body: marking}))
				w.reopen()
			}
		})
	}
}

// An exploited feed that would fill the book is refused like any other that makes no sense, and what is known stays.
func TestExploitedFeedIsBounded(t *testing.T) {
	w := newWorld(t)
	src := &feedSource{name: "https://sofa"}
	w.o.Exploited, w.o.ExploitedIsURL = src.fetch, true
	w.must(w.updateBook(t.Context(), func(tx *storage.BookTx) error {
		full := *tx.Catalog
		for i := range 39999 {
			full.Exploited = append(full.Exploited, release.Fix{Build: fmt.Sprintf("1A%d", i)})
		}
		return tx.SetCatalog(&full, false, w.now())
	}))
	for _, c := range []struct {
		build   string
		refused bool
	}{{"2A1", false}, {"2A2", true}, {"2A1", false}} {
		src.body = `{"OSVersions":[{"SecurityReleases":[{"ActivelyExploitedCVEs":["CVE-1"],"Build":"` + c.build + `"}]}]}`
		if err := w.fetchExploited(t.Context()); c.refused != errors.Is(err, release.ErrRefused) || !c.refused && err != nil {
			t.Errorf("%s: %v", c.build, err)
		}
		if n := len(w.book.cur.Load().Catalog.Exploited); n != 40000 {
			t.Errorf("after %s %d are kept, want 40000", c.build, n)
		}
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
	w.settleAll()
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
