package catalogue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/storage"
)

// What is kept of a response: the catalogue or the fault, and what the source is known by.
func TestDecide(t *testing.T) {
	feed := func(entries ...string) *release.Feed {
		f, err := release.ParseFeed([]byte(feedOf("J413AP", entries...)))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	url := Source{Name: "https://feed", URL: true}
	first := decide(release.Snapshot(), storage.FetchState{}, response{source: url, feed: feed("26.5 25F71 2026-05-11"), next: Validators{ETag: "1"}}, testDay)
	if first.catalog == nil || !first.changed || first.state.ETag != "1" || first.state.From != url.Name || first.catalog.From != url.Name {
		t.Fatalf("a first feed: %+v", first.state)
	}
	down := errors.New("no route to host")
	later := testDay.Add(time.Hour)
	for name, c := range map[string]struct {
		kept    storage.FetchState
		r       response
		want    storage.FetchState
		catalog bool
		changed bool
		refused bool
	}{
		"the same again": {
			first.state,
			response{source: url, same: true, next: Validators{ETag: "1"}},
			storage.FetchState{From: url.Name, TriedAt: later, ETag: "1"},
			true, false, false,
		},
		"a newer release": {
			first.state,
			response{source: url, feed: feed("26.5 25F71 2026-05-11", "26.6 25G72 2026-07-27"), next: Validators{ETag: "2"}},
			storage.FetchState{From: url.Name, TriedAt: later, ETag: "2"},
			true, true, false,
		},
		"down": {
			first.state,
			response{source: url, err: down},
			storage.FetchState{From: url.Name, TriedAt: later, ETag: "1", Error: down.Error()},
			false, false, false,
		},
		"down, and another source": {
			first.state,
			response{source: Source{Name: "https://other", URL: true}, err: down},
			storage.FetchState{From: "https://other", TriedAt: later, Error: down.Error()},
			false, false, false,
		},
		"no feed": {
			first.state,
			response{source: url, err: &UnusableFeed{errors.New("it is HTML")}, next: Validators{ETag: "3"}},
			storage.FetchState{From: url.Name, TriedAt: later, ETag: "1", Refused: "it is HTML", RefusedAt: later},
			false, false, true,
		},
		"up again": {
			storage.FetchState{From: url.Name, Error: "down", Refused: "it is HTML", RefusedAt: testDay},
			response{source: url, same: true, next: Validators{ETag: "1"}},
			storage.FetchState{From: url.Name, TriedAt: later, ETag: "1"},
			true, false, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(first.catalog, c.kept, c.r, later)
			if d.state != c.want {
				t.Errorf("kept %+v, want %+v", d.state, c.want)
			}
			if (d.catalog != nil) != c.catalog || d.changed != c.changed || (d.refused != nil) != c.refused {
				t.Errorf("a catalogue: %v, changed: %v, refused: %v", d.catalog != nil, d.changed, d.refused)
			}
		})
	}
}

// A URL is asked once a day, an hour after Apple's usual posting time, and an hour after a failure.
func TestSchedule(t *testing.T) {
	for _, now := range []time.Time{testDay, testDay.Add(10 * time.Hour), testDay.Add(10*time.Hour + 6*time.Minute), testDay.Add(14 * time.Hour)} {
		next := now.Add(untilFetch(now))
		minutes := next.Hour()*60 + next.Minute()
		if next.Before(now) || next.Sub(now) > 25*time.Hour || minutes < 19*60+5 || minutes > 19*60+25 {
			t.Errorf("at %s the next fetch is at %s", now, next)
		}
		if last := lastFetchTime(now); last.After(now) || now.Sub(last) > 24*time.Hour || last.Hour() != 19 {
			t.Errorf("at %s the last fetch was due at %s", now, last)
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
			start := func(catalogue, exploited fileSource) error {
				w.open(catalogue.source(), exploited.source())
				return w.ReadFiles(t.Context())
			}
			for _, at := range []string{"first start", "start with a good catalogue", "same again"} {
				w.log.Reset()
				err := start(c.catalogue, c.exploited)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s: %v, want %q", at, err, c.want)
				}
				if warned := strings.Contains(w.log.String(), "level=WARN"); warned != (c.warned != "") || !strings.Contains(w.log.String(), c.warned) {
					t.Errorf("%s says %q, want a warning with %q", at, w.log.String(), c.warned)
				}
				cat := w.cur.Catalog
				if at != "first start" {
					if r := w.cur.Index.Build("25G72"); cat.Source != "feed" || r == nil || !r.Exploited {
						t.Errorf("%s: the catalogue is from the %s, 26.6 is %+v; want the last good one with its marks", at, cat.Source, r)
					}
					continue
				}
				w.must(start(fileSource{name: "c", body: good}, fileSource{name: "e", body: marking}))
			}
		})
	}
}

// Marks are what the last readable feed says: what it names no more is no longer kept.
func TestTheLastExploitedFeedCounts(t *testing.T) {
	w := newWorld(t)
	src := &feedSource{name: "https://sofa"}
	w.open(Source{}, src.source())
	for _, build := range []string{"2A1", "2A2", "2A1"} {
		src.body = `{"OSVersions":[{"SecurityReleases":[{"ActivelyExploitedCVEs":["CVE-1"],"Build":"` + build + `"}]}]}`
		w.must(w.mark(t.Context()))
		if got := w.cur.Catalog.Exploited; len(got) != 1 || got[0].Build != build {
			t.Errorf("after %s %+v is kept", build, got)
		}
	}
	src.body = `{"OSVersions":[]}`
	if err := w.mark(t.Context()); !errors.Is(err, release.ErrRefused) || len(w.cur.Catalog.Exploited) != 1 {
		t.Errorf("a feed without a release: %v, %+v is kept", err, w.cur.Catalog.Exploited)
	}
}
