package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
)

// program is the real program, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "plimsoll")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "plimsoll")
	if out, err := exec.Command("go", "build", "-o", program, "plimsoll/server").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", out, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const adminToken = "an-admin-token-for-tests"

// process is a running server.
type process struct {
	t     *testing.T
	args  []string
	addr  string
	token string // an admin token
	cmd   *exec.Cmd
	log   bytes.Buffer
	done  chan error
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// start runs the program with a store and waits until it is ready.
func start(t *testing.T, store string, args ...string) *process {
	t.Helper()
	p := &process{t: t, addr: freeAddr(t), token: adminToken}
	p.args = append([]string{"serve", "--listen", p.addr, "--store", store, "--admin-token", adminToken, "--catalog", "none", "--log-level", "warn"}, args...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", p.log.String())
		}
	})
	p.run()
	return p
}

func (p *process) run() {
	p.t.Helper()
	p.cmd = exec.Command(program, p.args...)
	p.cmd.Stderr = &p.log
	p.cmd.Stdout = io.Discard
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan error, 1)
	p.done = done
	go func(cmd *exec.Cmd) { done <- cmd.Wait() }(p.cmd)
	eventually(p.t, "the server is ready", func() bool {
		select {
		case err := <-done:
			done <- err
			p.t.Fatalf("the server ended: %v\n%s", err, p.log.String())
		default:
		}
		resp, err := http.Get("http://" + p.addr + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd != nil && p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		err := <-p.done
		p.done <- err
	}
}

// stop is SIGTERM; it returns the exit status.
func (p *process) stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	err := <-p.done
	p.done <- err
	return p.cmd.ProcessState.ExitCode()
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(2 * time.Minute); !cond(); {
		select {
		case <-end:
			t.Fatalf("%s: still not so after two minutes", what)
		case <-tick.C:
		}
	}
}

// request makes a request, and returns status and body of the answer.
func (p *process) request(method, path, body string) (int, []byte) {
	p.t.Helper()
	req, err := http.NewRequest(method, "http://"+p.addr+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, b
}

// call makes a request and decodes the answer into v.
func (p *process) call(method, path, body string, want int, v any) {
	p.t.Helper()
	status, b := p.request(method, path, body)
	if status != want {
		p.t.Fatalf("%s %s: %d, want %d: %s", method, path, status, want, b)
	}
	if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			p.t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
}

type compliance struct {
	Devices int
	States  map[string]int
}

func (p *process) compliance() (c compliance) {
	p.t.Helper()
	p.patiently("/v1/compliance", &c)
	return c
}

type device struct {
	ID, Serial, State, Phase string
	Target                   *struct{ Version, Build string }
	DeadlineLocal            string `json:"deadline_local"`
	OS                       struct{ Version, Build string }
	Reasons                  []struct{ Code, Text, Advice string }
}

func (p *process) devices(query string) []device {
	p.t.Helper()
	var all []device
	for cursor := ""; ; {
		var page struct {
			Devices    []device
			NextCursor string `json:"next_cursor"`
		}
		p.call("GET", "/v1/devices?limit=10&"+query+"&cursor="+cursor, "", http.StatusOK, &page)
		all = append(all, page.Devices...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// acknowledged is how many reports of all Macs the server has accepted, by the number of the newest of each.
func (p *process) accepted(devices []device) (n int64) {
	p.t.Helper()
	for _, d := range devices {
		var page struct{ Reports []struct{ ID string } }
		p.call("GET", "/v1/devices/"+d.ID+"/reports?limit=1", "", http.StatusOK, &page)
		if len(page.Reports) > 0 {
			number, err := strconv.ParseInt(page.Reports[0].ID, 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			n += number
		}
	}
	return n
}

// macs are simulated Macs that act until the returned function is called.
func macs(t *testing.T, o sim.FleetOptions) (*sim.Fleet, *sim.Stats, func()) {
	t.Helper()
	stats := &sim.Stats{}
	o.World, o.Stats, o.Seed = sim.NewWorld(), stats, 7
	if o.Keys == nil {
		o.Keys = sim.NewKeys(4)
	}
	f, err := sim.NewFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		for _, v := range stats.Violations() {
			t.Errorf("violation: %s", v)
		}
	}
	return f, stats, stop
}

const everyone = `{"name": "everyone", "priority": 10, "updates": {"mode": "minimum", "version": "26.6.1", "deadline": "2027-03-01T12:00:00"}}`

// logged is what a command printed, line by line.
func lines(b []byte) (out []string) {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		out = append(out, s.Text())
	}
	return out
}
