package release

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a response may say of a build, drawn anew for every response.
type listed struct {
	build, version string
	posted         Day
	devices        []string
}

var pool = []listed{
	{build: "24G830", version: "15.7.9"},
	{build: "25G72", version: "26.6"},
	{build: "25G6072", version: "26.6"},
	{build: "25G76", version: "26.6.1"},
	{build: "25G83", version: "26.6.2"},
	{build: "26A300", version: "27.0"},
}

func drawResponse(t *rapid.T) []listed {
	picked := rapid.SliceOfNDistinct(rapid.IntRange(0, len(pool)-1), 1, len(pool), rapid.ID[int]).Draw(t, "builds")
	var out []listed
	for _, i := range picked {
		l := pool[i]
		l.posted = Day(20000 + rapid.IntRange(0, 5).Draw(t, "posted"))
		l.devices = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"J413AP", "J700AP", "J704AP"}), 1, 2, rapid.ID[string]).Draw(t, "devices")
		out = append(out, l)
	}
	return out
}

// encoded writes the entries in the order given, each into the set that sets names for it (0, 1, or both at 2).
func encoded(t *rapid.T, list []listed, sets []int) []byte {
	out := map[string]map[string][]map[string]any{"PublicAssetSets": {}, "AssetSets": {}}
	for i, l := range list {
		e := map[string]any{"ProductVersion": l.version, "Build": l.build, "PostingDate": l.posted.String(), "SupportedDevices": l.devices}
		if sets[i] != 0 {
			out["PublicAssetSets"]["macOS"] = append(out["PublicAssetSets"]["macOS"], e)
		}
		if sets[i] != 1 {
			out["AssetSets"]["macOS"] = append(out["AssetSets"]["macOS"], e)
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustParse(t *rapid.T, b []byte) *Feed {
	f, err := ParseFeed(b)
	if err != nil || len(f.Odd) > 0 {
		t.Fatalf("%v, odd: %v", err, f.Odd)
	}
	return f
}

func asJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Neither the order of entries and devices, nor in which set an entry stands, nor that it is repeated matters.
func TestMergeIsOrderFree(t *testing.T) {
	at := time.Date(2026, 8, 22, 19, 15, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		list := append(drawResponse(t), drawResponse(t)...) // so builds occur twice
		one := rapid.SliceOfN(rapid.IntRange(0, 2), len(list), len(list)).Draw(t, "sets")
		other := rapid.SliceOfN(rapid.IntRange(0, 2), len(list), len(list)).Draw(t, "other sets")
		shuffled := rapid.Permutation(list).Draw(t, "shuffled")
		for i := range shuffled {
			shuffled[i].devices = rapid.Permutation(shuffled[i].devices).Draw(t, "shuffled devices")
		}
		a, changedA, errA := Merge(Snapshot(), mustParse(t, encoded(t, list, one)), at)
		b, changedB, errB := Merge(Snapshot(), mustParse(t, encoded(t, shuffled, other)), at)
		if errA != nil || errB != nil || changedA != changedB || asJSON(t, a) != asJSON(t, b) {
			t.Fatalf("%v %v %v %v\n%s\n%s", errA, errB, changedA, changedB, asJSON(t, a), asJSON(t, b))
		}
	})
}

// A long series of responses, watched by a model that keeps what was said of each build and when.
func TestMergeSeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 8, 22, 19, 15, 0, 0, time.UTC)
		c := &Catalog{}
		type seen struct {
			first    time.Time
			earliest Day
			devices  []string
			lacked   []time.Time // fetches that lacked it since it was last there
			gone     bool
		}
		model := map[string]*seen{}
		for range rapid.IntRange(1, 12).Draw(t, "responses") {
			now = now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "hours")) * time.Hour)
			repeat := c.Source == SourceFeed && rapid.Bool().Draw(t, "not modified")
			list := drawResponse(t)
			known := asJSON(t, c)
			var next *Catalog
			var changed bool
			if repeat {
				next, changed = Repeat(c, now)
				list = list[:0]
				for build, s := range model {
					if len(s.lacked) == 0 {
						list = append(list, listed{build: build, posted: s.earliest, devices: s.devices})
					}
				}
			} else {
				var err error
				f := mustParse(t, encoded(t, list, make([]int, len(list))))
				before := asJSON(t, f)
				next, changed, err = Merge(c, f, now)
				if asJSON(t, f) != before {
					t.Fatal("the response was written to")
				}
				if asJSON(t, c) != known {
					t.Fatal("what was known was written to")
				}
				if 2*len(list) < c.OSBuilds {
					if err == nil {
						t.Fatalf("%d builds after %d are accepted", len(list), c.OSBuilds)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if asJSON(t, c) != known {
				t.Fatal("what was known was written to")
			}

			news := len(model) == 0
			there := map[string]bool{}
			for _, l := range list {
				there[l.build] = true
				slices.Sort(l.devices)
				s := model[l.build]
				if s == nil {
					s = &seen{first: now, earliest: l.posted}
					model[l.build] = s
					news = true
				}
				news = news || s.gone || l.posted < s.earliest || s.devices != nil && !slices.Equal(s.devices, l.devices)
				s.earliest, s.devices, s.lacked, s.gone = min(s.earliest, l.posted), l.devices, nil, false
			}
			for build, s := range model {
				if there[build] {
					continue
				}
				s.lacked = append(s.lacked, now)
				if !s.gone && s.lacked[len(s.lacked)-1].Sub(s.lacked[0]) >= 20*time.Hour {
					s.gone, news = true, true
				}
			}

			if changed != news || (next.Revision == c.Revision+1) != changed || (next.Revision == c.Revision) == changed {
				t.Fatalf("changed %v, want %v; revision %d after %d", changed, news, next.Revision, c.Revision)
			}
			if len(next.Releases) != len(model) || !slices.IsSortedFunc(next.Releases, compareReleases) || !next.FetchedAt.Equal(now) {
				t.Fatalf("%d releases, want %d, sorted", len(next.Releases), len(model))
			}
			for _, r := range next.Releases {
				s := model[r.Build]
				if got, want := fmt.Sprint(r.Posted, r.FirstSeen, r.Available, r.Devices), fmt.Sprint(s.earliest, s.first, !s.gone, s.devices); got != want {
					t.Fatalf("%s is %s, want %s", r.Build, got, want)
				}
			}
			c = next
		}
	})
}

// A mark is never lost, and marking never writes to the catalogue.
func TestMarkProperties(t *testing.T) {
	fix := rapid.Custom(func(t *rapid.T) Fix {
		l := rapid.SampledFrom(pool).Draw(t, "release")
		if rapid.Bool().Draw(t, "by build") {
			return Fix{Build: l.build}
		}
		return Fix{Version: Version(l.version)}
	})
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 8, 22, 19, 15, 0, 0, time.UTC)
		c := &Catalog{}
		fixed := map[string]bool{}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			now = now.Add(24 * time.Hour)
			known := asJSON(t, c)
			next, changed := c, false
			if rapid.Bool().Draw(t, "mark") {
				e := Exploited(rapid.SliceOfN(fix, 0, 2).Draw(t, "exploited"))
				clear(fixed) // the last feed counts
				for _, f := range e {
					fixed[f.Build], fixed[string(f.Version)] = true, true
				}
				next, changed = mark(c, e)
				if (next.Revision != c.Revision) != changed {
					t.Fatalf("changed %v, revision %d after %d", changed, next.Revision, c.Revision)
				}
			} else if n, _, err := Merge(c, mustParse(t, encoded(t, drawResponse(t), make([]int, len(pool)))), now); err == nil {
				next = n
			}
			if asJSON(t, c) != known {
				t.Fatal("what was known was written to")
			}
			for _, r := range next.Releases {
				if want := fixed[r.Build] || fixed[string(r.Version)]; r.Exploited != want {
					t.Fatalf("%s %s: exploited %v, want %v", r.Version, r.Build, r.Exploited, want)
				}
			}
			c = next
		}
	})
}

// Numbers decide, whatever their width and however many are written.
func TestVersionProperties(t *testing.T) {
	parts := rapid.SliceOfN(rapid.IntRange(0, 30), 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		write := func(n []int, label string) Version {
			s := ""
			for i, p := range n {
				if i > 0 {
					s += "."
				}
				s += fmt.Sprintf("%0*d", rapid.IntRange(1, 4).Draw(t, label), p)
			}
			v, err := ParseVersion(s)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		v, w := write(a, "width"), write(b, "width")
		full := func(n []int) []int { return append(slices.Clone(n), make([]int, 4-len(n))...) }
		want := slices.Compare(full(a), full(b))
		if got := v.Compare(w); (got < 0) != (want < 0) || (got > 0) != (want > 0) {
			t.Fatalf("%s compared with %s is %d", v, w, got)
		}
		if (v.key() == w.key()) != (want == 0) {
			t.Fatalf("%s and %s: keys %q and %q", v, w, v.key(), w.key())
		}
		if v.Major() != a[0] {
			t.Fatalf("major of %s is %d", v, v.Major())
		}
	})
}
