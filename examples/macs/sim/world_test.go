package sim

import (
	"testing"

	"plimsoll/declarations/release"
)

// What Apple publishes after the simulator's data were taken can be added.
func TestWorldLearns(t *testing.T) {
	w := NewWorld()
	feed := `{"PublicAssetSets":{"macOS":[{"ProductVersion":"26.7","Build":"25H10","PostingDate":"2026-11-20","SupportedDevices":["J413AP"]}]}}`
	if err := w.AddFeed([]byte(feed)); err != nil {
		t.Fatal(err)
	}
	if r, ok := w.release("26.7", "", "J413AP"); !ok || r.Build != "25H10" {
		t.Errorf("26.7 is %+v", r)
	}
	if _, ok := w.release("26.7", "", "J700AP"); ok {
		t.Error("26.7 is offered to a board that it does not list")
	}
	if err := w.AddFeed([]byte(`{"AssetSets":{"macOS":[{"ProductVersion":"x","Build":"1"}]}}`)); err == nil {
		t.Error("a feed with a broken version was taken")
	}
}

// Everything that the program's own snapshot offers, the simulated Macs can install.
func TestWorldCoversTheSnapshot(t *testing.T) {
	w := NewWorld()
	for _, r := range release.Snapshot().Releases {
		if r.Version.Major() < 12 {
			continue
		}
		if r.Kind == release.KindBSI {
			if got, ok := w.bsi(r.Build); !ok || got.PrerequisiteBuild != r.PrerequisiteBuild || len(got.Devices) != len(r.Devices) {
				t.Errorf("BSI %s is %+v", r.Build, got)
			}
			continue
		}
		for _, board := range r.Devices {
			if got, ok := w.release(r.Version, r.Build, board); !ok || got.Posted > r.Posted {
				t.Errorf("%s %s for %s is %+v", r.Version, r.Build, board, got)
			}
		}
	}
}
