package api

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"testing"
)

// Every policy of docs/policies.md is one that the API takes.
func TestPolicyExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 8 {
		t.Fatalf("%d examples", len(blocks))
	}
	r := newRig(t)
	for _, block := range blocks {
		var policy struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal([]byte(block[1]), &policy); err != nil {
			t.Errorf("%v: %s", err, block[1])
			continue
		}
		for _, query := range []string{"?dry_run=true", ""} { // a later example may replace an earlier one
			if got := r.do(call{method: http.MethodPut, target: "/v1/policies/" + policy.Name + query, body: block[1]}); got.Code >= 300 {
				t.Errorf("PUT %s%s: %d %s", policy.Name, query, got.Code, got.Body)
			}
		}
	}
}
