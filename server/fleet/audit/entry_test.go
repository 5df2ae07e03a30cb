package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"plimsoll/declarations"
	"plimsoll/server/fleet/answer"
)

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The changes of an entry are those of RFC 6901 paths, whole where no object is on both sides.
func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		members       []string
		want          string
	}{
		"nothing":    {`{"a":1}`, `{"a":1}`, nil, `[]`},
		"a creation": {`null`, `{"a":1}`, nil, `[{"path":"","from":null,"to":{"a":1}}]`},
		"a deletion": {`{"a":1}`, `null`, nil, `[{"path":"","from":{"a":1},"to":null}]`},
		"members":    {`{"a":1,"b":2}`, `{"b":3,"c":[1]}`, nil, `[{"path":"/a","from":1,"to":null},{"path":"/b","from":2,"to":3},{"path":"/c","from":null,"to":[1]}]`},
		"deep":       {`{"u":{"m":"none","d":1}}`, `{"u":{"m":"exact","d":1}}`, nil, `[{"path":"/u/m","from":"none","to":"exact"}]`},
		"a list":     {`{"l":[1,2]}`, `{"l":[2,1]}`, nil, `[{"path":"/l","from":[1,2],"to":[2,1]}]`},
		"odd names":  {`{"a/b":1,"m~n":1}`, `{}`, nil, `[{"path":"/a~1b","from":1,"to":null},{"path":"/m~0n","from":1,"to":null}]`},
		"a group": {
			`{"devices":["A","B"]}`, `{"devices":["B","C"]}`,
			[]string{"devices"},
			`[{"path":"/devices","from":null,"to":null,"added":["C"],"removed":["A"]}]`,
		},
		"another order": {`{"devices":["A","B"]}`, `{"devices":["B","A"]}`, []string{"devices"}, `[]`},
	} {
		got, err := json.Marshal(Diff(decoded(t, c.before), decoded(t, c.after), c.members...))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, want %s; %v", name, got, c.want, err)
		}
	}
}

// Fractions are strings, so that every entry has a canonical form.
func TestFractions(t *testing.T) {
	e, err := newEntry(answer.Origin{}, Act{Action: "policy.put", Object: "policy/x", After: map[string]any{"max": 2.5, "n": 3, "large": uint64(1 << 60)}}, testDay)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"max": "2.5", "n": int64(3), "large": "1152921504606846976"}
	if got := e.Changes[0].To; !reflect.DeepEqual(got, want) {
		t.Errorf("%#v", got)
	}
	if _, err := declarations.Canonical(e); err != nil {
		t.Error(err)
	}
}

// Large changes are cut, and both states have their hashes.
func TestTruncated(t *testing.T) {
	many := func(n int, word string) any {
		m := map[string]any{}
		for i := range n {
			m[fmt.Sprintf("field-%04d", i)] = word
		}
		return m
	}
	for name, c := range map[string]struct {
		act      Act
		cut      bool
		from, to bool
	}{
		"small":            {Act{Before: many(10, "a"), After: many(10, "b")}, false, false, false},
		"large":            {Act{Before: many(2000, "a"), After: many(2000, "b")}, true, true, true},
		"a large creation": {Act{After: many(3000, "a")}, true, false, true},
		"a large deletion": {Act{Before: many(3000, "a")}, true, true, false},
	} {
		e, err := newEntry(answer.Origin{}, c.act, testDay)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if e.Truncated != c.cut || (e.FromSHA256 != "") != c.from || (e.ToSHA256 != "") != c.to || len(b) > 34<<10 {
			t.Errorf("%s: truncated %v, from %q, to %q, %d bytes", name, e.Truncated, e.FromSHA256, e.ToSHA256, len(b))
		}
		if c.to && !c.from && e.ToSHA256 != hashOf(t, c.act.After) {
			t.Errorf("%s: the hash is not that of the state", name)
		}
	}
}

// Entries in words, and the events that tell of them.
func TestSentences(t *testing.T) {
	for _, c := range []struct {
		e       Entry
		want    string
		noEvent bool
	}{
		{Entry{Actor: "token:ci", Action: "policy.put", Object: "policy/eng"}, "token:ci saved the policy eng", false},
		{Entry{Actor: "admin-token", Action: "hold.delete", Object: "hold/26.6.2"}, "admin-token deleted the hold 26.6.2", false},
		{Entry{Actor: "admin-token", Action: "pause.put", Object: "pause"}, "admin-token saved the pause", false},
		{Entry{Actor: "gate", Action: "gate.halt", Object: "policy/eng"}, "gate halted a release in the policy eng", false},
		{Entry{Actor: "token:ci", Action: "exemption.put", Object: "device/M1"}, "token:ci saved the exemption of the device M1", false},
		{Entry{Actor: "token:ci", Action: "device.sync", Object: "device/M1"}, "token:ci asked for a sync of the device M1", false},
		{Entry{Actor: "token:ci", Action: "command.enqueue", Object: "device/M1", Failed: 3}, "token:ci queued a command for the device M1; it failed", false},
		{Entry{Actor: "mac:M1", Action: "device.delay", Object: "device/M1"}, "mac:M1 delayed the deadline of the device M1", true},
		{Entry{Actor: "user:ada@example.com", Action: "session.create", Object: "session"}, "user:ada@example.com signed in", true},
		{Entry{Actor: "program", Action: "session.refuse", Object: "session"}, "program: a sign-in was refused", true},
	} {
		if got := c.e.Sentence(); got != c.want {
			t.Errorf("%s %s: %q", c.e.Action, c.e.Object, got)
		}
		event := c.e.Event()
		if (event == nil) != c.noEvent {
			t.Errorf("%s: the event is %+v", c.e.Action, event)
		}
		if event != nil && (event.ID != c.e.Event().ID || event.Device != strings.TrimPrefix(c.e.Object, "device/") && event.Device != "") {
			t.Errorf("%s: the event is %+v", c.e.Action, event)
		}
	}
}

// An act that leaves an object as it is is none, whatever the order of its members.
func TestNothing(t *testing.T) {
	for name, c := range map[string]struct {
		act  Act
		want bool
	}{
		"the same":     {Act{Before: map[string]any{"a": 1, "b": 2}, After: map[string]any{"b": 2, "a": 1}}, true},
		"a change":     {Act{Before: map[string]any{"a": 1}, After: map[string]any{"a": 2}}, false},
		"a creation":   {Act{After: map[string]any{}}, false},
		"never there":  {Act{}, true},
		"what is none": {Act{After: make(chan int)}, false},
	} {
		if got := Nothing(c.act); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
