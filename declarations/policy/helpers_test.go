package policy

import (
	"encoding/json"
	"strings"
	"time"

	"pgregory.net/rapid"

	"plimsoll/declarations/release"
)

func at(t rapid.TB, s string) time.Time {
	t.Helper()
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if v, err := time.Parse(layout, s); err == nil {
			return v.UTC()
		}
	}
	t.Fatalf("%q is not a time", s)
	return time.Time{}
}

// rel reads "26.6.1 25G76 2026-08-06 J1AP,J2AP" and, for a BSI, "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128"; the
// words gone, exploited and seen=TIME may follow. It first appears on the evening of its posting.
func rel(t rapid.TB, spec string) release.Release {
	t.Helper()
	f := strings.Fields(spec)
	posted, err := release.ParseDay(f[2])
	if err != nil {
		t.Fatal(err)
	}
	r := release.Release{Kind: release.KindOS, Build: f[1], Posted: posted, FirstSeen: posted.Time().Add(18 * time.Hour), Available: true, Devices: strings.Split(f[3], ",")}
	version, letter, bsi := strings.Cut(f[0], "(")
	r.Version = release.Version(version)
	if bsi {
		r.Kind, r.Letter = release.KindBSI, strings.TrimSuffix(letter, ")")
	}
	for _, w := range f[4:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "gone":
			r.Available = false
		case "exploited":
			r.Exploited = true
		case "seen":
			r.FirstSeen = at(t, value)
		case "base":
			r.PrerequisiteBuild = value
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return r
}

func catalog(t rapid.TB, specs ...string) *release.Catalog {
	t.Helper()
	c := &release.Catalog{Revision: 1, Source: "feed"}
	for _, s := range specs {
		c.Releases = append(c.Releases, rel(t, s))
	}
	return c
}

func pol(t rapid.TB, src string) Policy {
	t.Helper()
	var p Policy
	dec := json.NewDecoder(strings.NewReader(src))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	if p.Name == "" {
		p.Name = "p"
	}
	return p
}

func stored(t rapid.TB, src, since string) Stored {
	t.Helper()
	p := pol(t, src)
	return Stored{Policy: p, CreatedAt: at(t, since), UpdatedAt: at(t, since), Asks: Asks(nil, &p, at(t, since))}
}

// world is an Input that tests change step by step.
type world struct {
	t  rapid.TB
	in Input
}

// given makes a world with one policy, asking since the given time, and releases.
func given(t rapid.TB, src, since string, releases ...string) *world {
	t.Helper()
	return &world{t, Input{Revision: 1, Policies: []Stored{stored(t, src, since)}, Catalog: catalog(t, releases...)}}
}

func (w *world) book() *Book {
	w.t.Helper()
	b, err := Compile(w.in)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}
