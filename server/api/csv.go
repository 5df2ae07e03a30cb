package api

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"plimsoll/server/fleet"
)

// table is a CSV with one column for each JSON field, in their order. Lists of words are joined by spaces; what has an inner structure stays JSON.
func table[T any](items []T) ([]byte, error) {
	columns := fields(reflect.TypeFor[T](), nil)
	names := make([]string, 0, len(columns))
	for _, col := range columns {
		names = append(names, col.name)
	}
	return encodeCSV(names, len(items), func(i int) ([]string, error) {
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
	switch x := v.Interface().(type) {
	case time.Time:
		return moment(&x), nil
	case []string:
		return strings.Join(x, " "), nil
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

// encodeCSV writes a header and n rows.
func encodeCSV(header []string, n int, row func(int) ([]string, error)) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true // RFC 4180
	if err := w.Write(header); err != nil {
		return nil, err
	}
	for i := range n {
		cells, err := row(i)
		if err != nil {
			return nil, err
		}
		for j := range cells {
			cells[j] = harmless(cells[j])
		}
		if err := w.Write(cells); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// harmless keeps a spreadsheet from taking what a Mac or an admin wrote for a formula.
func harmless(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}

var deviceColumns = []string{
	"id", "serial", "name", "model", "board", "version", "build", "letter", "state", "phase", "flags", "policy",
	"target_version", "target_build", "deadline_local", "due_local", "last_seen_at",
}

// deviceTable is the CSV of devices (docs/api.md 4).
func deviceTable(devices []fleet.Device) ([]byte, error) {
	return encodeCSV(deviceColumns, len(devices), func(i int) ([]string, error) {
		d := &devices[i]
		var version, build string
		if d.Target != nil {
			version, build = string(d.Target.Version), d.Target.Build
		}
		return []string{
			d.ID, d.Serial, d.Name, d.Model, d.Board, d.OS.Version, d.OS.Build, d.OS.Letter, d.State, d.Phase,
			strings.Join(d.Flags, " "), text(d.Policy), version, build, text(d.DeadlineLocal), text(d.DueLocal), moment(d.LastSeenAt),
		}, nil
	})
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// historyTable is the CSV of the history, with one column for each state and flag.
func historyTable(days []fleet.HistoryDay) ([]byte, error) {
	header := []string{"date", "devices"}
	for _, s := range states {
		header = append(header, "state_"+s)
	}
	for _, f := range flags {
		header = append(header, "flag_"+f)
	}
	header = append(header, "versions")
	return encodeCSV(header, len(days), func(i int) ([]string, error) {
		d := &days[i]
		row := []string{d.Date, strconv.Itoa(d.Devices)}
		for _, s := range states {
			row = append(row, strconv.Itoa(d.States[s]))
		}
		for _, f := range flags {
			row = append(row, strconv.Itoa(d.Flags[f]))
		}
		versions, err := json.Marshal(d.Versions)
		return append(row, string(versions)), err
	})
}
