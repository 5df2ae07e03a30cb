package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"plimsoll/status/compliance"
)

// openapi is the document written by hand, with the definitions as its components.
func (g *generator) openapi(path string) (object, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc object
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	delete(doc, "x-anchors")
	components := object{}
	for name, def := range g.defs {
		components[name] = hoist(def)
	}
	// The words of the filters: clients' generators take no reference into another schema.
	state, flag := object{"type": "string"}, object{"type": "string"}
	states(state)
	state["enum"] = state["enum"].([]any)[1:] // no filter asks for Macs without a state
	oneOf(compliance.FlagNames...)(flag)
	components["State"], components["Flag"] = state, flag
	doc["components"].(object)["schemas"] = components
	for path, item := range doc["paths"].(object) {
		for method, op := range item.(object) {
			if method == "parameters" {
				continue
			}
			if err := spread(method, op.(object)); err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
		}
	}
	return doc, nil
}

// spread turns x-scope and x-errors into what OpenAPI has for them.
func spread(method string, op object) error {
	responses, ok := op["responses"].(object)
	if !ok {
		return fmt.Errorf("no responses")
	}
	var codes []int
	list, _ := op["x-errors"].([]any)
	for _, c := range list {
		codes = append(codes, c.(int))
	}
	if scope, ok := op["x-scope"]; ok {
		op["security"] = []any{object{"bearer": []any{scope}}, object{"basic": []any{scope}}}
		codes = append(codes, 401, 403, 429)
		if responses["default"] == nil { // else NanoMDM's members stand beside ours
			codes = append(codes, 503)
			if scope != "metrics" {
				codes = append(codes, 400) // a parameter that the route does not know
			}
		}
		if method == "get" && len(responses) == 1 && responses["default"] == nil && scope != "metrics" {
			revalidated(op, responses)
		}
	} else {
		op["security"] = []any{}
	}
	delete(op, "x-errors")
	delete(op, "x-scope")
	for _, c := range codes {
		code := strconv.Itoa(c)
		responses[code] = object{"$ref": "#/components/responses/" + code}
	}
	return nil
}

// revalidated gives a GET what every GET of the API has: an ETag, and 304 for who knows it.
func revalidated(op, responses object) {
	ok := responses["200"].(object)
	headers, _ := ok["headers"].(object)
	headers = maps.Clone(headers)
	if headers == nil {
		headers = object{}
	}
	headers["ETag"] = object{"$ref": "#/components/headers/ETag"}
	ok["headers"] = headers
	responses["304"] = object{"description": "Nothing changed."}
	parameters, _ := op["parameters"].([]any)
	op["parameters"] = append(slices.Clone(parameters), object{"$ref": "#/components/parameters/if_none_match"})
}

// hoist copies a definition with its references leading to the document's components.
func hoist(v any) any {
	switch v := v.(type) {
	case object:
		c := make(object, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if ref, ok := v[k].(string); ok && k == "$ref" {
				c[k] = strings.Replace(ref, "#/$defs/", "#/components/schemas/", 1)
				continue
			}
			c[k] = hoist(v[k])
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = hoist(v[i])
		}
		return c
	}
	return v
}
