package view

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
)

// ParseForm reads a form's body; one that is no form is ErrInvalid.
func ParseForm(r *http.Request) error {
	err := r.ParseForm()
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
	}
	return &fleet.Error{Kind: fleet.ErrInvalid, Code: "bad_form", Text: "what was sent is not a form"}
}

// Unescaped is a part of a request's path, as it was before it was escaped.
func Unescaped(r *http.Request, part string) string {
	if r.URL.RawPath == "" {
		return part
	}
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}

// LocalOf reads a wall-clock time that a form carries, with or without seconds.
func LocalOf(s string) (declarations.Local, error) {
	if len(s) == len("2006-01-02T15:04") {
		s += ":00"
	}
	return declarations.ParseLocal(s)
}

// Words splits a list that people wrote; nil for none.
func Words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",; \n\t\r", r) })
}

// Confirm is the page that shows what a write would do, and asks whether it is meant.
type Confirm struct {
	Title  string
	Text   string // what would happen, where that is no impact
	Why    string // why it is asked for; empty when the admin wanted to see the impact
	Harm   bool   // it takes something away
	Impact *Impact
	// Warnings are what whoever writes should know, each with its advice.
	Warnings []Warning
	Action   string
	Fields   []Field // what was posted, to be posted again
	Back     string
}

// Warning is a warning of a write.
type Warning struct{ Text, Advice string }

// WarningsOf words the warnings of a write.
func WarningsOf(list []policy.Reason) []Warning {
	out := make([]Warning, 0, len(list))
	for _, r := range list {
		out = append(out, Warning{Sentence(Prose(r.Text)), r.Advice})
	}
	return out
}

// Field is a value that a form carries on, or a piece of evidence.
type Field struct{ Name, Value string }

// Posted is what a form carried, without what the next one has by itself.
func Posted(form url.Values) []Field {
	var out []Field
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name == "step" || name == "confirm" {
			continue
		}
		for _, v := range form[name] {
			out = append(out, Field{name, v})
		}
	}
	return out
}

// Faults are what is wrong with a form, by the name of the field.
type Faults map[string][]string

// FaultsOf are the faulty fields of an error; nil when it names none.
func FaultsOf(err error) Faults {
	var fe *fleet.Error
	if !errors.As(err, &fe) || len(fe.Fields) == 0 {
		return nil
	}
	out := Faults{}
	for _, f := range fe.Fields {
		out[f.Field] = append(out[f.Field], Sentence(f.Reason))
	}
	return out
}

// CodeOf is the code of an error of ours; empty when it has none.
func CodeOf(err error) string {
	var fe *fleet.Error
	if errors.As(err, &fe) {
		return fe.Code
	}
	return ""
}
