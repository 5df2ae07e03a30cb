package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write writes files into a new folder, which becomes the working directory.
func write(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A file with many faults names all of them, sorted, each where it stands.
func TestValidateNamesEveryFault(t *testing.T) {
	write(t, map[string]string{"state/policies.yaml": `# the fleet
kind: policy
name: everyone
priority: high
updates:
  mode: often
  within_days: 0
  colour: 1
notice_days: 91
---
kind: policy
name: lab
priority: 20
assign:
  groups: [lab]
  when: "model startsWith"
updates: {mode: automatic, within_days: 14}
---
kind: group
name: lab
---
kind: group
name: lab
devices: ["C02", 5]
---
kind: hold
name: 26.6
reason: breaks VPN
---
kind: hold
name: "nonsense"
reason: breaks VPN
---
kind: printer
name: x
---
kind: policy
name: other
priority: 20
updates: {mode: automatic, within_days: 14}
`})
	got := call(t, nil, "validate", "state")
	want := []string{
		`state/policies.yaml:4:11: priority: must be an integer, not a string`,
		`state/policies.yaml:6:9: updates.mode: must be one of "automatic", "minimum", "exact", "none"`,
		`state/policies.yaml:7:16: updates.within_days: must be between 1 and 365`,
		`state/policies.yaml:8:3: updates.colour: is not a known field`,
		`state/policies.yaml:9:14: notice_days: must be between 0 and 90`,
		`state/policies.yaml:16:9: assign.when: `,
		`state/policies.yaml:19:1: devices: is required`,
		`state/policies.yaml:23:7: name: another group is called "lab"`,
		`state/policies.yaml:24:18: devices.1: must be a string, not a number`,
		`state/policies.yaml:27:7: name: must be a text; write "26.6" in quotes`,
		`state/policies.yaml:31:7: name: `,
		`state/policies.yaml:34:7: kind: must be one of policy, group, hold, freeze, declaration, webhook`,
		`state/policies.yaml:39:11: priority: policy "lab" has priority 20 too: priorities must differ`,
	}
	lines := strings.Split(strings.TrimSuffix(got.out, "\n"), "\n")
	if got.code != ExitFailed || got.errs != "" || len(lines) != len(want) {
		t.Fatalf("%d, %q:\n%s", got.code, got.errs, got.out)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("line %d is\n%s\nwant\n%s", i+1, lines[i], want[i])
		}
	}
}

func TestValidate(t *testing.T) {
	const good = "kind: policy\nname: everyone\npriority: 10\nupdates: {mode: minimum, version: \"26.6\", deadline: \"2036-12-01T12:00:00\"}\n"
	for _, c := range []struct {
		name, text, want string
		code             int
	}{
		{"a policy", good, "1 objects, no fault", 0},
		{"JSON", `{"kind":"group","name":"lab","devices":["C02"]}`, "1 objects, no fault", 0},
		{"comments only", "# nothing yet\n", "0 objects, no fault", 0},
		{"several documents", good + "---\nkind: hold\nname: \"27\"\nreason: not yet\n", "2 objects, no fault", 0},
		{"an anchor", "kind: group\nname: &n lab\ndevices: []\n", "2:7: name: anchors and aliases are not taken", 1},
		{"an alias", "kind: group\nname: lab\ndevices: *all\n", "3:10: devices: anchors and aliases are not taken", 1},
		{"a merge", "kind: group\nname: lab\n<<: {devices: []}\n", "3:1: merging is not taken", 1},
		{"a tag", "kind: group\nname: !!str lab\ndevices: []\n", "2:7: name: tags are not taken", 1},
		{"a tab", "kind: group\nname: lab\n\tdevices: []\n", ":3:1: ", 1},
		{"a key twice", "kind: group\nname: lab\nname: lab\ndevices: []\n", ":3:1: ", 1},
		{"binary", "\x00\x01\x02", ":1:1: is not text in UTF-8", 1},
		{"not UTF-8", "kind: \xff\n", ":1:1: is not text in UTF-8", 1},
		{"a list", "- kind: group\n", ":1:1: must be an object with kind and name", 1},
		{"no kind", "name: lab\n", ":1:1: kind: is required", 1},
		{"no version that there is", "kind: policy\nname: a\npriority: 1\nupdates:\n  mode: exact\n  version: \"26.99\"\n  deadline: \"2036-12-01T12:00:00\"\n", ":6:12: updates.version: ", 1},
		{"a control character in a name", "kind: group\nname: \"\\e[2J\"\ndevices: []\n", `:2:7: name: must be`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, map[string]string{"a.yaml": c.text, ".git/b.yaml": "\x00", "README.md": "\x00"})
			got := call(t, nil, "validate", ".")
			if got.code != c.code || !strings.Contains(got.out, c.want) {
				t.Errorf("%d, %s%s; want %d, %s", got.code, got.out, got.errs, c.code, c.want)
			}
			if strings.Contains(got.out, "\x1b") {
				t.Errorf("%q has characters that a terminal obeys", got.out)
			}
		})
	}
	if got := call(t, nil, "validate", "absent.yaml"); got.code != ExitFailed || !strings.Contains(got.errs, "absent.yaml") {
		t.Errorf("a file that is not there: %+v", got)
	}
	if got := call(t, nil, "validate"); got.code != ExitUsage {
		t.Errorf("no path: %+v", got)
	}
}

// Whatever the order of the paths, the same files give the same lines.
func TestValidateIsStable(t *testing.T) {
	write(t, map[string]string{"a.yaml": "kind: x\n", "b.yaml": "kind: y\n"})
	one, two := call(t, nil, "validate", "a.yaml", "b.yaml"), call(t, nil, "validate", "b.yaml", "a.yaml", ".")
	if diff := cmp.Diff(one.out, strings.ReplaceAll(two.out, "./", "")); diff != "" {
		t.Error(diff)
	}
}

// Whatever a file holds, it is read or refused, and every fault stands at a line of it.
func FuzzReadFile(f *testing.F) {
	for _, seed := range []string{"kind: group\nname: a\ndevices: [b]\n", "a: &x 1\nb: *x\n", "? [a]\n: b\n", "- - -\n", "a: |\n  b\n", "\t", "%YAML 1.2\n---\na", "{a: {b: [c, {d: e}]}}", "a: !!int 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		objects, faults := readFile("f.yaml", []byte(text))
		for _, x := range faults {
			if x.line < 1 || x.column < 1 || x.reason == "" {
				t.Errorf("%+v", x)
			}
		}
		for _, o := range objects {
			if _, err := o.json(); err != nil {
				t.Errorf("%v", err)
			}
		}
	})
}
