package compliance

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"plimsoll/declarations/release"
	"plimsoll/status"
)

// readText is how much of what a Mac says is looked at for what it means, in bytes; real texts have some hundreds.
const readText = 16 << 10

// versionsNamed finds the two versions in Apple's "target OS version (15.7) is older than current version (15.7.7)".
var versionsNamed = regexp.MustCompile(
	`target[^()]{0,40}\(([0-9.]{1,24})[^)]{0,8}\)[^()]{0,80}(?:current|installed|running)[^()]{0,40}\(([0-9.]{1,24})`,
)

// notAbove are the ways in which a text can call the target the same as, or older than, what the Mac runs. Only the first is
// known from a real Mac.
var notAbove = []*regexp.Regexp{
	regexp.MustCompile(`(?:older|lower|earlier|less) than (?:or (?:equal to|same as) )?(?:the )?(?:current|installed|running)`),
	regexp.MustCompile(
		`(?:same as|equal to|equals|identical to|matches|not newer than|not greater than) (?:the )?(?:current|currently|installed|running)`,
	),
	regexp.MustCompile(
		`(?:current|installed|running)(?: os)? version[^;]{0,40}(?:is )?(?:newer than|later than|greater than|same as|equal to)[^;]{0,20}(?:target|requested)`,
	),
	regexp.MustCompile(`already (?:installed|running|on|at|up to date|updated)`),
}

// alreadyNewer tells whether the reasons of a rejection call the current version the same as or newer than the target (rules 8).
func alreadyNewer(reasons []status.Reason) bool {
	r := reader{budget: readText}
	return slices.ContainsFunc(reasons, func(reason status.Reason) bool {
		return r.finds(reason.Description, 0) || r.finds(reason.Details, 0)
	})
}

// reader looks for the words in decoded JSON, down to a few levels: Apple's details vary from error to error.
type reader struct{ budget int }

func (r *reader) finds(v any, depth int) bool {
	if depth > 4 {
		return false
	}
	switch v := v.(type) {
	case string:
		v = v[:min(len(v), r.budget)]
		r.budget -= len(v)
		return saysNotAbove(v)
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return r.finds(e, depth+1) })
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) { // sorted, so that the answer is always the same
			if r.finds(v[k], depth+1) {
				return true
			}
		}
	}
	return false
}

func saysNotAbove(text string) bool {
	text = strings.ToLower(text)
	for _, re := range notAbove {
		if re.MatchString(text) {
			// The numbers, where the text has them, count more than its words.
			m := versionsNamed.FindStringSubmatch(text)
			return m == nil || release.Version(m[1]).Compare(release.Version(m[2])) <= 0
		}
	}
	return false
}

var (
	powerWords = []string{
		"battery",
		"batteries",
		"poweradapter",
		"acpower",
		"notpluggedin",
		"externalpower",
		"insufficientpower",
		"notenoughpower",
	}
	diskWords = []string{
		"diskspace",
		"freespace",
		"enoughspace",
		"insufficientspace",
		"nospaceleft",
		"storagespace",
		"enoughstorage",
		"diskfull",
		"diskisfull",
		"volumeisfull",
		"enoughdisk",
		"insufficientdisk",
		"spaceavailable",
		"insufficientstorage",
	}
)

// causes are the codes for what a failure text names.
func causes(text string) []string {
	plain := strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '_' {
			return -1
		}
		return r
	}, strings.ToLower(text[:min(len(text), readText)]))
	var out []string
	if containsAny(plain, powerWords) {
		out = append(out, FailureBattery)
	}
	if containsAny(plain, diskWords) {
		out = append(out, FailureDisk)
	}
	return out
}

func containsAny(s string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}

// firstSilicon is the first generation of each family that is Apple silicon, for the identifiers in use before "Mac13,1".
var firstSilicon = []struct {
	family string
	number int
}{{"MacBookAir", 10}, {"MacBookPro", 17}, {"Macmini", 9}, {"iMac", 21}, {"VirtualMac", 2}, {"Mac", 13}}

// appleSilicon tells whether a Mac is Apple silicon, by its model identifier: all of "Mac13,1" and later, and the first ones that
// still carried their family's name. Without a model the program's table of boards decides, which lists Apple silicon only; what
// neither knows is taken as Intel, so that nothing is asked of it in vain.
func appleSilicon(f *status.Facts) bool {
	model := f.Model
	if model == "" {
		model, _ = release.ModelOf(f.Board)
		if model == "" {
			return f.Board == "VMA2MACOSAP" // a virtual Mac
		}
	}
	if _, ok := release.BoardOf(model); ok {
		return true
	}
	for _, s := range firstSilicon {
		if rest, ok := strings.CutPrefix(model, s.family); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			number, _, _ := strings.Cut(rest, ",")
			return release.Version(number).Major() >= s.number
		}
	}
	return false
}
