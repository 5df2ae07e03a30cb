package release

import (
	"slices"
	"testing"
)

// The expectations are read off Apple's feed of 2026-08-22 by hand.
func TestSnapshotIndex(t *testing.T) {
	c := Snapshot()
	if c.Revision != 0 || c.Source != "snapshot" || c.FetchedAt.Format("2006-01-02T15:04:05Z07:00") != "2026-08-22T00:00:00Z" {
		t.Errorf("snapshot is revision %d from %q at %v", c.Revision, c.Source, c.FetchedAt)
	}
	// 15 macOS builds and 2 BSIs.
	if len(c.Releases) != 17 {
		t.Fatalf("%d releases", len(c.Releases))
	}
	for _, r := range c.Releases {
		if !r.Available || !r.FirstSeen.Equal(c.FetchedAt) || !r.LackedAt.IsZero() {
			t.Errorf("%s %s: available %v, first seen %v", r.Version, r.Build, r.Available, r.FirstSeen)
		}
	}
	x := NewIndex(c)
	b := x.Board("J413AP")
	if b == nil {
		t.Fatal("J413AP is not known")
	}
	var got []string
	for _, r := range b.OS {
		got = append(got, string(r.Version))
	}
	want := []string{"26.6.2", "26.6.1", "26.6", "26.5.2", "26.5.1", "26.5", "15.7.9", "15.7.8", "15.7.7", "14.8.9", "14.8.8", "14.8.7", "13.7.8", "12.7.6"}
	if !slices.Equal(got, want) {
		t.Errorf("J413AP has %v, want %v", got, want)
	}
	if len(b.BSI) != 1 || b.BSI[0].Build != "25D771280a" || b.BSI[0].Letter != "a" || b.BSI[0].PrerequisiteBuild != "25D2128" || b.BSI[0].Version != "26.3.1" {
		t.Errorf("J413AP has BSIs %v", b.BSI)
	}
	if b.MaxMajor != 26 {
		t.Errorf("J413AP reaches %d", b.MaxMajor)
	}
	if x.Board("j413ap") != nil || x.Board("") != nil || x.Board("J999AP") != nil {
		t.Error("boards are compared exactly")
	}
	if got, want := x.Majors(), []int{11, 12, 13, 14, 15, 26}; !slices.Equal(got, want) {
		t.Errorf("majors %v, want %v", got, want)
	}
	if r := x.Build("25G83"); r == nil || r.Version != "26.6.2" || r.Posted.String() != "2026-08-17" {
		t.Errorf("25G83 is %v", r)
	}
	for _, v := range []Version{"26.6", "26.6.0", "026.6.0.0"} {
		if r := x.Version(v); len(r) != 1 || r[0].Build != "25G72" {
			t.Errorf("version %s is %v", v, r)
		}
	}
	if r := x.Version("26.3.1"); len(r) != 0 {
		t.Errorf("the BSI of 26.3.1 is no build of it: %v", r)
	}
}
