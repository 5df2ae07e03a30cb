package sim

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// manage makes the fake server enforce the newest release of each Mac's own major, until the Mac reports it.
func (f *fakeServer) manage(t *testing.T, w *World, boards map[string]string) {
	plan := func(udid string, c *client, version string) {
		v := release.Version(version)
		configs := []declarations.Declaration{}
		if v.Major() >= 13 {
			configs = append(configs, everyItem)
		}
		if r, ok := w.newest(boards[udid], v.Major()); ok && v.Major() >= 14 && r.Version.Compare(v) > 0 {
			configs = append(configs, enforce(t, string(r.Version), "", "2026-12-01T12:00:00"))
		}
		f.setLocked(udid, c.stamp.Add(time.Second), true, configs...)
	}
	f.onEnrol = func(udid string, c *client) {
		if c.stamp.IsZero() {
			c.stamp = day0
		}
		plan(udid, c, c.auth.OSVersion)
	}
	f.onReport = func(udid string, c *client, items map[string]any) {
		version, ok := item(items, "device.operating-system.version").(string)
		if ok && version != c.auth.OSVersion {
			c.auth.OSVersion = version
			plan(udid, c, version)
		}
	}
}

func boardsOf(f *Fleet) map[string]string {
	out := map[string]string{}
	for _, m := range f.Macs() {
		out[m.Spec().UDID] = m.Spec().Hardware.Board
	}
	return out
}

func TestFleet(t *testing.T) {
	for _, tc := range []struct {
		name      string
		n         int
		misbehave string
	}{
		{"well", 15, ""},
		{"with every misbehaviour", 22, "all"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := newFakeServer(t)
			dir := filepath.Join(t.TempDir(), "state")
			opt := FleetOptions{
				Options: Options{URL: srv.srv.URL, HTTP: srv.srv.Client(), Keys: testKeys(), Stats: &Stats{}},
				N:       tc.n, Seed: 1, Eager: 1, Poll: 60 * time.Millisecond, Speed: 1, Misbehave: tc.misbehave, StateDir: dir,
				Until: UntilCompliant,
			}
			f, err := NewFleet(opt)
			if err != nil {
				t.Fatal(err)
			}
			srv.manage(t, f.opt.World, boardsOf(f))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := f.Run(ctx); err != nil {
				t.Fatal(err)
			}
			for _, v := range f.opt.Stats.Violations() {
				t.Errorf("violation: %s", v)
			}
			at := f.Standing()
			if ctx.Err() != nil || at.Enrolled != tc.n || tc.misbehave == "" && at.Settled != tc.n || f.opt.Stats.Updates.Load() < 5 {
				t.Fatalf("standing %+v, %d updates, last trouble %s", at, f.opt.Stats.Updates.Load(), at.LastError)
			}

			if tc.misbehave != "" {
				return
			}
			// A second run finds everybody where they were.
			opt.Stats, opt.Until = &Stats{}, UntilIdle
			again, err := NewFleet(opt)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if n := opt.Stats.Enrolled.Load(); n != 0 {
				t.Errorf("%d Macs enrolled again", n)
			}
			if files, err := filepath.Glob(filepath.Join(dir, "mac-*.json")); err != nil || len(files) != tc.n {
				t.Errorf("%d state files, %v", len(files), err)
			}
		})
	}
}

func TestFleetThatCannotEnrol(t *testing.T) {
	srv := newFakeServer(t)
	srv.code = "needed"
	f, err := NewFleet(FleetOptions{
		Options: Options{URL: srv.srv.URL, HTTP: srv.srv.Client(), Keys: testKeys()},
		N:       1, Eager: 1, Poll: time.Millisecond, Speed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("got %v", err)
	}
}

func TestNewFleetRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mac-000001.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		opt  FleetOptions
	}{
		{"no Macs", FleetOptions{N: 0, Poll: 1, Speed: 1}},
		{"no poll", FleetOptions{N: 1, Poll: 0, Speed: 1}},
		{"standing clocks", FleetOptions{N: 1, Poll: 1, Speed: 0}},
		{"unknown misbehaviour", FleetOptions{N: 1, Poll: 1, Speed: 1, Misbehave: "x"}},
		{"broken state", FleetOptions{N: 1, Poll: 1, Speed: 1, StateDir: dir}},
	} {
		if _, err := NewFleet(tc.opt); err == nil {
			t.Errorf("%s: accepted", tc.name)
		}
	}
}
