package status

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The limits of what is taken from one report.
const (
	maxDepth    = 64      // levels of nesting, the report itself being the first (rules 8)
	maxName     = 256     // bytes of an item's name
	maxItem     = 1 << 20 // bytes of an item's value
	maxUnknown  = 256     // items that nobody knows, in a report and in what it is merged into
	maxErrors   = 256     // errors of a report
	maxNotes    = 20      // notes kept of each kind; all are counted
	maxNoteSize = 200     // bytes of a note
)

// Report is one status report as it was understood.
type Report struct {
	// Full tells that the report carries everything, not only what changed.
	Full bool
	// Items has the value of each reported item by its status item name ("softwareupdate.install-state"): compact JSON,
	// keys sorted, every known member of the type that Apple gives it; null where the Mac says that there is no value.
	Items map[string]json.RawMessage
	// Errors are the items that the Mac could not report.
	Errors []ItemError
	// Raw is the report as it came, without secrets; the bytes of the body themselves when it has none.
	Raw []byte

	// Odd has the first few parts that were ignored, and why: wrong types, nesting that was cut, members given twice.
	// OddCount counts all of them.
	Odd      []string
	OddCount int
	// Unknown has the first few names that are new to us and were kept: items, and item=value for enumerations.
	// UnknownCount counts all of them.
	Unknown      []string
	UnknownCount int

	oddVersion bool // a version is told that is none
}

// ItemError tells why a Mac does not report an item.
type ItemError struct {
	Item    string   `json:"item"`
	Reasons []Reason `json:"reasons,omitempty"`
}

// Reason is Apple's own account of why something is not as it was asked for. Its text is kept whole.
type Reason struct {
	Code        string         `json:"code"`
	Description string         `json:"description,omitempty"`
	Details     map[string]any `json:"details,omitempty"`
}

// Text is everything that the reason says in words: the description, then the error among the details.
func (r Reason) Text() string {
	e, _ := r.Details["Error"].(string)
	if r.Description == "" || e == "" {
		return r.Description + e
	}
	return r.Description + ": " + e
}

// Parse reads the body of a status report. It fails only when the body is no report at all: not JSON that
// encoding/json reads, or not an object. Everything else that is wrong with it is left out and counted. Secrets are
// removed before anything is read.
func Parse(body []byte) (*Report, error) {
	in, ok := redact(body)
	if !ok {
		var v json.RawMessage
		return nil, fmt.Errorf("status report is not JSON: %w", json.Unmarshal(body, &v))
	}
	start := space(in, 0)
	if in[start] != '{' {
		return nil, fmt.Errorf("status report is %s, not an object", kindWord(in[start]))
	}
	rep := &Report{Raw: in, Items: make(map[string]json.RawMessage, 24)}
	p := parser{in: in, out: make([]byte, 0, len(in)), mems: make([]mem, 0, 16), rep: rep}
	var full, seen bool
	for i := space(in, start+1); ; {
		keyEnd, val, ok := memberAt(in, i)
		if !ok {
			break
		}
		key, end := string(unquoted(in[i:keyEnd])), 0
		switch {
		case strings.EqualFold(key, "StatusItems"):
			if seen {
				p.odd("StatusItems", "given twice")
			}
			if in[val] != '{' {
				p.wrongKind("StatusItems", "", in[val], objectKind)
				end = valueEnd(in, val)
				break
			}
			seen = true
			end = p.section(val, 2)
		case strings.EqualFold(key, "Errors"):
			end = valueEnd(in, val)
			p.errors(in[val:end])
		case strings.EqualFold(key, "FullReport"):
			end = valueEnd(in, val)
			p.wrongKind("FullReport", "", in[val], boolKind)
			full = in[val] == 't'
		default:
			end = valueEnd(in, val) // other sections may come with a later macOS
		}
		i = next(in, end)
	}
	// What carries no items replaces none.
	rep.Full = full && seen
	return rep, nil
}

// parser goes through a report once. It trusts that the report is valid JSON.
type parser struct {
	in      []byte
	out     []byte // canonical values, one after the other
	path    []byte // the name of the section that is being read
	item    string // the item that is being read
	mems    []mem  // the members of the objects that are being read
	tmp     []byte // room for sorting them
	unknown int
	rep     *Report
}

// section reads an object of items at i and returns the index after it.
func (p *parser) section(i, depth int) int {
	level := len(p.path)
	for i = space(p.in, i+1); ; {
		keyEnd, val, ok := memberAt(p.in, i)
		if !ok {
			p.path = p.path[:level]
			return i + 1
		}
		p.path = p.path[:level]
		if level > 0 {
			p.path = append(p.path, '.')
		}
		p.path = append(p.path, unquoted(p.in[i:keyEnd])...)
		i = next(p.in, p.named(val, depth))
	}
}

// named reads the value at i of what p.path names and returns the index after it.
func (p *parser) named(i, depth int) int {
	if len(p.path) > maxName || len(p.path) == 0 || p.path[len(p.path)-1] == '.' {
		p.odd(string(p.path[:min(len(p.path), 40)]), "not a name")
		return valueEnd(p.in, i)
	}
	if sh, ok := known[string(p.path)]; ok {
		p.item = sh.name
		return p.take(i, depth, sh)
	}
	if p.in[i] == '{' {
		if depth < maxDepth {
			return p.section(i, depth+1)
		}
		p.odd(string(p.path), "nested too deep")
		return valueEnd(p.in, i)
	}
	if sections[string(p.path)] {
		p.wrongKind(string(p.path), "", p.in[i], objectKind)
		return valueEnd(p.in, i)
	}
	return p.takeUnknown(i, depth)
}

// takeUnknown takes an item that nobody knows: the first value on the way down that is not an object.
func (p *parser) takeUnknown(i, depth int) int {
	p.item = string(p.path)
	for up := parent(p.item); up != ""; up = parent(up) {
		if known[up] != nil {
			p.odd(p.item, "inside an item")
			return valueEnd(p.in, i)
		}
	}
	if _, again := p.rep.Items[p.item]; !again {
		if p.unknown == maxUnknown {
			p.odd(p.item, "one unknown item too many")
			return valueEnd(p.in, i)
		}
		p.unknown++
		p.strange(p.item)
		if p.unknown > 1 && supersede(p.rep.Items, p.item) {
			p.odd(p.item, "both a value and a section")
		}
	}
	return p.take(i, depth, nil)
}

// take reads the item's value at i and returns the index after it.
func (p *parser) take(i, depth int, sh *shape) int {
	start := len(p.out)
	end := i
	if p.in[i] == 'n' {
		end = valueEnd(p.in, i)
		p.out = append(p.out, "null"...)
	} else {
		var ok bool
		if end, ok = p.value(i, depth+1, sh, ""); !ok {
			return end
		}
	}
	if len(p.out)-start > maxItem {
		p.odd(p.item, "too large")
		p.out = p.out[:start]
		return end
	}
	if _, again := p.rep.Items[p.item]; again {
		p.odd(p.item, "given twice")
	}
	p.rep.Items[p.item] = p.out[start:len(p.out):len(p.out)]
	return end
}

// supersede deletes the items that cannot exist beside the one called name: those above and those below it.
// It tells whether there were any. Known items are never among them.
func supersede[M ~map[string]json.RawMessage](items M, name string) bool {
	n := len(items)
	for up := parent(name); up != ""; up = parent(up) {
		delete(items, up)
	}
	for other := range items {
		if len(other) > len(name) && other[len(name)] == '.' && other[:len(name)] == name {
			delete(items, other)
		}
	}
	return len(items) != n
}

// errors reads the Errors section. Apple writes its members with capitals, and those of the declarations' reasons
// without; either is read.
func (p *parser) errors(raw []byte) {
	if !p.wrongKind("Errors", "", raw[0], arrayKind) {
		return
	}
	for e := range elements(raw) {
		if len(p.rep.Errors) == maxErrors {
			p.odd("Errors", "one too many")
			return
		}
		var ie ItemError
		for k, v := range members(e) {
			switch {
			case strings.EqualFold(string(k), "StatusItem"):
				ie.Item = clip(text(v), maxName)
			case strings.EqualFold(string(k), "Reasons"):
				ie.Reasons = reasons(v)
			}
		}
		if ie.Item == "" {
			p.odd("Errors", "an error without a status item")
			continue
		}
		p.rep.Errors = append(p.rep.Errors, ie)
	}
}

// reasons reads an array of reasons; what is not one is left out.
func reasons(raw []byte) []Reason {
	var rs []Reason
	for e := range elements(raw) {
		var r Reason
		for k, v := range members(e) {
			switch {
			case strings.EqualFold(string(k), "code"):
				r.Code = text(v)
			case strings.EqualFold(string(k), "description"):
				r.Description = text(v)
			case strings.EqualFold(string(k), "details"):
				if v[0] == '{' && shallow(v) {
					_ = json.Unmarshal(v, &r.Details) // numbers beyond float64 cost the details, nothing else
				}
			}
		}
		if r.Code != "" || r.Description != "" || r.Details != nil {
			rs = append(rs, r)
		}
	}
	return rs
}

// shallow tells whether a value nests no deeper than a report may.
func shallow(b []byte) bool {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
		case '{', '[':
			if depth++; depth > maxDepth {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

// wrongKind notes that a value beginning with c does not have the type wanted. It answers whether it has it.
func (p *parser) wrongKind(item, member string, c byte, want kind) (ok bool) {
	if want == anyKind || kindOf(c) == want {
		return true
	}
	if c != 'n' { // null is no value, which is not odd
		p.odd(item, "wanted "+want.String()+", got "+kindWord(c)+inMember(member))
	}
	return false
}

func kindWord(c byte) string {
	if c == 'n' {
		return "null"
	}
	return kindOf(c).String()
}

func inMember(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

// odd counts a part that is left out.
func (p *parser) odd(item, what string) { note(&p.rep.Odd, &p.rep.OddCount, item+": "+what) }

// strange counts a name that nobody knows.
func (p *parser) strange(name string) { note(&p.rep.Unknown, &p.rep.UnknownCount, name) }

func note(list *[]string, count *int, s string) {
	if *count++; len(*list) < maxNotes {
		*list = append(*list, clip(clean(s), maxNoteSize))
	}
}
