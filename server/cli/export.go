package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// exportFiles is the command that writes the server's objects as files.
type exportFiles struct {
	Remote `embed:""`
	Folder string `arg:"" name:"folder" help:"Where to write KIND/NAME.yaml."`
}

// exported are the kinds with the lists that have them, the field that names one, and what only the server knows.
var exported = []struct {
	kind, plural, name string
	known              []string
}{
	{"policy", "policies", "name", nil},
	{"group", "groups", "name", []string{"unknown_members"}},
	{"hold", "holds", "subject", []string{"since_at", "by", "releases"}},
	{"freeze", "freezes", "name", []string{"created_at", "updated_at", "by"}},
}

// Run writes one file for each object: the same state gives the same bytes.
func (e *exportFiles) Run(env *Env) error {
	c, err := e.open()
	if err != nil {
		return err
	}
	count := 0
	for _, k := range exported {
		q := url.Values{"limit": {"1000"}}
		for {
			var page map[string]json.RawMessage
			if err := c.get(env, "/v1/"+k.plural, q, &page); err != nil {
				return err
			}
			dec := json.NewDecoder(bytes.NewReader(page[k.plural]))
			dec.UseNumber()
			var objects []map[string]any
			if err := dec.Decode(&objects); err != nil {
				return fmt.Errorf("the answer to /v1/%s is not understood: %w", k.plural, err)
			}
			for _, o := range objects {
				for _, known := range k.known {
					delete(o, known)
				}
				name, _ := o[k.name].(string)
				delete(o, k.name)
				if err := e.write(k.kind, name, o); err != nil {
					return err
				}
				count++
			}
			next := ""
			if raw := page["next_cursor"]; raw != nil {
				if err := json.Unmarshal(raw, &next); err != nil {
					return fmt.Errorf("the answer to /v1/%s is not understood: %w", k.plural, err)
				}
			}
			if next == "" {
				break
			}
			q.Set("cursor", next)
		}
	}
	_, err = fmt.Fprintf(env.Out, "%d objects written to %s\n", count, e.Folder)
	return err
}

func (e *exportFiles) write(kind, name string, body map[string]any) error {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return fmt.Errorf("the server has a %s with the name %q, which cannot be a file's", kind, name)
	}
	doc := yaml.MapSlice{{Key: "kind", Value: kind}, {Key: "name", Value: name}}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if body[key] != nil {
			doc = append(doc, yaml.MapItem{Key: key, Value: ordered(body[key])})
		}
	}
	b, err := yaml.MarshalWithOptions(doc, yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("write %s/%s: %w", kind, name, err)
	}
	folder := filepath.Join(e.Folder, kind)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name+".yaml"), b, 0o644)
}

// ordered is a value with the members of its objects in the order of their names, and numbers as YAML has them.
func ordered(v any) any {
	switch v := v.(type) {
	case map[string]any:
		s := yaml.MapSlice{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			s = append(s, yaml.MapItem{Key: key, Value: ordered(v[key])})
		}
		return s
	case []any:
		for i := range v {
			v[i] = ordered(v[i])
		}
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		if n, err := v.Float64(); err == nil {
			return n
		}
	}
	return v
}
