package catalogue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

// world is a catalogue on bolt with a clock that stands still until it is set.
type world struct {
	*Catalogue
	t     *testing.T
	path  string
	db    storage.DB
	clock time.Time
	log   bytes.Buffer
	cur   *plan.Book
	kept  *storage.Book
}

var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	w := &world{t: t, path: filepath.Join(t.TempDir(), "p.db"), clock: testDay}
	w.open(Source{}, Source{})
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

// open is a start of the process with these sources; the files are not read yet.
func (w *world) open(apple, exploited Source) {
	w.t.Helper()
	if w.db != nil {
		w.must(w.db.Close())
	}
	db, err := bolt.Open(w.path)
	w.must(err)
	w.db = db
	store := storage.New(db)
	load := func(ctx context.Context) error {
		if w.kept, err = store.Book(ctx); err != nil {
			return err
		}
		w.cur, err = plan.Compile(w.kept.Input)
		return err
	}
	w.Catalogue = New(Options{
		Store: store, Apple: apple, Exploited: exploited, Counters: &Counters{}, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Now: func() time.Time { return w.clock }, Book: func() (*plan.Book, *storage.Book) { return w.cur, w.kept },
		Update: func(ctx context.Context, fn func(*storage.BookTx) error) error {
			if err := store.UpdateBook(ctx, fn); err != nil {
				return err
			}
			return load(ctx)
		},
	})
	w.must(load(w.t.Context()))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pass(d time.Duration) { w.clock = w.clock.Add(d) }

// readiness is what is known of the catalogue.
type readiness struct {
	Source, Error, Refused string
	Stale                  bool
}

func (w *world) ready() readiness {
	return readiness{w.cur.Catalog.Source, w.kept.Fetch.Error, w.kept.Fetch.Refused, w.Stale(w.clock)}
}

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

func (s *feedSource) source() Source { return Source{Name: s.name, URL: true, Fetch: s.fetch} }

// fileSource is a Fetch of a file: it is the same as long as its name is.
type fileSource struct {
	path, name, body string
	err              error
}

func (s *fileSource) fetch(_ context.Context, prev Validators) ([]byte, Validators, bool, error) {
	v := Validators{From: s.source().Name, File: s.name}
	if s.err != nil {
		return nil, Validators{From: v.From}, false, s.err
	}
	return []byte(s.body), v, prev == v, nil
}

func (s *fileSource) source() Source { return Source{Name: cmp.Or(s.path, "feed"), Fetch: s.fetch} }

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
			w.open(src.source(), Source{})
			look := func() readiness { w.Once(t.Context()); return w.ready() }
			if c := look(); c.Error+c.Refused != "" || c.Source != "feed" {
				t.Fatalf("a good file: %+v", c)
			}
			for _, refresh := range []bool{false, true} {
				*src = fault
				w.pass(time.Minute)
				if c := look(); c.Error+c.Refused == "" {
					t.Fatalf("the fault is not shown: %+v", c)
				}
				revision := w.cur.Revision
				w.pass(time.Minute)
				if c := look(); c.Error+c.Refused == "" || w.cur.Revision != revision {
					t.Errorf("looked at again: %+v, and the book was written: %v", c, w.cur.Revision != revision)
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
	restart := func(src Source) readiness {
		t.Helper()
		w.open(src, Source{})
		w.must(w.ReadFiles(t.Context()))
		w.Once(t.Context())
		return w.ready()
	}
	wrong := &feedSource{name: "https://wrong", err: errors.New("no such host")}
	if c := restart(wrong.source()); wrong.n != 1 || c.Error == "" {
		t.Fatalf("asked %d times: %+v", wrong.n, c)
	}
	if c := restart(wrong.source()); wrong.n != 1 || c.Error == "" {
		t.Errorf("the same URL again within the hour: asked %d times: %+v", wrong.n, c)
	}
	right := &feedSource{name: "https://right", body: good}
	if c := restart(right.source()); right.n != 1 || c.Error != "" || c.Source != "feed" || c.Stale {
		t.Errorf("another URL after a failure: asked %d times: %+v", right.n, c)
	}
	if c := restart(right.source()); right.n != 1 || c.Stale {
		t.Errorf("the same URL again on the same day: asked %d times: %+v", right.n, c)
	}
	mirror := &feedSource{name: "https://mirror", body: good}
	if c := restart(mirror.source()); mirror.n != 1 || c.Stale {
		t.Errorf("another URL after a success: asked %d times: %+v", mirror.n, c)
	}
	file := &fileSource{path: "/srv/feed.json", name: "a", body: older}
	if c := restart(file.source()); c.Stale || c.Error+c.Refused != "" {
		t.Errorf("a file: %+v", c)
	}
	if c := restart(wrong.source()); wrong.n != 2 || !c.Stale || c.Error == "" {
		t.Errorf("from a file to a URL that does not answer: asked %d times: %+v; the file's catalogue is not what that URL has", wrong.n, c)
	}
	empty := &feedSource{name: "https://empty", body: "{}"}
	if c := restart(empty.source()); empty.n != 1 || !c.Stale || c.Error != "" || c.Refused == "" {
		t.Errorf("a URL that is refused: asked %d times: %+v", empty.n, c)
	}
	if c := restart(mirror.source()); mirror.n != 2 || c.Stale || c.Error+c.Refused != "" {
		t.Errorf("back to the URL that answers: asked %d times: %+v", mirror.n, c)
	}
	w.pass(51 * time.Hour)
	mirror.err = errors.New("no route to host")
	if c := restart(mirror.source()); mirror.n != 3 || !c.Stale || c.Error == "" {
		t.Errorf("two days later: asked %d times: %+v", mirror.n, c)
	}
}

// A replica that is started with a wrong path leaves a fault in the book; one that reads the good file takes it back.
func TestAFileTakesBackTheFaultOfAnother(t *testing.T) {
	w := newWorld(t)
	good := &fileSource{path: "/srv/feed.json", name: "a", body: feedOf("J413AP", "26.5 25F71 2026-05-11")}
	w.open(good.source(), Source{})
	w.Once(t.Context())
	for _, fault := range []error{errors.New("no such file"), &UnusableFeed{errors.New("the folder has no file")}} {
		other := &fileSource{path: "/srv/fed.json", err: fault}
		ours := w.looked
		w.o.Apple, w.looked = other.source(), Validators{}
		w.Once(t.Context())
		if c := w.ready(); c.Error+c.Refused == "" {
			t.Fatalf("the fault is not shown: %+v", c)
		}
		other.path = "/srv/fede.json" // with the same fault, and still another source
		w.o.Apple = other.source()
		w.Once(t.Context())
		if from := w.kept.Fetch.From; from != other.path {
			t.Errorf("%s was tried last, and %s is remembered", other.path, from)
		}
		w.o.Apple, w.looked = good.source(), ours
		w.Once(t.Context())
		if c := w.ready(); c.Error+c.Refused != "" {
			t.Errorf("the fault of another file stays: %+v", c)
		}
	}
}
