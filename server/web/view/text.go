package view

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
)

// State is a state as people read it.
type State struct {
	Name  string // of the API
	Label string
	Means string
}

// States are the states in the order in which they are shown: from fine, over what needs a look, to what is not judged.
var States = []State{
	{"compliant", "Compliant", "nothing is asked of it"},
	{"pending", "Pending", "an update is asked for, its deadline lies ahead"},
	{"overdue", "Overdue", "the deadline has passed and the update is missing"},
	{"failing", "Failing", "the last install attempt failed, or our declaration was rejected"},
	{"held", "Held", "only a hold stands in the way"},
	{"exempt", "Exempt", "an exemption applies to it for now"},
	{"incompatible", "Incompatible", "its macOS is too old to be told by declaration, or does not support it"},
	{"unsupported", "Unsupported", "no release that satisfies the policy exists for it"},
	{"unknown", "Unknown", "a fact that is needed is not known yet"},
	{"unmanaged", "Unmanaged", "no policy governs it, or enforcement is paused"},
}

// Flags are the flags with what they mean.
var Flags = []State{
	{"silent", "Silent", "no contact for 7 days"},
	{"report_stale", "Report stale", "in contact, but no report for 3 days"},
	{"not_synced", "Not synced", "it has not fetched what it is told now"},
	{"past_deadline", "Past deadline", "a deadline has passed"},
	{"prerelease", "Prerelease", "it runs a build that the catalogue does not know"},
	{"bootstrap_token_missing", "No bootstrap token", "a user may have to authorise installations"},
	{"bsi_pending", "BSI pending", "a Background Security Improvement is not installed"},
	{"catalogue_stale", "Catalogue stale", "newer releases may be missing from the plan"},
}

// WordsOf finds a name in a list; a name that is not in it is its own label.
func WordsOf(list []State, name string) State {
	for _, s := range list {
		if s.Name == name {
			return s
		}
	}
	if name == "" {
		return State{"none", "Not enrolled", "it checked out, so nothing is asked of it"}
	}
	return State{Name: "other", Label: name}
}

// StateOf is a state in words.
func StateOf(name string) State { return WordsOf(States, name) }

// phaseWords say how far an update has come.
var phaseWords = map[string]string{
	"planned": "not fetched yet", "served": "fetched by the Mac", "active": "accepted by the Mac", "waiting": "waiting to begin",
	"downloading": "downloading", "prepared": "downloaded and prepared", "installing": "installing",
	"failed": "the last attempt failed", "rejected": "rejected by the Mac",
}

// PhaseOf is a phase in words.
func PhaseOf(phase string) string {
	if words, ok := phaseWords[phase]; ok {
		return words
	}
	return phase
}

// Moment is an observed instant: words for reading, the whole for looking closely.
type Moment struct {
	Words string // "3 h ago"
	Exact string // "2026-12-04 12:00 CET"
	ISO   string // RFC 3339, for machines
}

// MomentOf puts an instant into words as seen from now, in a zone; the zero value for the zero time.
func MomentOf(t, now time.Time, zone *time.Location) Moment {
	if t.IsZero() {
		return Moment{}
	}
	return Moment{Words: Ago(now.Sub(t)), Exact: t.In(zone).Format("2006-01-02 15:04 MST"), ISO: t.UTC().Format(time.RFC3339)}
}

// Ago is a distance in time in the largest unit that fits; a negative one lies ahead.
func Ago(d time.Duration) string {
	ahead := d < 0
	d = d.Abs()
	var s string
	switch {
	case d < time.Minute:
		return "just now"
	case d < 2*time.Hour:
		s = strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		s = strconv.Itoa(int(d/time.Hour)) + " h"
	case d < 2*365*24*time.Hour:
		s = strconv.Itoa(int(d/(24*time.Hour))) + " days"
	default:
		s = strconv.Itoa(int(d/(365*24*time.Hour))) + " years"
	}
	if ahead {
		return "in " + s
	}
	return s + " ago"
}

// Wall is a wall-clock time of a Mac for people: "Friday 4 December 2026, 12:00"; what is none stays as it is.
func Wall(local string) string {
	l, err := declarations.ParseLocal(local)
	if err != nil {
		return local
	}
	return l.At(0).Format("Monday 2 January 2006, 15:04")
}

// WallPtr is Wall for a time that may be missing.
func WallPtr(local *string) string {
	if local == nil {
		return ""
	}
	return Wall(*local)
}

// ShortWall is a wall-clock time for tables: "2026-12-04 12:00".
func ShortWall(local *string) string {
	if local == nil {
		return ""
	}
	l, err := declarations.ParseLocal(*local)
	if err != nil {
		return *local
	}
	return l.At(0).Format("2006-01-02 15:04")
}

// TargetWords is a release as people name it: "macOS 26.6.2", or the improvement with its build.
func TargetWords(t *plan.Target) string {
	switch {
	case t == nil:
		return ""
	case t.Kind == release.KindBSI:
		return "Background Security Improvement " + string(t.Version) + " (build " + t.Build + ")"
	}
	return "macOS " + string(t.Version)
}

// Count writes a number, from five digits on with thin spaces between groups of three.
func Count(n int) string {
	s := strconv.Itoa(n)
	if len(s) < 5 {
		return s
	}
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// Plural is the number with its noun: "1 Mac", "3 Macs".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// Verb is a number with its noun (empty: none) and the verb that agrees with it: "1 Mac restarts", "2 Macs restart".
func Verb(n int, noun, one, many string) string {
	s := Count(n)
	if noun != "" {
		s = Plural(n, noun)
	}
	if n == 1 {
		return s + " " + one
	}
	return s + " " + many
}

// Percent is a share for people. What is not all is never 100, what is not none never 0.
func Percent(n, of int) string {
	switch {
	case of <= 0:
		return "–"
	case n >= of:
		return "100 %"
	case n <= 0:
		return "0 %"
	}
	return strconv.Itoa(min(99, max(1, n*100/of))) + " %"
}

// Sentence begins with a capital letter (unless that is the name macOS) and ends with a full stop.
func Sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	if r, size := utf8.DecodeRuneInString(s); !strings.HasPrefix(s, "macOS") {
		s = string(unicode.ToUpper(r)) + s[size:]
	}
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// and joins words as people do: "a, b and c".
func Join(words []string, last string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

// Days is a number of days.
func Days(n int) string { return Plural(n, "day") }

// OSWords is what a Mac runs: "26.3.1 (a)".
func OSWords(version, letter string) string {
	if letter == "" {
		return version
	}
	return fmt.Sprintf("%s (%s)", version, release.NormalLetter(letter))
}

var instant = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?\b`)

// Prose puts the times in a sentence the way people write them: "2026-12-04 12:00", with "UTC" for an instant.
func Prose(s string) string {
	return instant.ReplaceAllStringFunc(s, func(text string) string {
		local, utc := strings.CutSuffix(text, "Z")
		words := ShortWall(&local)
		if utc {
			words += " UTC"
		}
		return words
	})
}

// Slug makes a name out of a label: "Engineering Macs" is "engineering-macs".
func Slug(label string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(label) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', b.Len() > 0 && (r == '.' || r == '_'):
			b.WriteRune(r)
		case plainLetters[r] != "":
			b.WriteString(plainLetters[r])
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	return strings.TrimRight(s[:min(len(s), 63)], "-._")
}

// plainLetters are how the commonest letters outside a to z are written.
var plainLetters = map[rune]string{
	'ä': "ae", 'ö': "oe", 'ü': "ue", 'ß': "ss", 'à': "a", 'á': "a", 'â': "a", 'å': "a", 'ã': "a", 'æ': "ae", 'ç': "c", 'è': "e",
	'é': "e", 'ê': "e", 'ë': "e",
	'ì': "i", 'í': "i", 'î': "i", 'ï': "i", 'ñ': "n", 'ò': "o", 'ó': "o", 'ô': "o", 'õ': "o", 'ø': "o", 'ù': "u", 'ú': "u", 'û': "u",
}
