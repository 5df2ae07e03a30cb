package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// quickStart are the commands of the README's quick start, in their order.
func quickStart(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "## Quick start\n")
	if !ok {
		t.Fatal("the README has no quick start")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var commands []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		commands = append(commands, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	return commands
}

// lockedBuffer is written by a command while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// background runs a command line until the test ends, or stop is called.
func background(t *testing.T, dir string, env []string, line string) (out *lockedBuffer, stop func()) {
	t.Helper()
	out = &lockedBuffer{}
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	return out, stop
}

// The quick start's commands really run, in that order, and a second start finds its data again. Only the address is another,
// what `make run` and `go run` would build is built already, and Apple is not asked.
func TestQuickStart(t *testing.T) {
	commands := quickStart(t)
	if len(commands) > 10 || len(commands) < 5 || commands[0] != "make run" {
		t.Fatalf("the quick start has %d commands: %q", len(commands), commands)
	}
	if b, err := os.ReadFile("../../Makefile"); err != nil || !regexp.MustCompile(`(?m)^run:.*\n(\t@\.ci/need go\n)?\t(@)?(\$\(GO\)|go) run \./server( \$\(ARGS\))?$`).Match(b) {
		t.Errorf("make run is not go run ./server (%v)", err)
	}
	dir := t.TempDir()
	simulator := filepath.Join(dir, "macs")
	if out, err := exec.Command("go", "build", "-o", simulator, "plimsoll/examples/macs").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	addr := freeAddr(t)
	env := []string{"PLIMSOLL_LISTEN=" + addr, "PLIMSOLL_CATALOG=none"}
	serverOut, stopServer := background(t, dir, env, program)
	var token string
	eventually(t, "the server prints the admin token", func() bool {
		m := regexp.MustCompile(`admin token  (\S+) `).FindStringSubmatch(serverOut.String())
		if m != nil {
			token = m[1]
		}
		return m != nil
	})
	p := &process{t: t, addr: addr, token: token}
	var states map[string]int
	for _, line := range commands[1:] {
		line = strings.ReplaceAll(line, "localhost:8080", addr)
		switch {
		case strings.HasPrefix(line, "go run ./examples/macs"):
			line = strings.Replace(line, "go run ./examples/macs", simulator, 1) + " -poll 300ms -url http://" + addr
			background(t, dir, nil, line)
			eventually(t, "the Macs are enrolled and have reported", func() bool {
				c := p.compliance()
				return c.Devices == 25 && c.States["unmanaged"] == 25
			})
		case strings.HasPrefix(line, "export TOKEN="):
		default:
			cmd := exec.Command("bash", "-c", strings.Replace(line, "curl -s", "curl -sSf", 1))
			cmd.Env = append(os.Environ(), "TOKEN="+token)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
			if strings.Contains(line, "/v1/policies") {
				eventually(t, "Macs are pending", func() bool { return p.compliance().States["pending"] > 0 })
			}
			if strings.Contains(line, "/v1/compliance") {
				var c compliance
				if err := json.Unmarshal(out, &c); err != nil || c.States["pending"] == 0 {
					t.Errorf("%s: %s (%v)", line, out, err)
				}
			}
		}
	}
	eventually(t, "every Mac that was behind is compliant", func() bool {
		states = p.compliance().States
		return states["pending"] == 0 && states["compliant"] > 0
	})
	stopServer()
	if !strings.Contains(serverOut.String(), "stopping") {
		t.Errorf("the server did not stop as asked:\n%s", serverOut.String())
	}
	again, _ := background(t, dir, env, program)
	eventually(t, "the second start serves", func() bool { return strings.Contains(again.String(), "serves at") })
	if strings.Contains(again.String(), token) {
		t.Error("the second start prints the token again")
	}
	if c := p.compliance(); c.Devices != 25 || c.States["compliant"] != states["compliant"] {
		t.Errorf("the second start found %+v, the first left %v", c, states)
	}
}
