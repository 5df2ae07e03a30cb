// Package sheet writes lists as CSV, so that no cell becomes a formula in a spreadsheet.
package sheet

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"plimsoll/server/fleet"
	"plimsoll/status/compliance"
)

// Table is a CSV with one column for each JSON field, in their order. Lists of words are joined by spaces; what has an
// inner structure stays JSON.
func Table[T any](items []T) ([]byte, error) {
	columns := fields(reflect.TypeFor[T](), nil)
	names := make([]string, 0, len(columns))
	for _, col := range columns {
		names = append(names, col.name)
	}
	return encode(names, len(items), func(i int) ([]string, error) {
		v := reflect.ValueOf(&items[i]).Elem()
		row := make([]string, 0, len(columns))
		for _, col := range columns {
			s, err := cell(v.FieldByIndex(col.index))
			if err != nil {
				return nil, err
			}
			row = append(row, s)
		}
		return row, nil
	})
}

type column struct {
	name  string
	index []int
}

func fields(t reflect.Type, index []int) []column {
	var list []column
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			list = append(list, fields(f.Type, at)...)
		case f.IsExported() && name != "-":
			list = append(list, column{name, at})
		}
	}
	return list
}

func cell(v reflect.Value) (string, error) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", nil
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Bool, reflect.Int:
		return fmt.Sprint(v.Interface()), nil
	}
	if x, ok := v.Interface().(time.Time); ok {
		return moment(&x), nil
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String {
		words := make([]string, 0, v.Len())
		for i := range v.Len() {
			words = append(words, v.Index(i).String())
		}
		return strings.Join(words, " "), nil
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return "", err
	}
	var s string
	if json.Unmarshal(b, &s) == nil {
		return s, nil
	}
	return strings.TrimPrefix(string(b), "null"), nil
}

func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Writer writes a CSV row by row (RFC 4180).
type Writer struct{ csv *csv.Writer }

// NewWriter makes a Writer. Flush must follow its last row.
func NewWriter(w io.Writer) *Writer {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	return &Writer{c}
}

// Write writes a row. What Macs, admins and Apple wrote is made harmless in place.
func (w *Writer) Write(cells []string) error {
	for i := range cells {
		cells[i] = harmless(cells[i])
	}
	return w.csv.Write(cells)
}

// Flush writes what is buffered, and returns the first error that there was.
func (w *Writer) Flush() error {
	w.csv.Flush()
	return w.csv.Error()
}

// encode writes a header and n rows.
func encode(header []string, n int, row func(int) ([]string, error)) ([]byte, error) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := w.Write(slices.Clone(header)); err != nil {
		return nil, err
	}
	for i := range n {
		cells, err := row(i)
		if err != nil {
			return nil, err
		}
		if err := w.Write(cells); err != nil {
			return nil, err
		}
	}
	err := w.Flush()
	return b.Bytes(), err
}

// inner is a formula behind a separator: where the comma is the decimal mark, spreadsheets divide a line at semicolons,
// whatever quotes there are.
var inner = regexp.MustCompile(`([;\t\r\n]["'\s]*)([=+@\-\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}])`)

// harmless keeps a spreadsheet from taking a part of a text for a formula. Numbers stay as they are.
func harmless(s string) string {
	if _, err := strconv.ParseFloat(s, 64); err == nil || s == "" {
		return s
	}
	text := strings.TrimLeft(s, ` "`)
	if first, _ := utf8.DecodeRuneInString(text); text != "" &&
		strings.ContainsRune("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20", first) {
		s = "'" + s
	}
	return inner.ReplaceAllString(s, "$1'$2")
}

// DeviceColumns are the columns of devices (docs/api.md 4).
var DeviceColumns = []string{
	"id", "serial", "name", "model", "board", "version", "build", "letter", "state", "phase", "flags", "policy",
	"target_version", "target_build", "deadline_local", "due_local", "last_seen_at", "ring", "mechanism",
}

// DeviceRow is the row of a Mac.
func DeviceRow(d *fleet.Device) []string {
	var version, build string
	if d.Target != nil {
		version, build = string(d.Target.Version), d.Target.Build
	}
	return []string{
		d.ID, d.Serial, d.Name, d.Model, d.Board, d.OS.Version, d.OS.Build, d.OS.Letter, d.State, d.Phase,
		strings.Join(d.Flags, " "), text(d.Policy), version, build, text(d.DeadlineLocal), text(d.DueLocal), moment(d.LastSeenAt),
		text(d.Ring), text(d.Mechanism),
	}
}

// Devices is the CSV of devices.
func Devices(devices []fleet.Device) ([]byte, error) {
	return encode(DeviceColumns, len(devices), func(i int) ([]string, error) { return DeviceRow(&devices[i]), nil })
}

func text[T ~string](s *T) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// History is the CSV of the history, with one column for each state and flag.
func History(days []fleet.HistoryDay) ([]byte, error) {
	header := []string{"date", "devices"}
	for _, s := range compliance.States {
		header = append(header, "state_"+string(s))
	}
	for _, f := range compliance.FlagNames {
		header = append(header, "flag_"+f)
	}
	header = append(header, "versions")
	return encode(header, len(days), func(i int) ([]string, error) {
		d := &days[i]
		row := []string{d.Date, strconv.Itoa(d.Devices)}
		for _, s := range compliance.States {
			row = append(row, strconv.Itoa(d.States[string(s)]))
		}
		for _, f := range compliance.FlagNames {
			row = append(row, strconv.Itoa(d.Flags[f]))
		}
		versions, err := json.Marshal(d.Versions)
		return append(row, string(versions)), err
	})
}
