package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// maxColumns is the width that tables keep to.
const maxColumns = 100

// Output is the flag of commands that print data.
type Output struct {
	Output string `short:"o" default:"table" enum:"table,json,csv" help:"Print a table, json or csv."`
}

// clean makes what a Mac or a server said fit to be printed: a terminal would obey control characters, and the marks of writing
// direction would turn a line around.
func clean(s string) string {
	if !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if !harmful(r) {
			b.WriteRune(r)
			continue
		}
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			fmt.Fprintf(&b, `\x%02x`, s[i])
			continue
		}
		q := strconv.QuoteRuneToASCII(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// harmful are the characters that are never printed raw. U+FFFD stands for bytes that are no text, too.
func harmful(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

// columns is the width of a text on a terminal.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut shortens a text to a width, with an ellipsis.
func cut(s string, to int) string {
	if columns(s) <= to {
		return s
	}
	n, at := 0, 0
	for i, r := range s {
		if n += runeColumns(r); n > to-1 {
			break
		}
		at = i + utf8.RuneLen(r)
	}
	return s[:at] + "…"
}

// printTable prints rows under a header, within maxColumns: the widest column gives way.
func printTable(w io.Writer, header []string, rows [][]string, paint func(row, column int, text string) string) error {
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = columns(h)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
			widths[i] = max(widths[i], columns(row[i]))
		}
	}
	for total(widths) > maxColumns {
		widest := 0
		for i, n := range widths {
			if n > widths[widest] {
				widest = i
			}
		}
		widths[widest]--
	}
	var b bytes.Buffer
	line := func(row int, cells []string) {
		var text strings.Builder
		for i, cell := range cells {
			cell = cut(cell, widths[i])
			pad := widths[i] - columns(cell) + 2
			if paint != nil && row >= 0 {
				cell = paint(row, i, cell)
			}
			text.WriteString(cell)
			if i < len(cells)-1 {
				text.WriteString(strings.Repeat(" ", pad))
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	line(-1, header)
	for i, row := range rows {
		line(i, row)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func total(widths []int) int {
	n := 2 * (len(widths) - 1)
	for _, w := range widths {
		n += w
	}
	return n
}

// wrap breaks a text into lines of at most maxColumns, each after the first with that indent.
func wrap(text, indent string) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Fields(clean(text)) {
		n := columns(word)
		switch {
		case i == 0:
		case at+1+n > maxColumns-len(indent):
			b.WriteString("\n" + indent)
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

// printJSON prints an answer of the API, indented, with what is harmful escaped: JSON itself leaves some control
// characters as they are.
func printJSON(w io.Writer, body []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	var out bytes.Buffer
	for _, r := range b.String() {
		switch {
		case r == '\n' || r == utf8.RuneError || !harmful(r):
			out.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16Pair(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}

func utf16Pair(r rune) (rune, rune) {
	r -= 0x10000
	return 0xd800 + r>>10&0x3ff, 0xdc00 + r&0x3ff
}

// printCSV prints a CSV of the API with what is harmful escaped. header: with the first line.
func printCSV(w io.Writer, body []byte, header bool) error {
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil {
		return fmt.Errorf("the answer is not CSV: %w", err)
	}
	if !header && len(rows) > 0 {
		rows = rows[1:]
	}
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
		}
	}
	out := csv.NewWriter(w)
	return out.WriteAll(rows)
}
