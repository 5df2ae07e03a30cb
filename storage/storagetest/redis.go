package storagetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// AOF makes a Redis that acknowledges only what it has synced to disk.
var AOF = []string{"--appendonly", "yes", "--appendfsync", "always"}

// Redis is a redis-server of its own, on a loopback port, with its files in a folder that is removed with the test.
type Redis struct {
	t      testing.TB
	port   int
	dir    string
	args   []string // of the command line
	cmd    *exec.Cmd
	exited chan struct{}
}

// RedisServer starts a redis-server that keeps nothing on disk, unless args say otherwise, and stops it at cleanup.
func RedisServer(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := newRedis(t)
	r.start(append([]string{
		"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--logfile", "redis.log", "--save", "",
	}, args...))
	return r
}

func newRedis(t testing.TB) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: apt-get install redis-server")
	}
	return &Redis{t: t, port: freePort(t), dir: t.TempDir()}
}

// freePort returns a port that is free, and whose cluster bus (10000 above it) is free too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		bus, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+10_000)))
		_ = l.Close() // it was only asked for a number
		if err == nil {
			_ = bus.Close()
			return port
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}

// Addr is its host and port.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// URL is its store URL.
func (r *Redis) URL() string { return "redis://" + r.Addr() }

// start starts the server and waits until it answers.
func (r *Redis) start(args []string) {
	r.t.Helper()
	r.args = args
	r.cmd = exec.Command("redis-server", args...)
	endWithTests(r.cmd)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatalf("start redis-server: %v", err)
	}
	cmd, exited := r.cmd, make(chan struct{})
	r.exited = exited
	go func() {
		_ = cmd.Wait() // how it ended is of no interest
		close(exited)
	}()
	r.t.Cleanup(func() { r.end(exited, cmd.Process, syscall.SIGKILL) })
	r.await("answers PING", func() error {
		select {
		case <-exited:
			log, _ := os.ReadFile(filepath.Join(r.dir, "redis.log")) // as much as there is
			r.t.Fatalf("redis-server ended at once:\n%s", log)
		default:
		}
		answer, err := r.Ask("PING")
		if err == nil && answer != "PONG" {
			err = errors.New(answer)
		}
		return err
	})
}

// Stop lets the server end as an operator would.
func (r *Redis) Stop() {
	r.t.Helper()
	r.end(r.exited, r.cmd.Process, syscall.SIGTERM)
}

// Kill ends the server at once, as kill -9 does.
func (r *Redis) Kill() {
	r.t.Helper()
	r.end(r.exited, r.cmd.Process, syscall.SIGKILL)
}

// Freeze stops the server from doing anything, with its connections open, until Thaw.
func (r *Redis) Freeze() { _ = r.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (r *Redis) Thaw() { _ = r.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts a server that was stopped or killed, on the same port and files.
func (r *Redis) Restart() {
	r.t.Helper()
	r.Kill()
	r.start(r.args)
}

func (r *Redis) end(exited chan struct{}, p *os.Process, how os.Signal) {
	select {
	case <-exited:
		return
	default:
	}
	_ = p.Signal(how) // it may have ended by itself
	_ = p.Signal(syscall.SIGCONT)
	select {
	case <-exited:
	case <-time.After(patience):
		r.t.Errorf("redis-server on port %d does not end by %v", r.port, how)
	}
}

// Ask sends one command and returns the answer as text, the elements of a list one per line.
func (r *Redis) Ask(words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", r.Addr())
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // the answer is what counts
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return "", err
	}
	return readAnswer(bufio.NewReader(c))
}

func readAnswer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if line == "" {
		return "", errors.New("empty answer")
	}
	switch rest := line[1:]; line[0] {
	case '-':
		return "", errors.New(rest)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "", err
		}
		body := make([]byte, n+2)
		_, err = io.ReadFull(r, body)
		return string(body[:n]), err
	case '*':
		n, err := strconv.Atoi(rest)
		if err != nil {
			return "", err
		}
		lines := make([]string, max(n, 0))
		for i := range lines {
			if lines[i], err = readAnswer(r); err != nil {
				return "", err
			}
		}
		return strings.Join(lines, "\n"), nil
	default: // a status or a number
		return rest, nil
	}
}

// await polls until ready returns no error.
func (r *Redis) await(what string, ready func() error) {
	r.t.Helper()
	Await(r.t, fmt.Sprintf("redis-server on port %d %s", r.port, what), ready)
}

// Await polls until ready returns no error, and fails the test when it goes on returning one.
func Await(t testing.TB, what string, ready func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not so after %v: %v", what, patience, err)
		}
	}
}
