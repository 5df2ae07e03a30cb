package view

import (
	"errors"
	"net/http"
	"strings"

	"plimsoll/declarations"
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
