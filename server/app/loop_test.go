package app_test

import (
	"bufio"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
	"plimsoll/storage/storagetest"
)

// The whole loop on both databases: Macs enrol over SCEP, a policy makes those below the floor pending with the right targets and deadlines, they
// update and are compliant; the server is killed in the middle, loses no acknowledged report, and no Mac enrols again.
func TestLoop(t *testing.T) {
	for name, store := range map[string]func(t *testing.T) string{
		"bolt": func(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "p.db") },
		"redis": func(t *testing.T) string {
			return storagetest.RedisServer(t, "--appendonly", "yes", "--appendfsync", "always").URL()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testLoop(t, store(t))
		})
	}
}

func testLoop(t *testing.T, store string) {
	p := start(t, store)
	const n = 25
	// At first nobody installs anything: Macs poll often, but their own clocks run as ours do.
	fleet, stats, stop := macs(t, sim.FleetOptions{Options: sim.Options{URL: "http://" + p.addr, Pace: 2 * time.Second}, N: n, Eager: 1, Poll: 200 * time.Millisecond, Speed: 1})
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	eventually(t, "every Mac is enrolled and has reported", func() bool {
		c := p.compliance()
		return c.Devices == n && c.States["unmanaged"] == n
	})
	p.call("POST", "/v1/policies", everyone, http.StatusCreated, nil)
	var behind []device
	eventually(t, "those below the floor are pending", func() bool {
		behind = p.devices("state=pending")
		c := p.compliance()
		return len(behind) > 0 && c.States["unmanaged"] == 0 && c.States["pending"] == len(behind)
	})
	want := len(behind)
	for _, d := range behind {
		if d.Target == nil || d.Target.Version != "26.6.2" || d.Target.Build != "25G83" || d.DeadlineLocal != "2027-03-01T12:00:00" {
			t.Errorf("%s runs %s: target %+v, deadline %s", d.Serial, d.OS.Version, d.Target, d.DeadlineLocal)
		}
		if len(d.Reasons) == 0 {
			t.Errorf("%s is pending without a reason", d.Serial)
		}
	}
	enrolled := stats.Enrolled.Load()
	p.kill()
	acknowledged := stats.Reports.Load()
	p.run()
	if got := p.accepted(p.devices("")); got < acknowledged {
		t.Errorf("%d reports were acknowledged, after kill -9 the server knows %d", acknowledged, got)
	}
	eventually(t, "every Mac that was behind is compliant", func() bool {
		c := p.compliance()
		return c.States["pending"]+c.States["failing"] == 0 && stats.Updates.Load() >= int64(want)
	})
	stop()
	stopped = true
	if got := stats.Enrolled.Load(); got != enrolled || fleet.Standing().Enrolled != n {
		t.Errorf("%d enrolments before the server was killed, %d after", enrolled, got)
	}
	for _, d := range p.devices("state=compliant") {
		if d.OS.Version != "26.6.2" && strings.HasPrefix(d.OS.Version, "26.") && d.OS.Version < "26.6.1" {
			t.Errorf("%s is compliant with %s", d.Serial, d.OS.Version)
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("after SIGTERM the exit status is %d", code)
	}
}

// A second process on the same bolt file, and other starts that must fail, say why in one clear line.
func TestStartsThatFail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	first := start(t, "bolt:"+path)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"store in use":     {[]string{"--listen", "127.0.0.1:0", "--store", "bolt:" + path}, 1, "in use"},
		"port taken":       {[]string{"--listen", first.addr, "--store", "bolt:" + path + "2"}, 1, first.addr},
		"unknown flag":     {[]string{"--nonsense"}, 2, "nonsense"},
		"bad zone":         {[]string{"--time-zone", "Mars/Olympus"}, 2, "--time-zone"},
		"bad store":        {[]string{"--store", "mysql://x"}, 2, "--store"},
		"bad level":        {[]string{"--log-level", "loud"}, 2, "log-level"},
		"missing catalog":  {[]string{"--listen", "127.0.0.1:0", "--store", "bolt:" + path + "3", "--catalog", "/no/such/file"}, 1, "/no/such/file"},
		"unreachable":      {[]string{"--listen", "127.0.0.1:0", "--store", "redis://127.0.0.1:1"}, 1, "127.0.0.1:1"},
		"missing CA":       {[]string{"--listen", "127.0.0.1:0", "--store", "bolt:" + path + "4", "--device-ca", "/no/such/ca.pem"}, 1, "/no/such/ca.pem"},
		"short token":      {[]string{"--admin-token", "short"}, 2, "--admin-token"},
		"url with a path":  {[]string{"--url", "http://x/y"}, 2, "--url"},
		"missing data":     {[]string{"--listen", "127.0.0.1:0", "--store", "bolt:" + path + "5", "--data", "/no/such/folder"}, 1, "/no/such/folder"},
		"no rate at all":   {[]string{"--push-rate", "NaN"}, 2, "--push-rate"},
		"no header at all": {[]string{"--cert-header", "X Cert:"}, 2, "--cert-header"},
		"bad device limit": {[]string{"--keep-reports", "0"}, 2, "--keep-reports"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program, append([]string{"serve"}, c.args...)...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			err := cmd.Run()
			if err == nil || cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("exit status %d, want %d: %s", cmd.ProcessState.ExitCode(), c.code, stderr.String())
			}
			if got := lines([]byte(stderr.String())); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("standard error is %q, want one line with %q", got, c.want)
			}
		})
	}
	// The admin token is printed once: a start that failed must not have been that once.
	if err := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--catalog", "none", "--store", "bolt:"+path+"6", "--profile-identity", "/no/such.pem").Run(); err == nil {
		t.Error("a start with an identity that does not exist succeeds")
	}
	second := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--catalog", "none", "--store", "bolt:"+path+"6")
	printed, err := second.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	line := ""
	for l := bufio.NewScanner(printed); !strings.Contains(line, "admin token") && l.Scan(); {
		line = l.Text()
	}
	_ = second.Process.Kill()
	_ = second.Wait()
	if !strings.Contains(line, "shown once") {
		t.Error("a start that failed used up the first admin token")
	}
	out, err := exec.Command(program, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "plimsoll ") {
		t.Errorf("version: %q, %v", out, err)
	}
	if out, err := exec.Command(program, "healthcheck", "--listen", first.addr).CombinedOutput(); err != nil {
		t.Errorf("healthcheck of a ready server: %s, %v", out, err)
	}
	if err := exec.Command(program, "healthcheck", "--listen", "127.0.0.1:1").Run(); err == nil {
		t.Error("healthcheck of a server that is not there succeeds")
	}
}
