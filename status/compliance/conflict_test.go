package compliance_test

import (
	"fmt"
	"testing"

	"plimsoll/declarations"
	"plimsoll/status"
	"plimsoll/status/compliance"
)

// The identifiers are those that a Mac may name (rules 17).
func TestForeignCause(t *testing.T) {
	served := &declarations.Manifest{Items: []declarations.Item{{Kind: declarations.KindConfiguration, Identifier: "com.example.ours"}}}
	for name, c := range map[string]struct{ reason, want string }{
		"nothing":           {`{}`, ""},
		"the user":          {`{"reason": ["system-settings"]}`, ""},
		"this server":       {`{"reason": ["declaration"], "declaration-id": "plimsoll.os-update"}`, ""},
		"of the manifest":   {`{"reason": ["declaration"], "declaration-id": "com.example.ours"}`, ""},
		"another server":    {`{"reason": ["declaration"], "declaration-id": "com.fleetdm.config.softwareupdate"}`, "com.fleetdm.config.softwareupdate"},
		"a name like ours":  {`{"reason": ["declaration"], "declaration-id": "plimsollish"}`, "plimsollish"},
		"no text":           {`{"declaration-id": 7}`, ""},
		"no object":         {`"declaration"`, ""},
		"without a reason":  {`{"declaration-id": "x"}`, "x"},
		"an empty one":      {`{"reason": [], "declaration-id": ""}`, ""},
		"of an empty plan":  {`{"declaration-id": "com.example.ours.activation"}`, "com.example.ours.activation"},
		"nothing is served": {`{"declaration-id": "y"}`, "y"},
	} {
		report, err := status.Parse(fmt.Appendf(nil, `{"StatusItems": {"softwareupdate": {"install-reason": %s}}}`, c.reason))
		if err != nil {
			t.Fatal(name, err)
		}
		merged := status.Merge(nil, report)
		man := served
		if name == "nothing is served" {
			man = nil
		}
		if got := compliance.ForeignCause(merged, man); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
