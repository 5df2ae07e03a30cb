package api

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"plimsoll/server/rest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
)

// Whatever is posted as a policy is either refused with a client's error or decodes, and what was decoded is what is given back.
func FuzzPolicyBody(f *testing.F) {
	for _, seed := range []string{
		minimumPolicy, `{}`, `[]`, `null`, `{"name":"a","priority":1.0,"confirm":true}`, `{"name":"a","priority":1e400}`,
		`{"name":"engineering","label":"Engineering Macs","priority":100,"assign":{"groups":["eng"],"exclude_groups":["lab"],"when":"model startsWith 'Mac16'"},"os":{"track":"26","upgrade":"enforce","upgrade_within_days":60},"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"time":"12:00","min_age_days":0},"background_security":{"mode":"automatic","within_days":2,"time":"12:00"},"notice_days":5,"delay":{"max_hours":24},"details_url":"https://it.example.com/updates","settings":{"AutomaticActions":{"Download":"AlwaysOn"}}}`,
		`{"name":"a","priority":1,"updates":{"mode":"minimum","versions":["26.6.1","15.7.9"],"deadline":"2026-12-01T12:00:00"},"settings":{"Beta":{"OfferPrograms":[{"Description":"d","Token":"t"}]}}}`,
		`{"name":"a","priority":1,"updates":{"mode":"exact","version":"26.6","build":"25G62","deadline":"0000-01-01T00:00:00"}}`,
		`{"name":"a","priority":1,"updates":{"mode":"minimum","versions":[]}}`, `{"name":"a","name":"b"}`, `{"a":` + strings.Repeat("[", 100), "\xff", `{"name":"` + "\u0000" + `","priority":-1}`,
	} {
		f.Add(seed)
	}
	e := echo.New()
	fine := func(policy.Policy) error { return nil }
	f.Fuzz(func(t *testing.T, body string) {
		req := httptest.NewRequest("PUT", "/v1/policies/a", strings.NewReader(body))
		p, _, err := policyBody(e.NewContext(req, httptest.NewRecorder()), "a", fine)
		if err != nil {
			if status := rest.AsProblem(err).Status; status != 400 && status != 422 {
				t.Fatalf("status %d for %q: %v", status, body, err)
			}
			return
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := policyBody(e.NewContext(httptest.NewRequest("PUT", "/v1/policies/a", strings.NewReader(string(b))), httptest.NewRecorder()), "a", fine)
		if err != nil {
			t.Fatalf("what was given back is refused: %s: %v", b, err)
		}
		if diff := cmp.Diff(p, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}
