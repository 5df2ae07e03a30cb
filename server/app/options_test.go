package app

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// optionsOf reads a command line and the environment as the program does.
func optionsOf(t *testing.T, args ...string) Options {
	t.Helper()
	var c struct {
		Serve Options `cmd:"" default:"withargs"`
	}
	parser, err := kong.New(&c, kong.Vars{"catalog": DefaultCatalog})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c.Serve
}

// An empty variable is one that is not set, whatever its flag takes.
func TestEmptyVariables(t *testing.T) {
	var names []string
	for f := range reflect.TypeFor[Options]().Fields() {
		if name := f.Tag.Get("env"); name != "" { // else it is a group of flags
			names = append(names, name)
		}
	}
	for _, name := range names { // so that they are restored afterwards
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	want := optionsOf(t)
	for _, name := range names {
		t.Setenv(name, "")
		if diff := cmp.Diff(want, optionsOf(t)); diff != "" {
			t.Errorf("with an empty %s:\n%s", name, diff)
		}
	}
	t.Setenv("PLIMSOLL_DEVICE_CA", "ca.pem")
	t.Setenv("PLIMSOLL_TIME_ZONE", "")
	if got := optionsOf(t, "--time-zone=Europe/Berlin"); len(got.DeviceCA) != 1 || got.TimeZone != "Europe/Berlin" {
		t.Errorf("with one that is set, and a flag beside an empty one: %+v", got)
	}
}

// --url has one form, by which others tell whether it is https and to which they add paths; what would not be that is refused by its flag.
func TestOptionsURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://mdm.example.com": "https://mdm.example.com", "https://mdm.example.com/": "https://mdm.example.com", "HTTPS://MDM.example.com": "https://mdm.example.com",
		"http://127.0.0.1:8080": "http://127.0.0.1:8080", "https://[2001:DB8::1]:8443": "https://[2001:db8::1]:8443", "https://mdm.example.com#": "https://mdm.example.com",
		"": "http://127.0.0.1:8080",

		"https://user:secret@mdm.example.com": "!", "https://user:sec%ret@mdm.example.com": "!", "https://@mdm.example.com": "!",
		"https://mdm.example.com:99999": "!", "https://mdm.example.com:0": "!", "https://mdm.example.com:": "!", "https://:443": "!",
		"https://mdm.example.com?": "!", "https://mdm.example.com?a=b": "!", "https://mdm.example.com/?": "!", "https://mdm.example.com/mdm": "!",
		"https://mdm.example.com#part": "!", "ftp://mdm.example.com": "!", "mdm.example.com": "!", "https:mdm.example.com": "!",
	} {
		s, err := optionsOf(t, "--url="+in).check()
		var bad *BadOption
		switch {
		case want == "!":
			if !errors.As(err, &bad) || bad.Flag != "url" || strings.Contains(err.Error(), "sec") {
				t.Errorf("%q: %v", in, err)
			}
		case err != nil || s.URL != want || s.url.String() != want:
			t.Errorf("%q is %+v, %v; want %s", in, s, err, want)
		}
	}
}
