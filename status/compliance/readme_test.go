package compliance

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write README.md's table of reasons")

var (
	optionalPart = regexp.MustCompile(`\[[^\]]*\]`)
	evidenceKey  = regexp.MustCompile(`\{([a-z_]+)\}`)
)

// readmeTable is the table of reasons as README.md shows it: the sentences without what depends on the evidence that there is.
func readmeTable() string {
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

// README.md documents every reason code. To write its table anew: go test ./status/compliance -run TestReadmeHasEveryReason -update
func TestReadmeHasEveryReason(t *testing.T) {
	const path, begin, end = "../../README.md", "<!-- reasons -->\n", "<!-- /reasons -->"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no %q and %q", path, begin, end)
	}
	want := "\n" + readmeTable() + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("README.md's table of reasons is not that of compliance.Codes; write it with -update:\n%s", want)
	}
	for _, s := range States {
		if !strings.Contains(before, fmt.Sprintf("| `%s` |", s)) {
			t.Errorf("README.md's table of states lacks %s", s)
		}
	}
	for _, f := range FlagNames {
		if !strings.Contains(before, "`"+f+"`") {
			t.Errorf("README.md does not name the flag %s", f)
		}
	}
}
