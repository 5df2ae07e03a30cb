package reconcile

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"plimsoll/declarations/policy"
	"plimsoll/status"
	"plimsoll/status/compliance"
)

// seen is a sighting, dated so many seconds after the beginning of a test; below zero: without a date.
func seen(kind SightingKind, seconds float64) Sighting {
	s := Sighting{Kind: kind}
	if seconds >= 0 {
		s.At = testDay.Add(time.Duration(seconds * float64(time.Second)))
	}
	switch kind {
	case Authenticated:
		s.CheckIn = status.CheckIn{UDID: macID, Serial: "S1", Name: "Ada's Mac", Model: "Mac14,2", Version: "26.5", Build: "25F71"}
	case LaterTokens, FirstTokens, Contacted, CheckedOut, Came, Imported:
	}
	return s
}

// sight makes a step of a Mac whose MDM is another server.
func (m *mac) sight(s Sighting) Outcome {
	o := m.step(Sighted(s))
	m.st.Beside = o.Beside
	return o
}

// Lives from events that come late, out of order or never (rules 16).
func TestLivesBeside(t *testing.T) {
	const hour = 3600
	escrowed := true
	token := func(seconds float64) Sighting {
		s := seen(Contacted, seconds)
		s.Escrowed = &escrowed
		return s
	}
	for name, c := range map[string]struct {
		events   []Sighting
		enrolled bool
		life     int    // how many there were
		serial   string // "": nothing told it
		dropped  []int  // of the events
	}{
		"an enrolment":                         {[]Sighting{seen(Authenticated, 0), seen(FirstTokens, 1), seen(Contacted, 2)}, true, 1, "S1", nil},
		"TokenUpdate overtakes":                {[]Sighting{seen(FirstTokens, 1), seen(Authenticated, 0)}, true, 1, "S1", nil},
		"and is dated before":                  {[]Sighting{seen(FirstTokens, 0), seen(Authenticated, 1)}, true, 1, "S1", nil},
		"59 s apart":                           {[]Sighting{seen(Authenticated, 0), seen(FirstTokens, 59)}, true, 1, "S1", nil},
		"a minute apart":                       {[]Sighting{seen(Authenticated, 0), seen(FirstTokens, 60)}, true, 2, "S1", nil},
		"Authenticate alone":                   {[]Sighting{seen(Authenticated, 0)}, false, 1, "S1", nil},
		"no TokenUpdate":                       {[]Sighting{seen(Authenticated, 0), seen(Contacted, 5)}, true, 1, "S1", nil},
		"no TokenUpdate, it came":              {[]Sighting{seen(Authenticated, 0), seen(Came, -1)}, true, 1, "S1", nil},
		"no Authenticate":                      {[]Sighting{seen(FirstTokens, 0)}, true, 1, "", nil},
		"each twice":                           {[]Sighting{seen(Authenticated, 0), seen(Authenticated, 0), seen(FirstTokens, 1), seen(FirstTokens, 1)}, true, 1, "S1", nil},
		"the bootstrap token first":            {[]Sighting{token(2), seen(Authenticated, 0), seen(FirstTokens, 1)}, true, 2, "S1", nil},
		"first seen in contact":                {[]Sighting{seen(Contacted, 0)}, true, 1, "", nil},
		"imported":                             {[]Sighting{seen(Imported, -1)}, true, 1, "", nil},
		"imported twice":                       {[]Sighting{seen(Imported, -1), seen(Imported, -1)}, true, 1, "", []int{1}},
		"imported, then it enrols":             {[]Sighting{seen(Imported, -1), seen(Authenticated, 0), seen(FirstTokens, 1)}, true, 2, "S1", nil},
		"it leaves":                            {[]Sighting{seen(Authenticated, 0), seen(FirstTokens, 1), seen(CheckedOut, hour)}, false, 2, "S1", nil},
		"it leaves, a late contact":            {[]Sighting{seen(Authenticated, 0), seen(CheckedOut, hour), seen(Contacted, hour-1), seen(Contacted, hour+1)}, false, 2, "S1", []int{2, 3}},
		"it leaves, and comes":                 {[]Sighting{seen(Authenticated, 0), seen(CheckedOut, hour), seen(Came, -1)}, true, 3, "S1", nil},
		"it leaves, new tokens":                {[]Sighting{seen(Authenticated, 0), seen(CheckedOut, hour), seen(LaterTokens, hour+9)}, true, 3, "S1", nil},
		"it leaves, old tokens":                {[]Sighting{seen(Authenticated, 0), seen(CheckedOut, hour), seen(LaterTokens, hour-9)}, false, 2, "S1", []int{2}},
		"it leaves and enrols again":           {[]Sighting{seen(Authenticated, 0), seen(CheckedOut, hour), seen(Authenticated, hour+9), seen(FirstTokens, hour+10)}, true, 3, "S1", nil},
		"it enrols again, the end comes late":  {[]Sighting{seen(Authenticated, 0), seen(FirstTokens, hour+10), seen(CheckedOut, hour)}, true, 2, "S1", []int{2}},
		"it leaves within a minute":            {[]Sighting{seen(Authenticated, 0), seen(FirstTokens, 1), seen(CheckedOut, 59)}, true, 1, "S1", []int{2}},
		"it enrols again without leaving":      {[]Sighting{seen(Authenticated, 0), seen(FirstTokens, 1), seen(Authenticated, hour), seen(FirstTokens, hour+1)}, true, 2, "S1", nil},
		"an enrolment before comes late":       {[]Sighting{seen(Authenticated, hour), seen(FirstTokens, hour), seen(Authenticated, 0), seen(FirstTokens, 1)}, true, 1, "S1", []int{2, 3}},
		"first seen in an end":                 {[]Sighting{seen(CheckedOut, hour), seen(Authenticated, 0), seen(FirstTokens, 1)}, false, 1, "", []int{1, 2}},
		"all reversed":                         {[]Sighting{seen(CheckedOut, hour), seen(Contacted, 5), seen(FirstTokens, 1), seen(Authenticated, 0)}, false, 1, "", []int{1, 2, 3}},
		"an end twice":                         {[]Sighting{seen(Authenticated, 0), seen(CheckedOut, hour), seen(CheckedOut, hour)}, false, 2, "S1", []int{2}},
		"contact from before the present life": {[]Sighting{seen(Authenticated, hour), seen(FirstTokens, hour+1), token(0)}, true, 1, "S1", []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMac(t, bookOf(1))
			var dropped []int
			for i, s := range c.events {
				if m.sight(s).Dropped {
					dropped = append(dropped, i)
				}
			}
			rec := m.st.Record
			if rec.Facts.Enrolled != c.enrolled || rec.Life != c.life || rec.Facts.Serial != c.serial {
				t.Errorf("enrolled %t, %d lives, serial number %q", rec.Facts.Enrolled, rec.Life, rec.Facts.Serial)
			}
			if !slices.Equal(dropped, c.dropped) {
				t.Errorf("dropped %v, want %v", dropped, c.dropped)
			}
		})
	}
}

// However the events of two lives arrive, each at least once, the Mac is what it is after the last one.
func TestLivesBesideInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := rapid.Bool().Draw(t, "it leaves at the end")
		events := []Sighting{
			seen(Authenticated, 0), seen(FirstTokens, 0.3), seen(Contacted, 4), seen(CheckedOut, 900),
			seen(Authenticated, 1000), seen(FirstTokens, 999.9), seen(Contacted, 1003), seen(LaterTokens, 1500),
		}
		if leaves {
			events = append(events, seen(CheckedOut, 2000))
		}
		all := append(events, rapid.SliceOf(rapid.SampledFrom(events)).Draw(t, "twice")...)
		m := newMac(t, bookOf(1))
		for _, s := range rapid.Permutation(all).Draw(t, "order") {
			m.sight(s)
		}
		if got := m.st.Record.Facts.Enrolled; got == leaves {
			t.Errorf("enrolled: %t", got)
		}
	})
}

// A life begins once for the Mac: it is notified once it can be, has a token that it never held, and is asked for what a lost
// Authenticate would have told.
func TestBeginningsBeside(t *testing.T) {
	m := newMac(t, bookOf(1))
	if o := m.sight(seen(Authenticated, 0)); o.Notify || len(o.Events) > 0 || len(o.Queries) > 0 {
		t.Errorf("Authenticate notifies %t, asks %v, tells %v", o.Notify, o.Queries, types(o))
	}
	o := m.sight(seen(FirstTokens, 1))
	if !o.Notify || !slices.Contains(types(o), compliance.EventEnrolled) || len(o.Queries) > 0 {
		t.Errorf("TokenUpdate notifies %t, asks %v, tells %v", o.Notify, o.Queries, types(o))
	}
	if m.st.Record.Generation == 0 {
		t.Error("the first generation is 0")
	}
	first := m.st.Record.Advertised
	m.step(AsksItems())
	if o = m.sight(seen(Contacted, 9)); !o.Nothing || o.Dropped {
		t.Error("a contact changes an enrolled Mac")
	}
	m.now = m.now.Add(time.Hour)
	o = m.sight(seen(FirstTokens, 4000))
	if !o.Notify || !slices.Contains(types(o), compliance.EventReEnrolled) || !slices.ContainsFunc(o.Queries, func(q Query) bool { return slices.Contains(q.Queries, "SerialNumber") }) {
		t.Errorf("a life without Authenticate notifies %t, asks %v, tells %v", o.Notify, o.Queries, types(o))
	}
	if m.st.Record.Advertised == first || m.st.Record.Manifest != "" {
		t.Error("a new life has the token of the old one")
	}
	// What a late Authenticate tells is taken only where nothing is known: the name that was known stays.
	m.st.Record.Facts.Name, m.st.Record.Facts.Version = "Renamed", ""
	if m.sight(seen(Authenticated, 4001)); m.st.Record.Facts.Name != "Renamed" || m.st.Record.Facts.Version != "26.5" {
		t.Errorf("after a late Authenticate: %+v", m.st.Record.Facts)
	}
	if !m.st.Record.Facts.TokenUnknown || m.st.Record.Summary.Flags&compliance.BootstrapTokenMissing != 0 {
		t.Error("the bootstrap token is said to be missing, and nobody knows")
	}
	no := false
	s := seen(Contacted, 4002)
	s.Escrowed = &no
	if m.sight(s); m.st.Record.Facts.TokenUnknown || m.st.Record.Summary.Flags&compliance.BootstrapTokenMissing == 0 {
		t.Error("a bootstrap token that was taken back is not missing")
	}
}

// New push tokens let a Mac be notified again whose push failed.
func TestNewTokensBeside(t *testing.T) {
	m := newMac(t, bookOf(1))
	m.sight(seen(Authenticated, 0))
	m.sight(seen(FirstTokens, 1))
	m.step(Pushed(m.st.Record.Advertised, "the token is dead"))
	if m.st.Record.Push == "" {
		t.Fatal("the push did not fail")
	}
	if o := m.sight(seen(LaterTokens, 100)); !o.Notify || m.st.Record.Push != "" {
		t.Errorf("notified %t, push %q", o.Notify, m.st.Record.Push)
	}
}

// What is no Mac gets nothing beside another server, once that is known, and is notified of nothing.
func TestNoMacBeside(t *testing.T) {
	book := bookOf(1, func(in *policy.Input) { in.Companion = true })
	m := newMac(t, book)
	s := seen(Authenticated, 0)
	s.CheckIn.Model = "iPad13,1"
	m.sight(s)
	if o := m.sight(seen(FirstTokens, 1)); o.Notify || len(o.Plan.Declarations) > 0 {
		t.Errorf("an iPad is notified %t of %d declarations", o.Notify, len(o.Plan.Declarations))
	}
	if o := m.step(AsksItems()); len(o.Manifest.Items) > 0 {
		t.Errorf("its manifest has %d items", len(o.Manifest.Items))
	}
}
