package answer

import (
	"errors"
	"testing"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
)

// An error tells its kind to the program, and its sentence with the faulty fields to the reader.
func TestErrors(t *testing.T) {
	field := policy.FieldError{Field: "name", Reason: "must be given"}
	for name, c := range map[string]struct {
		err  *Error
		kind error
		code string
		text string
	}{
		"invalid":      {Invalid("the policy is not valid", field), ErrInvalid, "invalid", "the policy is not valid; name: must be given"},
		"not found":    {NotFound("there is no such page"), ErrNotFound, "not_found", "there is no such page"},
		"conflict":     {Conflict("exists", "it exists"), ErrConflict, "exists", "it exists"},
		"precondition": {PreconditionFailed("the group"), ErrConflict, "precondition_failed", "the group is not what If-Match names: somebody changed it in between, or it does not exist"},
	} {
		if !errors.Is(c.err, c.kind) || c.err.Code != c.code || c.err.Error() != c.text {
			t.Errorf("%s: %q of kind %v, code %s", name, c.err, c.err.Unwrap(), c.err.Code)
		}
	}
}

// If-Match as RFC 9110 13.1.1 has it, weak tags taken for strong ones.
func TestMatches(t *testing.T) {
	tag, other := ETag(map[string]int{"a": 1}), ETag(map[string]int{"a": 2})
	if tag == other || ETag(map[string]int{"a": 1}) != tag {
		t.Fatalf("tags %s and %s", tag, other)
	}
	for name, c := range map[string]struct {
		ifMatch, current string
		want             bool
	}{
		"asks nothing":                {"", tag, true},
		"asks nothing, there is none": {"", "", true},
		"the tag":                     {tag, tag, true},
		"another tag":                 {other, tag, false},
		"one of a list":               {other + ", " + tag, tag, true},
		"weak":                        {"W/" + tag, tag, true},
		"any, there is one":           {"*", tag, true},
		"any, there is none":          {"*", "", false},
		"a tag, there is none":        {tag, "", false},
	} {
		if got := Matches(c.ifMatch, c.current); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Two sides are the same when the same is to be installed by the same deadline.
func TestSides(t *testing.T) {
	at, later := "2026-08-28T12:00:00", "2026-08-29T12:00:00"
	a := ImpactSide{Target: &plan.Target{Version: "26.6", Build: "25G72"}, DeadlineLocal: &at}
	for name, c := range map[string]struct {
		b    ImpactSide
		want bool
	}{
		"equal":         {ImpactSide{Target: &plan.Target{Version: "26.6", Build: "25G72"}, DeadlineLocal: &at}, true},
		"later":         {ImpactSide{Target: a.Target, DeadlineLocal: &later}, false},
		"another build": {ImpactSide{Target: &plan.Target{Version: "26.6", Build: "25G80"}, DeadlineLocal: &at}, false},
		"nothing":       {ImpactSide{}, false},
	} {
		if got := a.Same(c.b); got != c.want || c.b.Same(a) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !(ImpactSide{}).Same(ImpactSide{}) {
		t.Error("nothing is not the same as nothing")
	}
}

// A value without JSON has an ETag that matches nothing but what asks nothing, and an empty page is a list, not null.
func TestEmptiness(t *testing.T) {
	tag := ETag(make(chan int))
	if tag != `""` || Matches(ETag(1), tag) || !Matches("", tag) {
		t.Errorf("the tag is %s", tag)
	}
	none := func(int) string { t.Error("a row of an empty list was asked for"); return "" }
	p, err := List("rows", 10, "", 0, none, none)
	if err != nil || p.Items == nil || len(p.Items) != 0 || p.Next != "" {
		t.Errorf("an empty list: %+v, %v", p, err)
	}
	for _, cursor := range []string{"!", "AAAA", EncodeCursor("others", "a")} {
		var e *Error
		if _, err := List("rows", 10, cursor, 0, none, none); !errors.As(err, &e) || e.Code != "bad_cursor" || !errors.Is(err, ErrInvalid) {
			t.Errorf("the cursor %q: %v", cursor, err)
		}
	}
}

// The origins that are nobody's have their way in their name.
func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		o    Origin
		want Origin
	}{
		{Gate, Origin{Actor: "gate", Via: "gate"}},
		{Program, Origin{Actor: "program", Via: "program"}},
	} {
		if c.o != c.want {
			t.Errorf("%+v, want %+v", c.o, c.want)
		}
	}
	if ViaAPI != "api" || ViaPage != "page" {
		t.Errorf("the ways are %s and %s", ViaAPI, ViaPage)
	}
}
