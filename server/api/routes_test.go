package api

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"plimsoll/schemas"
	"plimsoll/server/fleet"
)

// What Macs and their users talk to is served by others.
var elsewhere = []string{"/mdm", "/scep", "/enroll", "/self/"}

var parameter = regexp.MustCompile(`:([a-z_]+)`)

func TestRoutesAndDocumentAgree(t *testing.T) {
	r := newRig(t)
	served := map[string]string{}
	for _, route := range r.api.routes(Options{Push: echoBack, Enqueue: echoBack, PushCert: echoBack}) {
		served[route.method+" "+parameter.ReplaceAllString(route.path, "{$1}")] = string(route.scope)
	}
	described := map[string]string{}
	for _, op := range schemas.Operations() {
		if !isElsewhere(op.Path) {
			described[op.Method+" "+op.Path] = op.Scope
		}
	}
	for name, scope := range served {
		if want, ok := described[name]; !ok {
			t.Errorf("%s is served, but the document does not have it", name)
		} else if scope != want {
			t.Errorf("%s needs the scope %q, but the document says %q", name, scope, want)
		}
	}
	for name := range described {
		if _, ok := served[name]; !ok {
			t.Errorf("%s is in the document, but not served", name)
		}
	}
}

func isElsewhere(path string) bool {
	for _, prefix := range elsewhere {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// allowed are the scopes that open the routes of a scope, beside admin.
var allowed = map[string][]string{
	"read": {"read", "operator"}, "operator": {"operator"}, "metrics": {"metrics"}, "mdm": {"mdm"}, "backup": {"backup"}, "admin": nil,
}

// Every route is called for real with a token of every scope, and without one.
func TestScopes(t *testing.T) {
	r := newRig(t)
	secrets := map[string]string{}
	for _, scope := range fleet.Scopes {
		secrets[string(scope)] = r.token("of-"+string(scope), string(scope))
	}
	calls := 0
	for _, op := range schemas.Operations() {
		if isElsewhere(op.Path) || op.Scope == "" {
			continue
		}
		target := strings.NewReplacer("{", "x", "}", "x").Replace(op.Path)
		if op.Path == "/v1/apply" {
			target += "?dry_run=true" // else it needs admin
		}
		if res := r.do(call{method: op.Method, target: target, as: "-"}); res.Code != 401 || res.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s without a token gave %d", op.Method, op.Path, res.Code)
		}
		for scope, secret := range secrets {
			calls++
			commands := strings.HasSuffix(op.Path, "/commands") || strings.HasSuffix(op.Path, "/commands/{uuid}")
			may := scope == "admin" || slices.Contains(allowed[op.Scope], scope) || commands && scope == "mdm"
			res := r.do(call{method: op.Method, target: target, as: secret})
			if refused := res.Code == 403; refused == may {
				t.Errorf("%s %s, which needs %s, with a token of the scope %s gave %d", op.Method, op.Path, op.Scope, scope, res.Code)
			}
		}
	}
	if calls < 200 {
		t.Errorf("%d calls", calls)
	}
	for path, also := range alsoFor {
		if also != fleet.ScopeMDM || !strings.Contains(path, "/commands") {
			t.Errorf("%s is open to %s as well", path, also)
		}
	}
}

// A token of several scopes may what each of them may; a wish for a token says which, in either form.
func TestTokensOfSeveralScopes(t *testing.T) {
	r := newRig(t)
	var made fleet.NewToken
	r.want(call{method: "POST", target: "/v1/tokens", body: `{"name":"cron","scopes":["backup","metrics"],"expires_at":"2026-09-01T00:00:00Z"}`}, 201, &made)
	r.want(call{method: "GET", target: "/metrics", as: made.Token}, 200, nil)
	r.want(call{method: "GET", target: "/v1/policies", as: made.Token}, 403, nil)
	for body, field := range map[string]string{
		`{"name":"x"}`: "scopes", `{"name":"x","scopes":[]}`: "scopes", `{"name":"x","scope":"read","scopes":["read"]}`: "scope", `{"name":"x","scopes":["root"]}`: "scopes.0",
		`{"name":"x","scopes":["read","read"]}`: "scopes", `{"name":"x","scope":"read","expires_at":"2026-08-24T00:00:00Z"}`: "expires_at",
	} {
		res := r.want(call{method: "POST", target: "/v1/tokens", body: body}, 422, nil)
		if !strings.Contains(res.Body.String(), `"field":"`+field+`"`) {
			t.Errorf("%s: %s", body, res.Body)
		}
	}
	var one struct{ Tokens []map[string]any }
	r.want(call{method: "POST", target: "/v1/tokens", body: `{"name":"one","scope":"read"}`}, 201, nil)
	r.get("/v1/tokens", &one)
	for _, tok := range one.Tokens {
		if _, has := tok["scope"]; has != (tok["name"] == "one") {
			t.Errorf("%v", tok)
		}
	}
}

// An operator acts on single Macs, and never confirms.
func TestOperator(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	operator := r.token("desk", "operator")
	r.want(call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":[]}`}, 201, nil)
	r.want(call{method: "POST", target: "/v1/devices/UDID-1/sync", as: operator}, 204, nil)
	r.want(call{method: "POST", target: "/v1/groups/lab", as: operator, body: `{"add":["a","b","c","d","e","f","g"],"remove":["h","i","j"]}`}, 200, nil)
	r.want(call{method: "POST", target: "/v1/groups/lab", as: operator, body: `{"add":["a","b","c","d","e","f","g"],"remove":["h","i","j","k"]}`}, 403, nil)
	r.want(call{method: "POST", target: "/v1/groups/lab", as: operator, body: `{"add":["a"],"confirm":true}`}, 403, nil)
	r.want(call{method: "POST", target: "/v1/groups/lab?confirm=true", as: operator, body: `{"add":["a"]}`}, 403, nil)
	r.want(call{method: "DELETE", target: "/v1/devices/UDID-1", as: operator}, 403, nil)
}
