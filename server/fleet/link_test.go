package fleet

import (
	"strings"
	"testing"
)

// An admin is given the address of an enrolled Mac's own page, also when no policy leads there; without https there is none.
func TestSelfAddress(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "C02AAA", "26.5", "25F71")
	link, ok := strings.CutPrefix(w.SelfAddress("MAC-1"), "https://mdm.example.com/self/")
	if rec := w.ByLink(link); !ok || rec == nil || rec.Facts.ID != "MAC-1" {
		t.Errorf("the address is %q", w.SelfAddress("MAC-1"))
	}
	if got := w.SelfAddress("NOBODY"); got != "" {
		t.Errorf("of a Mac that is not there: %q", got)
	}
	w.links.URL = "http://mdm.example.com"
	if got := w.SelfAddress("MAC-1"); got != "" {
		t.Errorf("without https: %q", got)
	}
	w.links.URL = "https://mdm.example.com"
	w.must(w.CheckOut(t.Context(), "MAC-1"))
	if got := w.SelfAddress("MAC-1"); got != "" {
		t.Errorf("after the checkout: %q", got)
	}
}
