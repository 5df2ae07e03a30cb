package app

import (
	"os"
	"reflect"
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
		names = append(names, f.Tag.Get("env"))
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
