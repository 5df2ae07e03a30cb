package main_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	citation = regexp.MustCompile(`\b[Rr]ules ([0-9]+)(?:\.([0-9]+))?`)
	page     = regexp.MustCompile(`\b[A-Za-z0-9_/-]+\.md\b`)
	section  = regexp.MustCompile(`(?m)^## ([0-9]+)\. `)
	point    = regexp.MustCompile(`(?m)^([0-9]+)\. `)
)

// numbered are the sections of a page with their numbered points.
func numbered(text string) map[string]map[string]bool {
	sections := map[string]map[string]bool{}
	at := section.FindAllStringSubmatchIndex(text, -1)
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		points := map[string]bool{}
		for _, p := range point.FindAllStringSubmatch(text[m[1]:end], -1) {
			points[p[1]] = true
		}
		sections[text[m[2]:m[3]]] = points
	}
	return sections
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every "rules 6.2" of a comment is a point of docs/rules.md, and no comment cites a page that is not in the repository.
func TestCitations(t *testing.T) {
	rules := numbered(read(t, "docs/rules.md"))
	for i := range 17 {
		if n := strconv.Itoa(i + 1); rules[n] == nil {
			t.Errorf("docs/rules.md has no section %s", n)
		}
	}
	folders, fset := source(t)
	cited := 0
	for _, files := range folders {
		for _, f := range files {
			for _, group := range f.ast.Comments {
				text, where := group.Text(), fset.Position(group.Pos())
				for _, m := range citation.FindAllStringSubmatch(text, -1) {
					cited++
					points, ok := rules[m[1]]
					if !ok || m[2] != "" && !points[m[2]] {
						t.Errorf("%s: docs/rules.md has no %s", where, m[0])
					}
				}
				for _, name := range page.FindAllString(text, -1) {
					if _, err := os.Stat("../" + name); err != nil {
						t.Errorf("%s cites %s, which is not in the repository", where, name)
					}
				}
			}
		}
	}
	if cited < 20 {
		t.Errorf("%d citations of the rules were found: the comments were to be read", cited)
	}
}

// pages are all documents of the repository, from its root.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".") || name == "out") {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			list = append(list, name)
		}
		return err
	})
	if err != nil || len(list) < 4 {
		t.Fatalf("%d documents (%v)", len(list), err)
	}
	return list
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the headings of a page as links name them.
func anchors(text string) map[string]bool {
	known := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		known[strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return known
}

// Every link from one document to another file, or to a heading, leads somewhere.
func TestLinks(t *testing.T) {
	for _, name := range pages(t) {
		text := fenced.ReplaceAllString(read(t, name), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %s is no link: %v", name, m[1], err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			target := name
			if u.Path != "" {
				target = path.Join(path.Dir(name), u.Path)
			}
			if _, err := os.Stat("../" + target); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
				continue
			}
			if u.Fragment != "" && !anchors(read(t, target))[u.Fragment] {
				t.Errorf("%s links to %s, and that page has no such heading", name, m[1])
			}
		}
	}
}

// The README stays an entrance: everything else is a page of its own.
func TestReadmeIsShort(t *testing.T) {
	if n := strings.Count(read(t, "README.md"), "\n"); n > 200 {
		t.Errorf("README.md has %d lines; at most 200", n)
	}
}
