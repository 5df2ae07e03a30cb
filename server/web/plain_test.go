package web_test

import (
	"html"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// machine is text that is shown as it is: documents, identifiers, evidence, what was typed.
	machine = regexp.MustCompile(`(?s)<(code|pre|textarea|datalist|option)\b.*?</(code|pre|textarea|datalist|option)>|<dl class="items">.*?</dl>|<details class="evidence">.*?</details>`)
	tag     = regexp.MustCompile(`(?s)<[^>]*>`)
)

// said is the text of a page, without what is shown as it is.
func said(body string) string {
	_, body, _ = strings.Cut(body, "<body")
	return html.UnescapeString(tag.ReplaceAllString(machine.ReplaceAllString(body, " "), " "))
}

// ours are phrases that only somebody who wrote this program understands.
var ours = map[string]*regexp.Regexp{
	"a route":                      regexp.MustCompile(`\B/(v1|self|devices|policies|groups|releases|enroll|mdm|scep|metrics)\b|\b(GET|PUT|POST|DELETE) /`),
	"a field or a code":            regexp.MustCompile(`\b[a-z]+_[a-z_]+\b|\bos\.(track|upgrade)\b|\bupdates\.[a-z]+`),
	"a lane by its name":           regexp.MustCompile(`\blane (patch|upgrade|bsi)\b`),
	"a number without its noun":    regexp.MustCompile(`\b1 (Macs|days|hours|releases|boards|seconds)\b`),
	"an instant without its words": regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d`),
	"a phrase of words.md":         regexp.MustCompile(`(?i)why it stands there|on its own clock|let go of|changes something for|how far|all the same|what is wrong stands`),
}

// TestPagesSpeakPlainly reads every page as an admin and as a user.
func TestPagesSpeakPlainly(t *testing.T) {
	w := newWorld(t)
	w.seed()
	c := w.client().signIn(adminToken)
	addresses := w.addresses()
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		p := c.get(addresses[name])
		if p.status == http.StatusSeeOther { // the page on which people sign in, for one who is
			p = w.client().get(addresses[name])
		}
		if name == "report" {
			continue // a Mac's own words
		}
		speaksPlainly(t, name, p.body)
	}
}

func speaksPlainly(t *testing.T, name, body string) {
	t.Helper()
	text := said(body)
	for what, phrase := range ours {
		if found := phrase.FindStringIndex(text); found != nil {
			t.Errorf("%s says %s: …%s…", name, what, strings.Join(strings.Fields(text[max(0, found[0]-60):min(len(text), found[1]+40)]), " "))
		}
	}
}

// pageBudget is what a page may weigh with all that it loads, in bytes.
const pageBudget = 150_000

// TestPagesAreSmall holds each page of the seeded world with its assets against the budget.
func TestPagesAreSmall(t *testing.T) {
	w := newWorld(t)
	w.seed()
	w.client().signIn(adminToken).areSmall(w.addresses())
}

var asset = regexp.MustCompile(`(?:href|src)="(/assets/[^"#]+)`)

// areSmall holds pages against the budget.
func (c *client) areSmall(addresses map[string]string) {
	c.w.t.Helper()
	sizes := map[string]int{}
	for name, address := range addresses {
		p := c.get(address)
		total := len(p.body)
		seen := map[string]bool{}
		for _, m := range asset.FindAllStringSubmatch(p.body, -1) {
			if seen[m[1]] {
				continue
			}
			seen[m[1]] = true
			if _, ok := sizes[m[1]]; !ok {
				sizes[m[1]] = len(c.get(m[1]).body)
			}
			total += sizes[m[1]]
		}
		if total > pageBudget {
			c.w.t.Errorf("%s weighs %d bytes, more than %d", name, total, pageBudget)
		}
	}
}
