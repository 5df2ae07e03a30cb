package reconcile

import (
	"slices"
	"testing"

	"plimsoll/status/compliance"
)

// A declaration of another server is told once, in events and in reasons, until the Mac names it no more (rules 17).
func TestConflict(t *testing.T) {
	m := enrol(t, bookOf(1))
	reason := func(id string) Outcome {
		return m.step(Report(reportOf(t, `{"StatusItems": {"softwareupdate": {"install-reason": {"reason": ["declaration"], "declaration-id": "`+id+`"}}}}`)))
	}
	has := func() bool { return slices.Contains(m.st.Record.Summary.Codes, compliance.Conflict) }
	if o := reason("com.example.other"); !slices.Contains(types(o), compliance.EventConflict) || !m.st.Record.Facts.Conflict || !has() {
		t.Errorf("events %v, %+v", types(o), m.st.Record.Summary)
	}
	if o := reason("com.example.other"); slices.Contains(types(o), compliance.EventConflict) || !has() {
		t.Errorf("again: events %v", types(o))
	}
	if m.step(Look()); !has() {
		t.Error("a look forgets it")
	}
	if o := reason("plimsoll.os-update"); slices.Contains(types(o), compliance.EventConflict) || m.st.Record.Facts.Conflict || has() {
		t.Errorf("ours: events %v, %+v", types(o), m.st.Record.Summary)
	}
}
