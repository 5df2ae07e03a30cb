package api

import (
	"regexp"
	"strings"
	"testing"

	"plimsoll/schemas"
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

// Every route that needs a token refuses one whose scope does not include it, and a request without one.
func TestScopes(t *testing.T) {
	r := newRig(t)
	secrets := map[string]string{"read": r.token("reader", "read"), "metrics": r.token("prometheus", "metrics")}
	for _, op := range schemas.Operations() {
		if isElsewhere(op.Path) || op.Scope == "" {
			continue
		}
		target := strings.NewReplacer("{", "x", "}", "x").Replace(op.Path)
		if res := r.do(call{method: op.Method, target: target, as: "-"}); res.Code != 401 || res.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s without a token gave %d", op.Method, op.Path, res.Code)
		}
		for scope, secret := range secrets {
			res := r.do(call{method: op.Method, target: target, as: secret})
			if refused := res.Code == 403; refused != (op.Scope != scope) {
				t.Errorf("%s %s, which needs %s, with a token of the scope %s gave %d", op.Method, op.Path, op.Scope, scope, res.Code)
			}
		}
	}
}
