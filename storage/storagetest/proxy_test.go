package storagetest

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shouter answers every line, and tells what it has read.
func shouter(t *testing.T) (addr string, read chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	read = make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close() //nolint:errcheck // a test's
				for lines := bufio.NewScanner(c); lines.Scan(); {
					read <- lines.Text()
					if _, err := fmt.Fprintln(c, lines.Text()+"!"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), read
}

func say(t *testing.T, addr, line string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // a test's
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func TestProxy(t *testing.T) {
	server, read := shouter(t)
	p := NewProxy(t, server)
	want := func(line, answer string) {
		t.Helper()
		got, err := say(t, p.Addr(), line)
		if got != answer || (answer == "") != (err != nil) {
			t.Errorf("%s: %q, %v, want %q", line, got, err, answer)
		}
	}
	heard := func(line string) {
		t.Helper()
		if got := <-read; got != line {
			t.Errorf("the server read %q, want %q", got, line)
		}
	}
	want("hello", "hello!\n")
	heard("hello")

	fired := p.LoseAnswer("commit")
	want("other", "other!\n")
	heard("other")
	want("commit 1", "")
	heard("commit 1")
	<-fired
	want("refused", "")
	p.Refuse(false)
	want("commit 2", "commit 2!\n")
	heard("commit 2")

	fired = p.LoseRequest("commit")
	want("commit 3", "")
	<-fired
	p.Refuse(false)
	want("again", "again!\n")
	for line := range read { // half a line may have come first
		if line == "commit 3" {
			t.Error("the request was not lost")
		}
		if line == "again" {
			break
		}
	}

	p.Delay(time.Millisecond)
	want("late", "late!\n")
	p.Delay(0)

	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's
	if _, err := fmt.Fprintln(c, "open"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a connection that was cut", n)
	}
}
