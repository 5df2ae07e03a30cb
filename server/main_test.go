package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test program is plimsoll itself when it is called by that name.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"plimsoll": main}) }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// demo is one command: it serves simulated Macs, whatever variables are set, and leaves nothing behind.
func TestDemo(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	store := filepath.Join(dir, "mine.db")
	program, err := exec.LookPath("plimsoll")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "demo", "-n", "3", "--port", "0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "PLIMSOLL_STORE=bolt:"+store, "PLIMSOLL_LISTEN=127.0.0.1:1", "PLIMSOLL_URL=https://mdm.example.com",
		"PLIMSOLL_ADMIN_TOKEN=@"+filepath.Join(dir, "absent"), "PLIMSOLL_CATALOG=http://127.0.0.1:1/", "PLIMSOLL_PUSH_RATE=nonsense")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "plimsoll devices") {
		text.WriteString(lines.Text() + "\n")
	}
	said := regexp.MustCompile(`PLIMSOLL_SERVER=(http://127\.0\.0\.1:[0-9]+) PLIMSOLL_TOKEN=([0-9a-f]{64})`).FindStringSubmatch(text.String())
	if said == nil {
		t.Fatalf("demo says neither address nor token:\n%s%s", text.String(), errs.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for settled := false; !settled; {
		var c struct {
			Devices  int
			Policies []struct{ Devices int }
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, said[1]+"/v1/compliance", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+said[2])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		settled = c.Devices == 3 && len(c.Policies) == 1 && c.Policies[0].Devices == 3
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // to the end of its output
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("demo ends with %v:\n%s", err, errs.String())
	}
	for _, folder := range []string{dir, temp} {
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("demo leaves %v in %s (%v)", left, folder, err)
		}
	}
}

// make run asks for the Go that go.mod names, in one line, and .ci/need installs none.
func TestNeedsGo(t *testing.T) {
	bin := t.TempDir()
	for _, c := range []struct{ name, version, want string }{
		{"Debian's", "go1.19.8", "need: Go 1.26 or later is missing (here is go1.19.8); install it from https://go.dev/dl\n"},
		{"the one before", "go1.25.9", "need: Go 1.26 or later is missing (here is go1.25.9); install it from https://go.dev/dl\n"},
		{"the first", "go1.26.0", ""},
		{"a later one", "go1.100.1", ""},
		{"none", "", "need: Go 1.26 or later is missing; install it from https://go.dev/dl\n"},
	} {
		script := "#!/bin/sh\necho " + c.version + "\n"
		if c.version == "" {
			script = "#!/bin/sh\nexit 1\n"
		}
		if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("../.ci/need", "go")
		cmd.Env = append(os.Environ(), "PATH="+bin+":/usr/bin:/bin")
		out, err := cmd.CombinedOutput()
		if string(out) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %q (%v), want %q", c.name, out, err, c.want)
		}
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil || !regexp.MustCompile(`(?m)^run:.*\n\t@\.ci/need go\n\t\$\(GO\) run \./server$`).Match(makefile) {
		t.Errorf("make run does not ask for Go first (%v)", err)
	}
}
