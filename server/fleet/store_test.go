package fleet

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func (w *world) formatRecord() storage.FormatRecord {
	w.t.Helper()
	rec, err := w.store.FormatRecord(context.Background())
	w.must(err)
	if rec == nil {
		w.t.Fatal("the store has no format record")
	}
	return *rec
}

func (w *world) setFormat(change func(*storage.FormatRecord)) {
	w.t.Helper()
	w.must(w.store.UpdateFormat(context.Background(), func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		change(rec)
		return rec, nil
	}))
}

// A start makes the format record once; a store of a newer format, or one that is being restored into, is refused before anything is written.
func TestStoresThatAreRefused(t *testing.T) {
	w := newWorld(t)
	made := w.formatRecord()
	if made.Format != storage.Format || made.ID == "" {
		t.Fatalf("made %+v", made)
	}
	w.reopen()
	if again := w.formatRecord(); again != made {
		t.Errorf("after another start %+v, want %+v", again, made)
	}
	for want, change := range map[string]func(*storage.FormatRecord){
		"a restore into it was begun": func(rec *storage.FormatRecord) {
			rec.Restoring = &storage.Restoring{Backup: "x", Since: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)}
		},
		"it has format 99": func(rec *storage.FormatRecord) { rec.Format = 99 },
	} {
		w.setFormat(change)
		before, err := w.store.Revisions(t.Context(), storage.SecretsPartition, storage.BookPartition, storage.FormatPartition)
		w.must(err)
		f, err := New(w.o)
		w.must(err)
		if err := f.Start(t.Context()); !errors.Is(err, ErrOtherStore) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		after, err := w.store.Revisions(t.Context(), storage.SecretsPartition, storage.BookPartition, storage.FormatPartition)
		w.must(err)
		if before[0] != after[0] || before[1] != after[1] || before[2] != after[2] {
			t.Errorf("%s: something was written", want)
		}
		w.setFormat(func(rec *storage.FormatRecord) { *rec = made })
	}
}

// A replica ends when its store becomes one that it cannot run on.
func TestReplicaEndsOnAnotherStore(t *testing.T) {
	for want, change := range map[string]func(*storage.FormatRecord){
		"a restore into it": func(rec *storage.FormatRecord) { rec.Restoring = &storage.Restoring{Backup: "x"} },
		"format 99":         func(rec *storage.FormatRecord) { rec.Format = 99 },
		"another one":       func(rec *storage.FormatRecord) { rec.ID = "another" },
	} {
		t.Run(want, func(t *testing.T) {
			w := quiet(t, storagetest.RedisServer(t).URL())
			ended := make(chan error, 1)
			go func() { ended <- w.Run(t.Context()) }()
			w.setFormat(change)
			if err := <-ended; !errors.Is(err, ErrOtherStore) || !strings.Contains(err.Error(), want) {
				t.Errorf("ended with %v, want %q", err, want)
			}
		})
	}
}

// A cursor is of one store: one from before the store had an id is good until a backup is restored.
func TestCursorsOfAStore(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "S1", "26.5", "25F71")
	w.outbox.Flush(t.Context())
	p, err := w.Events(t.Context(), "", 1)
	w.must(err)
	if _, err := w.Events(t.Context(), p.Next, 1); err != nil {
		t.Errorf("its own: %v", err)
	}
	old := (&positions{}).encode("events")
	if _, err := w.Events(t.Context(), old, 1); err != nil {
		t.Errorf("one without an id: %v", err)
	}
	w.setFormat(func(rec *storage.FormatRecord) { rec.ID, rec.RestoredAt = "restored", time.Unix(1, 0).UTC() })
	w.reopen()
	for _, cursor := range []string{p.Next, old} {
		var e *Error
		if _, err := w.Events(t.Context(), cursor, 1); !errors.As(err, &e) || e.Code != "bad_cursor" {
			t.Errorf("after a restore: %v", err)
		}
	}
}

// A store that answers and takes no writes takes no replica out: reads go on.
func TestReadyWithoutWrites(t *testing.T) {
	w := newWorld(t)
	faulty := storagetest.Faulty(w.db)
	f, err := New(Options{Store: storage.New(faulty), Notifier: w.notifier, Log: slog.New(slog.DiscardHandler), URL: "https://mdm.example.com", Now: w.now, Alone: true})
	if err == nil {
		err = f.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		fault storagetest.Fault
		ready bool
		store string
	}{
		{"no fault", storagetest.Fault{}, true, "ok"},
		{"no writes", storagetest.Fault{NoWrites: true}, true, "takes no writes"},
		{"down", storagetest.Fault{Down: true}, false, "faulty database: unavailable: down"},
	} {
		faulty.Set(c.fault)
		if got := f.Ready(t.Context()); got.Ready != c.ready || got.Store != c.store {
			t.Errorf("%s: %+v, want %t, %q", c.name, got, c.ready, c.store)
		}
	}
}
