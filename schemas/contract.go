package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Operation is one operation of the OpenAPI document.
type Operation struct {
	Method string   // "GET"
	Path   string   // with its parameters: "/v1/devices/{id}"
	Scope  string   // of the token that it needs; empty: none
	Query  []string // the parameters of the query that it takes
}

// Operations lists what the OpenAPI document describes, in no order.
func Operations() []Operation {
	var list []Operation
	c := contract()
	for path, item := range c.paths {
		for method, op := range item {
			o, ok := op.(map[string]any)
			if !ok {
				continue // the path's parameters
			}
			list = append(list, Operation{Method: strings.ToUpper(method), Path: path, Scope: scope(o), Query: c.query(o)})
		}
	}
	return list
}

// query lists the parameters of an operation's query.
func (d *document) query(op map[string]any) (names []string) {
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		o, _ := p.(map[string]any)
		if ref, ok := o["$ref"].(string); ok {
			o, _ = d.get(strings.Split(strings.TrimPrefix(ref, "#/"), "/")).(map[string]any)
		}
		if name, ok := o["name"].(string); ok && o["in"] == "query" {
			names = append(names, name)
		}
	}
	return names
}

func scope(op map[string]any) string {
	list, _ := op["security"].([]any)
	if len(list) == 0 {
		return ""
	}
	bearer, _ := list[0].(map[string]any)["bearer"].([]any)
	if len(bearer) == 0 {
		return ""
	}
	s, _ := bearer[0].(string)
	return s
}

// CheckAnswer holds a real answer against the OpenAPI document: that the operation, the status and the media type are
// described, and that a JSON body is what its schema says. path is the request's, without its query.
func CheckAnswer(method, path string, status int, contentType string, body []byte) error {
	if method == "HEAD" {
		method, body = "GET", nil
	}
	c := contract()
	template := c.match(strings.ToLower(method), path)
	if template == "" {
		return fmt.Errorf("the document has no %s %s", method, path)
	}
	at := []string{"paths", template, strings.ToLower(method), "responses", strconv.Itoa(status)}
	res, ok := c.get(at).(map[string]any)
	if !ok {
		at[4] = "default"
		if res, ok = c.get(at).(map[string]any); !ok {
			return fmt.Errorf("the document has no answer %d to %s %s", status, method, template)
		}
	}
	if ref, ok := res["$ref"].(string); ok {
		at = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		res, _ = c.get(at).(map[string]any)
	}
	content, _ := res["content"].(map[string]any)
	if len(content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("%d to %s %s has a body of %d bytes, and should have none", status, method, template, len(body))
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("%d to %s %s has the content type %q: %w", status, method, template, contentType, err)
	}
	if content[media] == nil {
		return fmt.Errorf("%d to %s %s is %s, which the document does not have", status, method, template, media)
	}
	if body == nil || !strings.HasSuffix(media, "json") {
		return nil
	}
	if err := c.validate(append(at, "content", media, "schema"), body); err != nil {
		return fmt.Errorf("%d to %s %s: %w", status, method, template, err)
	}
	return nil
}

type document struct {
	root     any
	paths    map[string]map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex // of the compiler
}

const openapiURL = Base + "openapi.json"

var contract = sync.OnceValue(func() *document {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi))
	if err != nil {
		panic("schemas: openapi.json: " + err.Error())
	}
	c := jsonschema.NewCompiler()
	register(c)
	if err := c.AddResource(openapiURL, root); err != nil {
		panic("schemas: openapi.json: " + err.Error())
	}
	d := &document{root: root, compiler: c, paths: map[string]map[string]any{}}
	paths, _ := d.get([]string{"paths"}).(map[string]any)
	for path, item := range paths {
		d.paths[path], _ = item.(map[string]any)
	}
	return d
})

func (d *document) get(at []string) any {
	v := d.root
	for _, part := range at {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

// match finds the path of the document that a real path belongs to; one without parameters comes first.
func (d *document) match(method, path string) string {
	parts := strings.Split(path, "/")
	best, fewest := "", len(parts)+1
	for template, item := range d.paths {
		if item[method] == nil {
			continue
		}
		if n, ok := fits(strings.Split(template, "/"), parts); ok && n < fewest {
			best, fewest = template, n
		}
	}
	return best
}

// fits counts the parameters of a template that a path fits.
func fits(template, parts []string) (parameters int, ok bool) {
	if len(template) != len(parts) {
		return 0, false
	}
	for i, t := range template {
		if strings.HasPrefix(t, "{") {
			parameters++
		} else if t != parts[i] {
			return 0, false
		}
	}
	return parameters, true
}

var escape = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")

func (d *document) validate(at []string, body []byte) error {
	var b strings.Builder
	for _, part := range at {
		b.WriteString("/" + escape.Replace(part))
	}
	d.mu.Lock()
	sch, err := d.compiler.Compile(openapiURL + "#" + b.String())
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("compile the schema: %w", err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if err := sch.Validate(v); err != nil {
		short, _ := json.Marshal(v)
		return errors.Join(err, fmt.Errorf("in %.500s", short))
	}
	return nil
}
