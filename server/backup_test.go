package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"plimsoll/storage/storagetest"
)

const cliToken = "0123456789abcdef0123456789abcdef"

// plimsoll runs a command to its end.
func plimsoll(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	program, err := exec.LookPath("plimsoll")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PLIMSOLL_TOKEN="+cliToken)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// serving starts a server on a store and returns its address and what stops it.
func serving(t *testing.T, dir, store string, more ...string) (url string, stop func()) {
	t.Helper()
	program, err := exec.LookPath("plimsoll")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0", "--store", store, "--catalog", "none", "--admin-token", cliToken}, more...)...)
	cmd.Dir = dir
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
	lines := bufio.NewScanner(out)
	for lines.Scan() && url == "" {
		if said := regexp.MustCompile(`serves at (http://\S+)`).FindStringSubmatch(lines.Text()); said != nil {
			url = said[1]
		}
	}
	if url == "" {
		_ = cmd.Wait()
		t.Fatalf("the server does not start:\n%s", errs.String())
	}
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(io.Discard, out) }()
	return url, func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ends with %v:\n%s", err, errs.String())
		}
	}
}

func ask(t *testing.T, method, url, body string) (string, int) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+cliToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

func want(t *testing.T, what, out string, code, wantCode int, wantText string) {
	t.Helper()
	if code != wantCode || !regexp.MustCompile(wantText).MatchString(out) || wantCode != 0 && strings.Count(out, "\n") != 1 {
		t.Fatalf("%s: exit %d, want %d with %q:\n%s", what, code, wantCode, wantText, out)
	}
}

// A fleet moves from bolt to Redis and back with the commands that docs/operations.md names.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	url, stop := serving(t, dir, "bolt:first.db")
	if body, code := ask(t, "PUT", url+"/v1/groups/lab", `{"devices":["00000000-0000-0000-0000-000000000001"]}`); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	_, first := ask(t, "GET", url+"/v1/events", "")
	if first != 200 {
		t.Fatal(first)
	}
	out, code := plimsoll(t, dir, "backup", "fleet.backup", "--server", url)
	want(t, "backup", out, code, 0, `^fleet.backup: the backup of 20.*Z with 0 Macs, SHA-256 [0-9a-f]{64}\n$`)
	if info, err := os.Stat(filepath.Join(dir, "fleet.backup")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	out, code = plimsoll(t, dir, "backup", "-", "--server", url)
	if code != 0 || len(out) < 100 {
		t.Errorf("to standard output: %d, %d bytes", code, len(out))
	}
	out, code = plimsoll(t, dir, "backup", "other.backup", "--store", "bolt:first.db")
	want(t, "of a store in use", out, code, 1, "in use by another process")
	out, code = plimsoll(t, dir, "restore", "fleet.backup", "--store", "bolt:first.db")
	want(t, "into a store in use", out, code, 1, "in use by another process")
	stop()
	out, code = plimsoll(t, dir, "restore", "fleet.backup", "--store", "bolt:first.db")
	want(t, "into a store that was used", out, code, 1, "the store is not empty")
	out, code = plimsoll(t, dir, "backup", "other.backup", "--store", "bolt:typo.db")
	want(t, "of a store that is not there", out, code, 1, "typo.db")

	redis := storagetest.RedisServer(t).URL()
	out, code = plimsoll(t, dir, "restore", "fleet.backup", "--store", redis)
	want(t, "restore", out, code, 0, `^Restored the backup of 20.*Z with 0 Macs\.\nThe fleet is as it was then: Macs that enrolled since must enrol again\.\n`)
	url, stop = serving(t, dir, redis)
	if body, code := ask(t, "GET", url+"/v1/groups/lab", ""); code != 200 || !strings.Contains(body, "00000000-0000-0000-0000-000000000001") {
		t.Errorf("the group in Redis: %d %s", code, body)
	}
	stop()

	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.txt"), []byte("# created: today\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code = plimsoll(t, dir, "backup", "secret.backup", "--store", redis, "--backup-recipient", id.Recipient().String())
	want(t, "encrypted", out, code, 0, `^secret.backup: an encrypted backup\n$`)
	out, code = plimsoll(t, dir, "restore", "secret.backup", "--store", "bolt:back.db")
	want(t, "without the identity", out, code, 1, "the backup is encrypted")
	out, code = plimsoll(t, dir, "restore", "secret.backup", "--store", "bolt:back.db", "--identity", "@key.txt", "--without-tokens")
	want(t, "with the identity", out, code, 0, "were left out")
	url, stop = serving(t, dir, "bolt:back.db", "--backup-recipient", id.Recipient().String())
	if body, code := ask(t, "GET", url+"/v1/groups/lab", ""); code != 200 {
		t.Errorf("the group in the second file: %d %s", code, body)
	}
	out, code = plimsoll(t, dir, "backup", "again.backup", "--server", url)
	want(t, "of a server with a recipient", out, code, 0, "an encrypted backup")
	stop()
	left, err := filepath.Glob(filepath.Join(dir, "*.backup*"))
	if hidden, _ := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 3 || len(hidden) != 0 {
		t.Errorf("left: %v %v, %v", left, hidden, err)
	}
}
