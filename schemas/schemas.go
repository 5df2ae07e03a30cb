// Package schemas holds the JSON Schemas of everything that the API takes and gives, the OpenAPI document, and the
// validation of what is posted.
package schemas

import (
	"embed"
	"fmt"
	"strings"
)

//go:generate go run ./gen

//go:embed v1/*.json
var files embed.FS

//go:embed openapi.json
var openapi []byte

// Base is the base of every schema's $id. It names the schema; nothing is fetched from there.
const Base = "https://plimsoll.example/schemas/"

// OpenAPI is the OpenAPI 3.1 document as JSON. The caller must not change it.
func OpenAPI() []byte { return openapi }

// JSON is the schema of that name (without ".json"), as it is served.
func JSON(name string) ([]byte, error) {
	if !fileName(name) {
		return nil, fmt.Errorf("no schema is called %q", name)
	}
	b, err := files.ReadFile("v1/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("no schema is called %q", name)
	}
	return b, nil
}

// fileName tells whether name is one that the generator writes; it keeps paths out of the file system's hands.
func fileName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Names are the names of all schemas, sorted.
func Names() []string {
	entries, err := files.ReadDir("v1")
	if err != nil {
		return nil // cannot happen: the folder is embedded
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	return names
}
