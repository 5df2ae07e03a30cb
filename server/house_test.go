package main_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "plimsoll"

// pure are the domain packages: they do no I/O and read no clock.
var pure = []string{
	"declarations", "declarations/release", "declarations/policy", "declarations/calendar", "declarations/plan",
	"declarations/command", "declarations/enrolment", "status", "status/compliance", "status/patching",
}

// table says which packages of ours each package may import, test files and schemas/gen aside.
var table = map[string][]string{
	"declarations":             nil,
	"declarations/release":     nil,
	"status":                   {"declarations/release"},
	"declarations/policy":      {"declarations", "declarations/release", "status"},
	"declarations/plan":        {"declarations", "declarations/release", "declarations/policy", "declarations/calendar", "status"},
	"declarations/calendar":    {"declarations", "declarations/release", "declarations/policy"},
	"declarations/command":     {"declarations", "declarations/release", "declarations/policy", "declarations/plan", "status"},
	"declarations/enrolment":   {"declarations", "declarations/release", "declarations/policy", "declarations/plan", "status"},
	"status/patching":          {"declarations/release", "status"},
	"status/compliance":        {"declarations", "declarations/release", "declarations/policy", "declarations/plan", "declarations/command", "status"},
	"storage":                  with("storage/wire"),
	"storage/wire":             with(),
	"storage/archive":          {"storage"},
	"storage/migrate":          {"storage"},
	"storage/bolt":             {"storage", "storage/bolt/wal"},
	"storage/bolt/wal":         nil,
	"storage/bolt/wal/waltest": {"storage/bolt/wal"},
	"storage/beside":           {"storage"},
	"storage/redis":            {"storage"},
	"storage/nano":             {"storage"},
	"storage/storagetest":      {"storage"},
	"schemas":                  nil,
	"server/feed":              nil,
	"server/mdm":               {"server/fleet", "server/mdm/cms", "server/mdm/message", "storage/nano", "declarations"},
	"server/mdm/cms":           nil,
	"server/mdm/commandlog":    {"server/fleet", "storage/nano"},
	"server/metrics":           with("server/fleet"),
	"server/mdm/message":       {"status"},
	"server/companion":         {"server/fleet", "server/mdm/message", "declarations", "storage", "storage/beside"},
	"server/sheet":             with("server/fleet"),
	"server/proof":             with("server/fleet", "server/sheet"),
	"server/rest":              with("server/fleet", "schemas"),
	"server/api":               with("server/fleet", "server/proof", "server/metrics", "server/rest", "schemas", "server/sheet"),
	"server/app":               {"server/companion", "server/feed", "server/fleet", "server/mdm", "server/mdm/commandlog", "server/metrics", "server/api", "server/web", "storage", "storage/bolt", "storage/redis", "storage/nano"},
	"server/cli":               {"schemas", "declarations", "declarations/release", "declarations/policy", "storage/archive"},
	"server":                   {"server/app", "server/cli", "examples/macs/sim"},
	"examples/macs":            {"declarations", "declarations/release", "examples/macs/sim"},
	"examples/macs/sim":        {"declarations", "declarations/release"},
	"examples/simulate":        {"examples/simulate/model"},
	"examples/simulate/model":  {"declarations", "declarations/release", "declarations/policy", "declarations/plan", "status"},
}

func with(more ...string) []string { return append(slices.Clone(pure), more...) }

// contained are libraries that few packages may know, so that they can be replaced.
var contained = map[string][]string{
	"github.com/labstack/echo/":       {"server/api", "server/rest", "server/web"},
	"github.com/micromdm/nanomdm/":    {"server/mdm", "storage/nano"},
	"github.com/redis/go-redis/":      {"storage/redis"},
	"go.etcd.io/bbolt":                {"storage/bolt"},
	"filippo.io/age":                  {"storage/archive"},
	"github.com/invopop/jsonschema":   {}, // schemas/gen and tests only
	"github.com/expr-lang/expr":       {"declarations/policy"},
	"github.com/alecthomas/kong":      {"server", "server/app", "server/cli"},
	"github.com/micromdm/nanolib/":    {"server/mdm", "storage/nano", "server/app"},
	"github.com/santhosh-tekuri/json": {"schemas"},
}

// notPure are what the domain packages must not import.
var notPure = []string{"net/http", "context", "log/slog"}

// long are the files over 400 lines, each with its reason.
var long = map[string]string{
	"status/compliance/codes.go": "a table of all reasons, a line for each of their parts",
}

const maxLines = 400

type file struct {
	path  string // from the module's root, with slashes
	lines int
	ast   *ast.File
	test  bool
}

// parsed is the module, read once for all tests.
var parsed = sync.OnceValues(parse)

type code struct {
	folders map[string][]file
	fset    *token.FileSet
}

// source gives every Go file of the module by folder, those for other systems too.
func source(t *testing.T) (map[string][]file, *token.FileSet) {
	t.Helper()
	c, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.folders) < 10 {
		t.Fatalf("%d folders with Go files: the whole module was to be read", len(c.folders))
	}
	return c.folders, c.fset
}

func parse() (code, error) {
	c := code{folders: map[string][]file{}, fset: token.NewFileSet()}
	if _, err := os.Stat("../go.mod"); err != nil {
		return c, err
	}
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); base == "testdata" || name != "." && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(c.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f := file{path: name, lines: bytes.Count(text, []byte("\n")), ast: tree, test: strings.HasSuffix(name, "_test.go")}
		c.folders[path.Dir(name)] = append(c.folders[path.Dir(name)], f)
		return nil
	})
	return c, err
}

func imports(f file) []string {
	var all []string
	for _, s := range f.ast.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			all = append(all, p)
		}
	}
	return all
}

func TestImports(t *testing.T) {
	folders, _ := source(t)
	for folder, files := range folders {
		allowed, known := table[folder]
		for _, f := range files {
			if f.test || folder == "schemas/gen" {
				continue
			}
			if !known {
				t.Errorf("%s: the package is not in the table", f.path)
				break
			}
			for _, imported := range imports(f) {
				ours, isOurs := strings.CutPrefix(imported, module+"/")
				if isOurs && !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s; %s may import of ours: %v", f.path, ours, folder, allowed)
				}
				for library, users := range contained {
					if strings.HasPrefix(imported+"/", library) && !slices.Contains(users, folder) {
						t.Errorf("%s imports %s, which belongs in %v only", f.path, imported, users)
					}
				}
			}
		}
	}
}

func TestPurity(t *testing.T) {
	folders, fset := source(t)
	for _, folder := range pure {
		if len(folders[folder]) == 0 {
			t.Errorf("%s has no Go files", folder)
		}
		for _, f := range folders[folder] {
			if f.test {
				continue
			}
			clock := ""
			for _, s := range f.ast.Imports {
				imported, _ := strconv.Unquote(s.Path.Value)
				for _, banned := range notPure {
					if imported == banned || strings.HasPrefix(imported, banned+"/") {
						t.Errorf("%s imports %s", f.path, imported)
					}
				}
				if imported == "time" {
					clock = "time"
					if s.Name != nil {
						clock = s.Name.Name
					}
				}
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Now", "Since", "Until"}, s.Sel.Name) {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == clock {
						t.Errorf("%s reads the clock: time.%s", fset.Position(s.Pos()), s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// sentenceEnd is where one sentence ends and another begins: "rules 7" and "e.g. that" are neither.
var sentenceEnd = regexp.MustCompile(`[.!?]["')]?\s+[A-Z]`)

func TestPackageComments(t *testing.T) {
	folders, _ := source(t)
	for folder, files := range folders {
		var comments, names []string
		for _, f := range files {
			if f.test {
				continue
			}
			names = append(names, f.ast.Name.Name)
			if f.ast.Doc != nil {
				comments = append(comments, strings.TrimSpace(f.ast.Doc.Text()))
			}
		}
		if len(names) == 0 { // tests alone
			continue
		}
		if len(comments) != 1 {
			t.Errorf("%s has %d package comments, want one", folder, len(comments))
			continue
		}
		if fault := commentFault(names[0], comments[0]); fault != "" {
			t.Errorf("%s: the package comment %s:\n%s", folder, fault, comments[0])
		}
	}
}

func commentFault(name, text string) string {
	switch {
	case name == "main" && strings.HasPrefix(text, "Command "): // godoc's form for programs
		return commentFault(name, "Package main "+strings.TrimPrefix(text, "Command "))
	case !strings.HasPrefix(text, "Package "+name+" "):
		return `does not begin with "Package ` + name + `"`
	case !strings.HasSuffix(text, "."):
		return "does not end with a full stop"
	case strings.Contains(text, "\n\n"), sentenceEnd.MatchString(text):
		return "is more than one sentence"
	}
	return ""
}

func TestCommentFault(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"one sentence", "Package x does this.", ""},
		{"over two lines, with a section's number", "Package x does this, as rules 7\nhas it, e.g. that.", ""},
		{"two sentences", "Package x does this. It does that.", "is more than one sentence"},
		{"two paragraphs", "Package x does this:\n\nthat.", "is more than one sentence"},
		{"another beginning", "This does this.", `does not begin with "Package x"`},
		{"no end", "Package x does this", "does not end with a full stop"},
	} {
		if got := commentFault("x", c.text); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPackageNames(t *testing.T) {
	folders, _ := source(t)
	for folder, files := range folders {
		for _, f := range files {
			switch strings.TrimSuffix(f.ast.Name.Name, "_test") {
			case "util", "utils", "common", "helpers", "models", "interfaces":
				t.Errorf("%s: %s is no name for package %s: it says nothing about what is in it", f.path, f.ast.Name.Name, folder)
			}
		}
	}
}

func TestFileLengths(t *testing.T) {
	folders, _ := source(t)
	seen := map[string]bool{}
	for _, files := range folders {
		for _, f := range files {
			reason, excused := long[f.path]
			seen[f.path] = true
			switch {
			case f.lines > maxLines && reason == "" && !f.test: // tables of tests may be long
				t.Errorf("%s has %d lines; split it, or give the reason in this test", f.path, f.lines)
			case f.lines <= maxLines && excused:
				t.Errorf("%s has %d lines and needs no excuse any more", f.path, f.lines)
			}
			if f.path == "server/main.go" && f.lines >= 150 {
				t.Errorf("server/main.go has %d lines, want under 150", f.lines)
			}
		}
	}
	for name := range long {
		if !seen[name] {
			t.Errorf("%s is excused, and is not there", name)
		}
	}
}
