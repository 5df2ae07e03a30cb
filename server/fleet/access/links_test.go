package access

import (
	"strings"
	"testing"
)

var links = Links{URL: "https://mdm.example.com/", Key: []byte("a key of this test")}

// A link names one Mac in one life, and nothing else is taken for it.
func TestLinks(t *testing.T) {
	lives := map[string]int{"MAC-1": 3, "MAC-2": 1}
	life := func(id string) int { return lives[id] }
	link, ok := strings.CutPrefix(links.Address("MAC-1", 3), "https://mdm.example.com/self/")
	if id, good := links.Read(link, life); !ok || !good || id != "MAC-1" {
		t.Fatalf("the link %q is read as %q, %v", link, id, good)
	}
	name, sum, _ := strings.Cut(link, ".")
	other, _, _ := strings.Cut(links.Of("MAC-2", 3), ".")
	for what, bad := range map[string]string{
		"empty": "", "no signature": name, "empty signature": name + ".", "cut": link[:len(link)-1], "longer": link + "A",
		"another Mac": other + "." + sum, "another life": links.Of("MAC-1", 2), "a Mac that is not there": links.Of("NOBODY", 1), "nonsense": "%%%.%%%",
		"odd signature": name + ".%%%", "another key": (&Links{Key: []byte("other")}).Of("MAC-1", 3),
	} {
		if id, good := links.Read(bad, life); good {
			t.Errorf("%s: read as %q", what, id)
		}
	}
	for url, pages := range map[string]bool{"https://x": true, "http://x": false, "": false} {
		if (&Links{URL: url}).Pages() != pages {
			t.Errorf("with the URL %q Macs have pages: %v", url, !pages)
		}
	}
}

// A link is hidden wherever it stands, also where a Mac's own JSON escapes slashes; nothing else is touched.
func TestHideLinks(t *testing.T) {
	address := links.Address("MAC-1", 1)
	escaped := strings.ReplaceAll(address, "/", `\/`)
	for in, want := range map[string]string{
		`{"DetailsURL":"` + address + `"}`: `{"DetailsURL":"https://mdm.example.com/self/(hidden)"}`,
		`{"DetailsURL":"` + escaped + `"}`: `{"DetailsURL":"https:\/\/mdm.example.com\/self\/(hidden)"}`,
		address + " " + address + ".json":  "https://mdm.example.com/self/(hidden) https://mdm.example.com/self/(hidden).json",
		`{"details_url":"self"}`:           `{"details_url":"self"}`,
		"https://it.example.com/self/help": "https://it.example.com/self/help",
	} {
		if got := string(HideLinks([]byte(in))); got != want {
			t.Errorf("%s becomes %s", in, got)
		}
	}
}
