package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The most that is read of files, as the server takes it.
const (
	maxObjects = 5000
	maxFile    = 16 << 20 // bytes
	maxDepth   = 32
)

// spot is where something stands in a file.
type spot struct {
	file         string
	line, column int
}

// fault is something wrong in a file.
type fault struct {
	spot
	field, reason string
}

func (f fault) String() string {
	if f.field == "" {
		return fmt.Sprintf("%s:%d:%d: %s", f.file, f.line, f.column, f.reason)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.file, f.line, f.column, f.field, f.reason)
}

// object is one document of a file: what it says, and where.
type object struct {
	spot   // of its first line
	kind   string
	name   string
	body   map[string]any // without kind, and without name where the route has it
	values map[string]spot
	keys   map[string]spot
}

// at is where a fault of a field stands: of a key that is not known the key, of one that is missing the document, else the value.
func (o *object) at(field, reason string) spot {
	if reason == "is not a known field" {
		if s, ok := o.keys[field]; ok {
			return s
		}
	}
	for path := field; path != ""; {
		if s, ok := o.values[path]; ok && (path == field || reason != "is required") {
			return s
		}
		i := strings.LastIndexByte(path, '.')
		path = path[:max(i, 0)]
	}
	return o.spot
}

// readPaths reads the YAML and JSON files that are named, and those of the folders that are named, in order.
func readPaths(paths []string) (objects []*object, faults []fault, err error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if name != path && strings.HasPrefix(d.Name(), ".") {
					return fs.SkipDir
				}
				return nil
			}
			if name == path || slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(files)
	for _, name := range slices.Compact(files) {
		info, err := os.Stat(name)
		if err != nil {
			return nil, nil, err
		}
		if info.Size() > maxFile {
			return nil, nil, fmt.Errorf("%s is over 16 MiB", name)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		o, f := readFile(name, b)
		if objects, faults = append(objects, o...), append(faults, f...); len(objects) > maxObjects {
			return nil, nil, fmt.Errorf("there are more than %d objects", maxObjects)
		}
	}
	return objects, faults, nil
}

// readFile reads the documents of a file.
func readFile(name string, b []byte) (objects []*object, faults []fault) {
	start := spot{name, 1, 1}
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return nil, []fault{{start, "", "is not text in UTF-8"}}
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, []fault{syntaxFault(start, err)}
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.NullType {
			continue
		}
		r := reader{file: name, object: &object{values: map[string]spot{}, keys: map[string]spot{}}}
		r.object.spot = r.spot(first(doc.Body))
		v := r.value(doc.Body, "", 0)
		if body, ok := v.(map[string]any); ok && len(r.faults) == 0 {
			r.head(body)
		} else if !ok && len(r.faults) == 0 {
			r.fault(doc.Body, "", "must be an object with kind and name")
		}
		if faults = append(faults, r.faults...); len(r.faults) == 0 {
			objects = append(objects, r.object)
		}
	}
	return objects, faults
}

func syntaxFault(start spot, err error) fault {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		if p := syntax.GetToken().Position; p != nil {
			start.line, start.column = p.Line, p.Column
		}
		return fault{start, "", strings.Join(strings.Fields(syntax.GetMessage()), " ")}
	}
	return fault{start, "", strings.Join(strings.Fields(err.Error()), " ")}
}

// reader turns a document into values, and notes where each stands.
type reader struct {
	file   string
	object *object
	faults []fault
}

func (r *reader) spot(t *token.Token) spot {
	if t == nil || t.Position == nil {
		return spot{r.file, 1, 1}
	}
	return spot{r.file, t.Position.Line, t.Position.Column}
}

func (r *reader) fault(n ast.Node, field, reason string) {
	r.faults = append(r.faults, fault{r.spot(first(n)), field, reason})
}

// first is the token that a node begins with: of a mapping that of its first key.
func first(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return first(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

func (r *reader) value(n ast.Node, path string, depth int) any {
	if path != "" {
		r.object.values[path] = r.spot(first(n))
	}
	if depth > maxDepth {
		r.fault(n, path, "is nested too deeply")
		return nil
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(n.Values, path, depth)
	case *ast.MappingValueNode:
		return r.mapping([]*ast.MappingValueNode{n}, path, depth)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for i, e := range n.Values {
			list = append(list, r.value(e, join(path, fmt.Sprint(i)), depth+1))
		}
		return list
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.(ast.ScalarNode).GetValue()
	case *ast.NullNode:
		return nil
	case *ast.AnchorNode, *ast.AliasNode:
		r.fault(n, path, "anchors and aliases are not taken: write the value itself")
	case *ast.TagNode:
		r.fault(n, path, "tags are not taken")
	default:
		r.fault(n, path, "is not a value")
	}
	return nil
}

func (r *reader) mapping(pairs []*ast.MappingValueNode, path string, depth int) any {
	o := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			switch pair.Key.(type) {
			case *ast.MergeKeyNode:
				r.fault(pair, path, "merging is not taken: write the fields themselves")
			default:
				r.fault(pair, path, "a key must be a text")
			}
			continue
		}
		at := join(path, key.Value)
		if _, twice := o[key.Value]; twice {
			r.faults = append(r.faults, fault{r.spot(key.GetToken()), at, "stands here twice"})
			continue
		}
		r.object.keys[at] = r.spot(key.GetToken())
		o[key.Value] = r.value(pair.Value, at, depth+1)
	}
	return o
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// head takes kind and name out of a document.
func (r *reader) head(body map[string]any) {
	o := r.object
	text := func(key string) string {
		v, given := body[key]
		s, ok := v.(string)
		switch {
		case !given:
			r.faults = append(r.faults, fault{o.spot, key, "is required"})
		case !ok:
			r.faults = append(
				r.faults,
				fault{o.values[key], key, fmt.Sprintf("must be a text; write %q in quotes", fmt.Sprint(v))},
			)
		case s == "":
			r.faults = append(r.faults, fault{o.values[key], key, "must not be empty"})
		}
		return s
	}
	o.kind, o.name, o.body = text("kind"), text("name"), body
	if o.kind != "" && !slices.Contains(kinds, o.kind) {
		r.faults = append(r.faults, fault{o.values["kind"], "kind", "must be one of " + strings.Join(kinds, ", ")})
	}
	delete(body, "kind")
	if o.kind != "policy" && o.kind != "freeze" {
		delete(body, "name")
	}
}

// json is the body as the API takes it.
func (o *object) json() ([]byte, error) { return json.Marshal(o.body) }
