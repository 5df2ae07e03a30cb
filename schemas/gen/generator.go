package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"plimsoll/schemas"
)

// object is a part of a schema as plain data.
type object = map[string]any

type generator struct {
	reflector jsonschema.Reflector
	// defs are all definitions met so far, as the OpenAPI document's components; types are the types behind them.
	defs  map[string]object
	types map[string]reflect.Type
	used  map[string]bool // rules
}

// commented are the folders whose Go comments become descriptions.
var commented = []string{"declarations", "status/compliance", "server/fleet", "server/api", "server/rest"}

func newGenerator() (*generator, error) {
	g := &generator{defs: map[string]object{}, types: map[string]reflect.Type{}, used: map[string]bool{}}
	g.reflector = jsonschema.Reflector{
		BaseSchemaID: jsonschema.ID(strings.TrimSuffix(schemas.Base, "/")),
		Mapper:       mapped,
		Namer:        typeName,
	}
	for _, dir := range commented {
		if err := g.reflector.AddGoComments("plimsoll", filepath.FromSlash(dir)); err != nil {
			return nil, fmt.Errorf("read the comments of %s: %w", dir, err)
		}
	}
	return g, nil
}

// document is the schema of one document with everything that it refers to.
func (g *generator) document(d document) (object, error) {
	t := reflect.TypeOf(d.of)
	g.reflector.ExpandedStruct = d.key == ""
	doc, err := plain(g.reflector.ReflectFromType(t))
	if err != nil {
		return nil, err
	}
	defs, _ := doc["$defs"].(object)
	if defs == nil {
		defs = object{}
	}
	if d.key != "" {
		doc = object{
			"$schema": doc["$schema"],
			"$defs":   defs,
			"type":    "object",
			"properties": object{
				d.key: object{"type": "array", "items": object{"$ref": "#/$defs/" + typeName(t)}},
				"next_cursor": object{
					"type":        "string",
					"description": "Where the list goes on, for ?cursor=; absent at its end.",
				},
			},
			"required":             []any{d.key},
			"additionalProperties": false,
		}
	} else {
		// The definition itself is the root; for the work below it is one of the definitions.
		defs[typeName(t)] = doc
	}
	doc["$id"] = schemas.Base + d.file() + ".json"
	if err := g.refine(t, defs); err != nil {
		return nil, err
	}
	if d.key == "" {
		delete(defs, typeName(t))
	}
	if doc["$defs"] = defs; len(defs) == 0 {
		delete(doc, "$defs")
	}
	tidy(doc)
	for name, def := range defs {
		if err := g.keep(name, def.(object)); err != nil {
			return nil, err
		}
	}
	return doc, g.keep(d.name(), doc)
}

// keep notes a definition as a component; the same name must mean the same everywhere.
func (g *generator) keep(name string, def object) error {
	component := maps.Clone(def)
	delete(component, "$defs")
	delete(component, "$id")
	delete(component, "$schema")
	if old, ok := g.defs[name]; ok {
		if !reflect.DeepEqual(old, component) {
			return fmt.Errorf("two different definitions are called %s", name)
		}
		return nil
	}
	g.defs[name] = component
	return nil
}

func plain(s *jsonschema.Schema) (object, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var o object
	return o, json.Unmarshal(b, &o)
}

// refine adds to the definitions what reflection cannot see: which values may be null, and the rules.
func (g *generator) refine(t reflect.Type, defs object) error {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || mapped(t) != nil {
		return nil
	}
	name := typeName(t)
	def, ok := defs[name].(object)
	if !ok {
		return fmt.Errorf("%s has no definition", name)
	}
	if old, ok := g.types[name]; ok && old != t {
		return fmt.Errorf("%s and %s are both called %s", old, t, name)
	}
	g.types[name] = t
	if def["x-refined"] != nil {
		return nil
	}
	def["x-refined"] = true
	return g.fields(t, def, defs)
}

func (g *generator) fields(t reflect.Type, def, defs object) error {
	properties, _ := def["properties"].(object)
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if f.Anonymous && tag == "" {
			if err := g.fields(f.Type, def, defs); err != nil {
				return err
			}
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		p, ok := properties[name].(object)
		if !ok {
			if properties[name] != true {
				return fmt.Errorf("%s has no property %q", t, name)
			}
			p = object{} // anything goes
			properties[name] = p
		}
		key := typeName(t) + "." + name
		if r, ok := rules[key]; ok {
			g.used[key] = true
			r(p)
		}
		if f.Type.Kind() == reflect.Pointer && !strings.Contains(options, "omit") {
			nullable(p)
		}
		if err := g.refine(f.Type, defs); err != nil {
			return err
		}
	}
	return nil
}

// nullable lets a property be null as well.
func nullable(p object) {
	if t, ok := p["type"].(string); ok {
		p["type"] = []any{t, "null"}
		if enum, ok := p["enum"].([]any); ok {
			p["enum"] = append(slices.Clone(enum), nil)
		}
		return
	}
	if ref, ok := p["$ref"]; ok {
		delete(p, "$ref")
		p["oneOf"] = []any{object{"$ref": ref}, object{"type": "null"}}
	}
}

// references are pointers to our own pages, which mean nothing to a client.
var references = regexp.MustCompile(`\s*\((?:rules|docs/api\.md|rules\.md|api\.md)(?: [^)]*)?\)`)

// tidy removes marks and our own references, and joins the lines of descriptions.
func tidy(v any) {
	switch v := v.(type) {
	case object:
		delete(v, "x-refined")
		if _, closed := v["additionalProperties"]; v["type"] == "object" && v["properties"] == nil && !closed {
			v["additionalProperties"] = true // said, because generators of clients need to be told
		}
		if s, ok := v["description"].(string); ok {
			v["description"] = strings.Join(strings.Fields(references.ReplaceAllString(s, "")), " ")
		}
		for _, e := range v {
			tidy(e)
		}
	case []any:
		for _, e := range v {
			tidy(e)
		}
	}
}

func (g *generator) unusedRules() error {
	for _, key := range slices.Sorted(maps.Keys(rules)) {
		if !g.used[key] {
			return fmt.Errorf("there is a rule for %s, but no such property", key)
		}
	}
	return nil
}
