package status

import (
	"reflect"
	"testing"
	"time"
)

func TestViewsOfTheUpdate(t *testing.T) {
	m := merged(
		t,
		"softwareupdate.install-state", `"waiting"`,
		"softwareupdate.pending-version", `{"os-version":"26.6.2","build-version":"25G91","target-local-date-time":"2026-09-01T12:00:00"}`,
		"softwareupdate.install-reason", `{"reason":["declaration","notification"],"declaration-id":"plimsoll.os-update"}`,
		"softwareupdate.failure-reason", `{"count":3,"reason":"Error Domain=SUOSUErrorDomain Code=201 \"battery\"","timestamp":"2026-08-30T23:15:04.5+02:00"}`,
	)
	if got := m.InstallState(); got != "waiting" {
		t.Errorf("install state %q", got)
	}
	if version, build, target := m.Pending(); version != "26.6.2" || build != "25G91" || target != "2026-09-01T12:00:00" {
		t.Errorf("pending %q %q %q", version, build, target)
	}
	if reasons, id := m.InstallReason(); !reflect.DeepEqual(reasons, []string{"declaration", "notification"}) || id != "plimsoll.os-update" {
		t.Errorf("install reason %q %q", reasons, id)
	}
	count, reason, at, ok := m.Failure()
	if count != 3 || reason != `Error Domain=SUOSUErrorDomain Code=201 "battery"` || !at.Equal(time.Date(2026, 8, 30, 21, 15, 4, 5e8, time.UTC)) || at.Location() != time.UTC || !ok {
		t.Errorf("failure %d %q %v %t", count, reason, at, ok)
	}
	if !m.Has("softwareupdate.install-state") || m.Has("softwareupdate.device-id") || (Merged{"x": []byte("null")}).Has("x") {
		t.Error("Has")
	}
}

func TestFailure(t *testing.T) {
	tests := []struct {
		name, value string
		count       int
		at          time.Time
		ok          bool
	}{
		{"none", `{"count":0}`, 0, time.Time{}, true},
		{"not reported", ``, 0, time.Time{}, false},
		{"without a count", `{"reason":"x"}`, 1, time.Time{}, true},
		{"a count as text", `{"count":"3"}`, 3, time.Time{}, true},
		{"a count that is none", `{"count":"three","reason":"x"}`, 1, time.Time{}, true},
		{"negative", `{"count":-4}`, 0, time.Time{}, true},
		{"a real number", `{"count":2.0}`, 2, time.Time{}, true},
		{"enormous", `{"count":1e99}`, 1e9, time.Time{}, true},
		{"beyond all numbers", `{"count":1e999}`, 0, time.Time{}, false},
		{"not an object", `[3]`, 0, time.Time{}, false},
		{"a time that is none", `{"count":1,"timestamp":"yesterday"}`, 1, time.Time{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			count, _, at, ok := Merged{"softwareupdate.failure-reason": []byte(tt.value)}.Failure()
			if count != tt.count || !at.Equal(tt.at) || ok != tt.ok {
				t.Errorf("got %d, %v, %t", count, at, ok)
			}
		})
	}
}

func TestDeclarations(t *testing.T) {
	tests := []struct {
		name, value string
		want        []DeclarationStatus
	}{
		{"not reported", ``, nil},
		{"not an object", `[]`, nil},
		{"arrays missing or of another type", `{"activations":{},"configurations":3}`, nil},
		{"two tokens of one identifier", `{"configurations":[{"identifier":"a","server-token":"1","valid":"valid"},{"identifier":"a","server-token":"2","valid":"unknown"}]}`, []DeclarationStatus{
			{Kind: "configuration", Identifier: "a", ServerToken: "1", Valid: "valid"},
			{Kind: "configuration", Identifier: "a", ServerToken: "2", Valid: "unknown"},
		}},
		{"the same twice: the later counts", `{"configurations":[{"identifier":"a","server-token":"1","active":false},{"identifier":"b"},{"identifier":"a","server-token":"1","active":true}]}`, []DeclarationStatus{
			{Kind: "configuration", Identifier: "a", ServerToken: "1", Active: true},
			{Kind: "configuration", Identifier: "b"},
		}},
		{"one identifier in two arrays", `{"management":[{"identifier":"a"}],"assets":[{"identifier":"a"}]}`, []DeclarationStatus{
			{Kind: "asset", Identifier: "a"}, {Kind: "management", Identifier: "a"},
		}},
		{"wrong types", `{"configurations":["x",null,{"server-token":"1"},{"identifier":7},{"identifier":"a","server-token":2,"active":"true","valid":false,"reasons":[3,{"code":4,"description":"d","details":"e"}]}]}`, []DeclarationStatus{
			{Kind: "configuration", Identifier: "a", Reasons: []Reason{{Description: "d"}}},
		}},
		{"reasons with capitals", `{"configurations":[{"identifier":"a","reasons":[{"Code":"C","Details":{"Code":9100}}]}]}`, []DeclarationStatus{
			{Kind: "configuration", Identifier: "a", Reasons: []Reason{{Code: "C", Details: map[string]any{"Code": 9100.0}}}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Merged{"management.declarations": []byte(tt.value)}).Declarations(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestAppleTextIsKeptWhole: the text by which a Mac refuses a target that it already has (from a real Mac, see
// testdata/samples/fleet-already-newer-error.txt).
func TestAppleTextIsKeptWhole(t *testing.T) {
	const says = "[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: target OS version (15.7) is older than current version (15.7.7)"
	m := merged(t, "management.declarations", `{"configurations":[{"identifier":"plimsoll.os-update","server-token":"t","active":true,"valid":"invalid",
		"reasons":[{"code":"Error.ConfigurationCannotBeApplied","description":"Configuration cannot be applied","details":{"Error":"`+says+`"}}]}]}`)
	d := m.Declarations()
	if len(d) != 1 || len(d[0].Reasons) != 1 {
		t.Fatalf("declarations %+v", d)
	}
	if got, want := d[0].Reasons[0].Text(), "Configuration cannot be applied: "+says; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	for _, tt := range []struct {
		r    Reason
		want string
	}{
		{Reason{}, ""},
		{Reason{Description: "d"}, "d"},
		{Reason{Details: map[string]any{"Error": "e"}}, "e"},
		{Reason{Description: "d", Details: map[string]any{"Error": 7}}, "d"},
	} {
		if got := tt.r.Text(); got != tt.want {
			t.Errorf("%+v says %q, want %q", tt.r, got, tt.want)
		}
	}
}

func TestClientCapabilities(t *testing.T) {
	tests := []struct {
		name, value string
		want        Capabilities
	}{
		{"not reported", ``, Capabilities{}},
		{"null", `null`, Capabilities{}},
		{"nothing in them", `{}`, Capabilities{}},
		{"configurations of another type", `{"supported-payloads":{"declarations":{"configurations":{}}}}`, Capabilities{}},
		{"no status items: nothing to go by", `{"supported-payloads":{"declarations":{"configurations":[]}}}`, Capabilities{Known: true, Items: 0x1ffff}},
		{"both types", `{"supported-payloads":{"declarations":{"configurations":["x",7,"com.apple.configuration.softwareupdate.settings","com.apple.configuration.softwareupdate.enforcement.specific"]},"status-items":["softwareupdate.pending-version",3,"device.identifier.serial-number","management.client-capabilities"]}}`, Capabilities{Known: true, Enforcement: true, Settings: true, Items: 1 | 1<<16}},
		{"a configuration that only sounds alike", `{"supported-payloads":{"declarations":{"configurations":["com.apple.configuration.softwareupdate.enforcement"]},"status-items":[]}}`, Capabilities{Known: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Merged{"management.client-capabilities": []byte(tt.value)}).ClientCapabilities(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestSubscribedItemsAreKnown: the items that we ask for are read whole, and every one has its bit.
func TestSubscribedItemsAreKnown(t *testing.T) {
	for _, name := range SubscribedItems {
		if known[name] == nil {
			t.Errorf("%s is not known", name)
		}
	}
	if n := len(SubscribedItems); n > 32 || len(itemBits) != n {
		t.Errorf("%d items, %d bits, want at most 32 and no name twice", n, len(itemBits))
	}
}
