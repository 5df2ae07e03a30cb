package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNotifier remembers what was queued and pushed.
type fakeNotifier struct {
	mu     sync.Mutex
	queued map[string][]string // tokens by Mac
	asked  map[string][]string
	pushed []string
	push   func(ids []string) (map[string]error, error)
	full   bool // the Macs' queues
}

func (t *fakeNotifier) Queue(_ storage.Tx, id string, tokens []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full {
		return fmt.Errorf("too many: %w", ErrConflict)
	}
	var s declarations.SyncTokens
	if err := json.Unmarshal(tokens, &s); err != nil {
		return err
	}
	t.queued[id] = append(t.queued[id], s.SyncTokens.DeclarationsToken)
	return nil
}

func (t *fakeNotifier) Update(_ storage.Tx, id string, c UpdateCommand) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[id] = append(t.asked[id], string(c.Action))
	return nil
}

func (t *fakeNotifier) Withdraw(storage.Tx, string, string) error { return nil }

func (t *fakeNotifier) Query(_ storage.Tx, id, _ string, queries ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full {
		return fmt.Errorf("too many: %w", ErrConflict)
	}
	t.asked[id] = append(t.asked[id], queries...)
	return nil
}

func (t *fakeNotifier) Push(_ context.Context, ids []string) (map[string]error, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.push == nil {
		return nil, ErrNoPush
	}
	t.pushed = append(t.pushed, ids...)
	return t.push(ids)
}

func (t *fakeNotifier) Forget(context.Context, string) error { return nil }

func (t *fakeNotifier) commands(id string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queued[id])
}

// world is a fleet on bolt with a clock that stands still until it is set.
type world struct {
	*Fleet
	t        *testing.T
	notifier *fakeNotifier
	clock    time.Time
	mu       sync.Mutex
	path     string
	db       storage.DB
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	w.clock = w.clock.Add(d)
	w.mu.Unlock()
}

// testDay is a Wednesday, a week and a half after 26.6.1 and two days after 26.6.2 were posted.
var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	w := &world{t: t, notifier: &fakeNotifier{queued: map[string][]string{}, asked: map[string][]string{}}, clock: testDay, path: filepath.Join(t.TempDir(), "p.db")}
	w.open()
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	db, err := bolt.Open(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
	w.Fleet, err = New(Options{Store: storage.New(db), Notifier: w.notifier, Log: slog.New(slog.DiscardHandler), URL: "https://mdm.example.com", Now: w.now, Alone: true})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// reopen is a restart of the process.
func (w *world) reopen() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// reconcileAll does what the sweep does after a change, and writes behind.
func (w *world) reconcileAll() {
	w.t.Helper()
	if failed := w.lead.Sweep(context.Background(), true); failed > 0 {
		w.t.Fatalf("%d Macs could not be settled", failed)
	}
	w.outbox.Flush(context.Background())
}

const capabilities = `"management":{"client-capabilities":{"supported-versions":["1.0.0"],"supported-features":{},"supported-payloads":{"declarations":{
 "activations":["com.apple.activation.simple"],"assets":[],"management":[],
 "configurations":["com.apple.configuration.management.status-subscriptions","com.apple.configuration.softwareupdate.enforcement.specific","com.apple.configuration.softwareupdate.settings"]},
 "status-items":["device.operating-system.version","device.operating-system.build-version","softwareupdate.device-id","softwareupdate.install-state","management.declarations"]}}}`

// enrol enrols a MacBook Air (M2) and lets it report that it runs the given version.
func (w *world) enrol(id, serial, version, build string) {
	w.t.Helper()
	ctx := context.Background()
	w.must(w.Authenticate(ctx, id, status.CheckIn{UDID: id, Serial: serial, Name: "Mac " + serial, Model: "Mac14,2", ModelName: "MacBook Air", Version: version, Build: build}))
	w.must(w.TokenUpdate(ctx, id, "com.apple.mgmt.External.1"))
	w.report(id, fmt.Sprintf(`{"StatusItems":{"device":{"identifier":{"serial-number":%q},"model":{"identifier":"Mac14,2"},"operating-system":{"version":%q,"build-version":%q}},"softwareupdate":{"device-id":"J413AP"},%s},"Errors":[],"FullReport":true}`, serial, version, build, capabilities))
}

func (w *world) report(id, body string) {
	w.t.Helper()
	w.Contact(id)
	w.must(w.Ingest(context.Background(), id, []byte(body)))
}

// sync is what a Mac does when it is told: tokens, items, every declaration, and a report that all are active. It returns the payloads by identifier.
func (w *world) sync(id string) map[string]map[string]any {
	w.t.Helper()
	ctx := context.Background()
	w.Contact(id)
	var tokens declarations.SyncTokens
	b, err := w.Tokens(ctx, id)
	w.must(err)
	w.must(json.Unmarshal(b, &tokens))
	var items struct {
		DeclarationsToken string
		Declarations      map[string][]struct{ Identifier, ServerToken string }
	}
	b, err = w.Items(ctx, id)
	w.must(err)
	w.must(json.Unmarshal(b, &items))
	if items.DeclarationsToken != tokens.SyncTokens.DeclarationsToken {
		w.t.Fatalf("items have the token %s, tokens %s", items.DeclarationsToken, tokens.SyncTokens.DeclarationsToken)
	}
	got := map[string]map[string]any{}
	for kind, list := range items.Declarations {
		for _, it := range list {
			singular := map[string]declarations.Kind{"Activations": "activation", "Configurations": "configuration"}[kind]
			body, err := w.Declaration(ctx, id, singular, it.Identifier)
			w.must(err)
			var d struct {
				ServerToken string
				Payload     map[string]any
			}
			w.must(json.Unmarshal(body, &d))
			if d.ServerToken != it.ServerToken {
				w.t.Fatalf("%s: body has the token %s, the manifest %s", it.Identifier, d.ServerToken, it.ServerToken)
			}
			if singular == declarations.KindConfiguration {
				got[it.Identifier] = d.Payload
			}
		}
	}
	return got
}

func (w *world) device(id string) Device {
	w.t.Helper()
	d, err := w.Device(context.Background(), id)
	w.must(err)
	return d
}

func (w *world) putPolicy(text string, o WriteOptions) (PolicyResult, error) {
	w.t.Helper()
	var p policy.Policy
	w.must(json.Unmarshal([]byte(text), &p))
	return w.PutPolicy(context.Background(), p, o)
}
