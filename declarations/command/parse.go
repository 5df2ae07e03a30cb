package command

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"plimsoll/declarations/release"
)

// Limits of an answer. A Mac has a handful of updates, and Apple's texts are short; all beyond is odd.
const (
	maxItems = 100
	maxText  = 4000
	maxChain = 10
)

// ParseAnswer reads an answer to an update command from its decoded property list. It never fails: all that is not as Apple
// documents it is left out and counted. A missing UpdateResults or OSUpdateStatus is not odd.
func ParseAnswer(m map[string]any) Answer {
	r := reader{m: m}
	a := Answer{UUID: r.text("CommandUUID"), Status: r.text("Status"), Faults: r.chain()}
	for item := range r.items("UpdateResults") {
		result := Result{
			Key: item.text("ProductKey"), Action: item.text("InstallAction"), Status: item.text("Status"), Faults: item.chain(),
		}
		if result.Key == "" && !item.has("ProductKey") {
			item.odd++
		}
		a.Results = append(a.Results, result)
		r.odd += item.odd
	}
	for item := range r.items("OSUpdateStatus") {
		status := Item{
			Key: item.text("ProductKey"), Downloaded: item.truth("IsDownloaded"),
			Percent: item.number("DownloadPercentComplete"), Status: item.text("Status"), Faults: item.chain(),
		}
		r.odd += item.odd
		if status.Key == "" {
			if !item.has("ProductKey") {
				r.odd++
			}
			continue
		}
		a.Items = append(a.Items, status)
	}
	a.Odd = r.odd
	return a
}

// Info is what DeviceInformation or SecurityInfo told of a Mac that declarations may not reach; nil and empty: not told.
type Info struct {
	Board                 string // SoftwareUpdateDeviceID
	Version               release.Version
	Build                 string
	AppleSilicon          *bool
	Supervised            *bool
	AwaitingConfiguration *bool
	// Secured: it is an answer to SecurityInfo.
	Secured bool
	// TokenAllowed is BootstrapTokenAllowedForAuthentication: "allowed", "disallowed" or "not supported".
	TokenAllowed  string
	TokenRequired *bool // BootstrapTokenRequiredForSoftwareUpdate
	Odd           int
}

// ParseInfo reads an answer to DeviceInformation (QueryResponses) or SecurityInfo from its decoded property list. Version and
// build are taken together or not at all (rules 4).
func ParseInfo(m map[string]any) Info {
	var in Info
	r := reader{m: m}
	if q := r.dict("QueryResponses"); q != nil {
		in.Board = q.text("SoftwareUpdateDeviceID")
		version, build := q.text("OSVersion"), q.text("BuildVersion")
		v, err := release.ParseVersion(version)
		switch {
		case err == nil && build != "":
			in.Version, in.Build = v, build
		case version != "" || build != "":
			q.odd++
		}
		in.AppleSilicon = q.maybe("IsAppleSilicon")
		in.Supervised = q.maybe("IsSupervised")
		in.AwaitingConfiguration = q.maybe("AwaitingConfiguration")
		r.odd += q.odd
	}
	if s := r.dict("SecurityInfo"); s != nil {
		in.Secured = true
		in.TokenAllowed = s.text("BootstrapTokenAllowedForAuthentication")
		in.TokenRequired = s.maybe("BootstrapTokenRequiredForSoftwareUpdate")
		r.odd += s.odd
	}
	in.Odd = r.odd
	return in
}

// reader reads one dictionary and counts what it had to leave out.
type reader struct {
	m   map[string]any
	odd int
}

func (r *reader) has(key string) bool { _, ok := r.m[key]; return ok }

// text is a string, without control characters and cut to a sensible length.
func (r *reader) text(key string) string {
	v, ok := r.m[key]
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		r.odd++
		return ""
	}
	return clean(s)
}

func clean(s string) string {
	s = strings.Map(func(c rune) rune {
		if c == utf8.RuneError || unicode.IsControl(c) && c != '\n' {
			return -1
		}
		return c
	}, s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// number is an integer or a real; a number in a string is read and counted as odd.
func (r *reader) number(key string) float64 {
	v, ok := r.m[key]
	if !ok {
		return 0
	}
	n, isNumber := 0.0, true
	switch x := v.(type) {
	case float64:
		n = x
	case float32:
		n = float64(x)
	case int64:
		n = float64(x)
	case uint64:
		n = float64(x)
	case int:
		n = float64(x)
	case string:
		n, _ = strconv.ParseFloat(strings.TrimSpace(x), 64)
		isNumber = false
	default:
		isNumber = false
	}
	if math.IsNaN(n) || math.IsInf(n, 0) {
		n, isNumber = 0, false
	}
	if !isNumber {
		r.odd++
	}
	return n
}

// maybe is a boolean, or nil when there is none. Old systems send 0 and 1, which are not odd.
func (r *reader) maybe(key string) *bool {
	v, ok := r.m[key]
	if !ok {
		return nil
	}
	b, isBool := v.(bool)
	switch x := v.(type) {
	case int64:
		b, isBool = x == 1, x == 0 || x == 1
	case uint64:
		b, isBool = x == 1, x <= 1
	case float64:
		b, isBool = x == 1, x == 0 || x == 1
	}
	if !isBool {
		r.odd++
		return nil
	}
	return &b
}

func (r *reader) truth(key string) bool {
	b := r.maybe(key)
	return b != nil && *b
}

func (r *reader) dict(key string) *reader {
	v, ok := r.m[key]
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.odd++
		return nil
	}
	return &reader{m: m}
}

// list is an array, cut to a limit.
func (r *reader) list(key string, limit int) []any {
	v, ok := r.m[key]
	if !ok {
		return nil
	}
	all, ok := v.([]any)
	if !ok {
		r.odd++
		return nil
	}
	if len(all) > limit {
		r.odd += len(all) - limit
		all = all[:limit]
	}
	return all
}

// items are the dictionaries of an array. An array in it is not looked into.
func (r *reader) items(key string) func(yield func(*reader) bool) {
	return func(yield func(*reader) bool) {
		for _, v := range r.list(key, maxItems) {
			m, ok := v.(map[string]any)
			if !ok {
				r.odd++
				continue
			}
			if !yield(&reader{m: m}) {
				return
			}
		}
	}
}

// chain is the ErrorChain; an empty one is none.
func (r *reader) chain() []Fault {
	var all []Fault
	for _, v := range r.list("ErrorChain", maxChain) {
		m, ok := v.(map[string]any)
		if !ok {
			r.odd++
			continue
		}
		f := reader{m: m}
		fault := Fault{Code: int64(f.number("ErrorCode")), Domain: f.text("ErrorDomain"), Text: f.text("USEnglishDescription")}
		if local := f.text("LocalizedDescription"); fault.Text == "" {
			fault.Text = local
		}
		r.odd += f.odd
		all = append(all, fault)
	}
	return all
}
