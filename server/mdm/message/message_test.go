package message_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll/server/mdm/message"
	"plimsoll/status"
)

func sample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What NanoMDM's webhook carries of an Authenticate message of a Mac with macOS 10.12.
func TestCheckIn(t *testing.T) {
	var event struct {
		Checkin struct {
			Raw string `json:"raw_payload"`
		} `json:"checkin_event"`
	}
	if err := json.Unmarshal(sample(t, "nanomdm-webhook-authenticate.json"), &event); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(event.Checkin.Raw)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := message.CheckIn(raw)
	want := status.CheckIn{
		UDID: "AAAAAAAA-0000-4000-8000-000000000004", Serial: "ZSAMPLE00002", Name: "Fruit", Model: "iMac14,2", ModelName: "iMac",
		Version: "10.12.6", Build: "16G2136",
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("ok %t: %s", ok, diff)
	}
	for name, raw := range map[string]string{
		"nothing":    "",
		"no list":    "<plist><string>a</string></plist>",
		"cut short":  "<plist><dict><key>UDID</key>",
		"a response": `{"UDID": "A"}`,
	} {
		if got, ok := message.CheckIn([]byte(raw)); ok && got != (status.CheckIn{}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got, _ := message.CheckIn([]byte("<plist><dict><key>SerialNumber</key><integer>7</integer></dict></plist>")); got.Serial != "" {
		t.Errorf("a number is taken for the serial number %q", got.Serial)
	}
}

// Apple's answers to DeviceInformation and to ScheduleOSUpdate, as they were published.
func TestAnswers(t *testing.T) {
	answers, _ := message.Answer(sample(t, "deviceinformation-13.0-vm.plist"))["QueryResponses"].(map[string]any)
	if answers["SoftwareUpdateDeviceID"] != "VMA2MACOSAP" || answers["IsAppleSilicon"] != true {
		t.Errorf("the answers are %v", answers)
	}
	chain := message.Errors(sample(t, "scheduleosupdate-error-74.plist"))
	if len(chain) != 1 || chain[0].Code != 74 || chain[0].Domain != "MDMClientError" || !strings.Contains(chain[0].Description, "requires DEP enrollment") {
		t.Errorf("the errors are %+v", chain)
	}
	for _, raw := range []string{"", "x", "<plist><string>a</string></plist>"} {
		if answers := message.Answer([]byte(raw)); answers == nil || len(answers) > 0 {
			t.Errorf("%q has the answers %v", raw, answers)
		}
	}
	for _, raw := range []string{"", "x", "<plist><dict><key>ErrorChain</key><string>a</string></dict></plist>"} {
		if chain := message.Errors([]byte(raw)); len(chain) > 0 {
			t.Errorf("%q has the errors %v", raw, chain)
		}
	}
}

func TestHasBootstrapToken(t *testing.T) {
	for raw, want := range map[string]bool{
		"<plist><dict><key>BootstrapToken</key><data>AAAA</data></dict></plist>": true,
		"<plist><dict><key>BootstrapToken</key><data></data></dict></plist>":     false,
		"<plist><dict></dict></plist>":                                           false,
		"":                                                                       false,
	} {
		if got := message.HasBootstrapToken([]byte(raw)); got != want {
			t.Errorf("%q: %t", raw, got)
		}
	}
}

func TestCheck(t *testing.T) {
	nested := func(n int, inner string) []byte {
		return []byte(strings.Repeat("<array>", n) + inner + strings.Repeat("</array>", n))
	}
	many := "<dict><key>a</key><string>b</string></dict>"
	for name, tt := range map[string]struct {
		body []byte
		ok   bool
	}{
		"small":                        {[]byte("<plist><dict/></plist>"), true},
		"long but flat":                {nested(3, strings.Repeat(many, 10_000)), true},
		"long and deep":                {nested(65, strings.Repeat(many, 10_000)), false},
		"deep only":                    {nested(100_000, ""), false},
		"deep, never closed":           {[]byte(strings.Repeat("<array>", 100_000)), false},
		"depth hidden by a comment":    {[]byte(strings.Repeat("<array><!--</array>-->", 100_000)), false},
		"depth hidden by attributes":   {[]byte(strings.Repeat(`<array a="/>">`, 100_000)), false},
		"long and not closed properly": {[]byte(strings.Repeat("<a></b>", 10_000)), false},
		"binary":                       {[]byte("bplist00"), false},
	} {
		if err := message.Check(tt.body); (err == nil) != tt.ok {
			t.Errorf("%s: error %v, want ok %t", name, err, tt.ok)
		}
	}
}

// Apple's samples of what a Mac says of itself in Setup Assistant.
func TestMachineInfo(t *testing.T) {
	for name, want := range map[string]status.MachineInfo{
		"machineinfo-ade-14.4.plist": {
			Serial: "ZSAMPLE00001", UDID: "AAAAAAAA-0000-4000-8000-000000000001", Model: "Mac14,2", Version: "14.4.1", Build: "23E224",
			SupplementalBuild: "23E224", Board: "J413AP", CanUpdate: true,
		},
		"machineinfo-ade-13.6.plist": {
			Serial: "ZSAMPLE00001", UDID: "AAAAAAAA-0000-4000-8000-000000000001", Model: "Mac14,2", Build: "22G120",
		},
	} {
		got, err := message.MachineInfo(sample(t, name))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	for name, raw := range map[string]string{
		"nothing":            "",
		"cut short":          "<plist><dict><key>SERIAL</key>",
		"no dictionary":      "<plist><string>a</string></plist>",
		"without SERIAL":     "<plist><dict><key>UDID</key><string>A</string></dict></plist>",
		"SERIAL is a number": "<plist><dict><key>SERIAL</key><integer>7</integer></dict></plist>",
		"SERIAL is too long": "<plist><dict><key>SERIAL</key><string>" + strings.Repeat("A", 301) + "</string></dict></plist>",
		"binary":             "bplist00",
	} {
		if got, err := message.MachineInfo([]byte(raw)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
