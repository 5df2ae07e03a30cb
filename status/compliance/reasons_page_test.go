package compliance

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the page's table of reasons")

var (
	optionalPart = regexp.MustCompile(`\[[^\]]*\]`)
	evidenceKey  = regexp.MustCompile(`\{([a-z_]+)\}`)
)

// reasonsTable is the table of reasons as docs/reasons.md shows it: the sentences without what depends on the evidence that there is.
func reasonsTable() string {
	plain := func(pattern string) string {
		pattern = optionalPart.ReplaceAllString(pattern, "")
		pattern = evidenceKey.ReplaceAllString(pattern, "*$1*")
		return strings.ReplaceAll(pattern, "|", `\|`)
	}
	var b strings.Builder
	b.WriteString("| code | meaning | what to do |\n|---|---|---|\n")
	for _, c := range Codes {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.Code, plain(c.Text), plain(c.Advice))
	}
	return b.String()
}

// docs/reasons.md documents every reason code. To write its table anew: go test ./status/compliance -run TestReasonsPage -update
func TestReasonsPage(t *testing.T) {
	const path, begin, end = "../../docs/reasons.md", "<!-- reasons -->\n", "<!-- /reasons -->"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no %q and %q", path, begin, end)
	}
	want := "\n" + reasonsTable() + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("the page's table of reasons is not that of compliance.Codes; write it with -update:\n%s", want)
	}
	for _, s := range States {
		if !strings.Contains(before, fmt.Sprintf("| `%s` |", s)) {
			t.Errorf("docs/reasons.md's table of states lacks %s", s)
		}
	}
	for _, f := range FlagNames {
		if !strings.Contains(before, "`"+f+"`") {
			t.Errorf("docs/reasons.md does not name the flag %s", f)
		}
	}
}
