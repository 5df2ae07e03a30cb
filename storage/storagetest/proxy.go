package storagetest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on to a server, until it is told to misbehave.
type Proxy struct {
	target string
	listen net.Listener

	mu      sync.Mutex
	conns   map[*proxied]bool
	refuse  bool
	delay   time.Duration
	match   []byte // of the request that is lost or whose answer is
	half    bool   // lose the request, not the answer
	fired   chan struct{}
	closing chan struct{}
	wg      sync.WaitGroup
}

type proxied struct {
	client, server net.Conn
	loseAnswer     bool // under the proxy's mu
}

func (c *proxied) close() {
	_ = c.client.Close() // it may be closed already, by its other direction
	_ = c.server.Close()
}

// NewProxy starts a proxy to target (host:port) on a loopback port, and ends it at cleanup.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listen: l, conns: map[*proxied]bool{}, closing: make(chan struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		close(p.closing)
		p.Refuse(true)
		p.wg.Wait()
	})
	return p
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

// Cut closes all connections that there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.close()
	}
}

// Refuse closes all connections that there are and that come, until it is told otherwise.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
	if on {
		p.Cut()
	}
}

// Delay holds back everything that the server answers from now on.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// LoseAnswer cuts the connection when the server answers the next request that contains match: the server has
// executed it, and the client does not know. The channel is closed when that has happened; from then on the proxy
// refuses connections, until Refuse(false).
func (p *Proxy) LoseAnswer(match string) <-chan struct{} { return p.arm(match, false) }

// LoseRequest cuts the connection in the middle of the next request that contains match: the server has
// not executed it. Else it is as LoseAnswer.
func (p *Proxy) LoseRequest(match string) <-chan struct{} { return p.arm(match, true) }

func (p *Proxy) arm(match string, half bool) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match, p.half, p.fired = []byte(match), half, make(chan struct{})
	return p.fired
}

func (p *Proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close() // as the server would refuse it
			continue
		}
		c := &proxied{client: client, server: server}
		p.mu.Lock()
		if p.refuse {
			c.close()
		} else {
			p.conns[c] = true
			p.wg.Go(func() { p.pass(c, c.client, c.server, p.request) })
			p.wg.Go(func() { p.pass(c, c.server, c.client, p.answer) })
		}
		p.mu.Unlock()
	}
}

// pass copies one direction. look decides what becomes of a piece: how much of it is passed on, and whether that is the end.
func (p *Proxy) pass(c *proxied, from io.Reader, to io.Writer, look func(*proxied, []byte) (int, bool)) {
	defer func() {
		c.close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	buf := make([]byte, 1<<20)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		pass, end := look(c, buf[:n])
		if _, err := to.Write(buf[:pass]); err != nil || end {
			return
		}
	}
}

func (p *Proxy) request(c *proxied, piece []byte) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.match == nil || !bytes.Contains(piece, p.match) {
		return len(piece), false
	}
	p.match = nil
	if p.half {
		p.refuse = true
		close(p.fired)
		return len(piece) / 2, true
	}
	c.loseAnswer = true
	return len(piece), false
}

func (p *Proxy) answer(c *proxied, piece []byte) (int, bool) {
	p.mu.Lock()
	delay, lose := p.delay, c.loseAnswer
	if lose {
		p.refuse = true
		close(p.fired)
	}
	p.mu.Unlock()
	if lose {
		return 0, true
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-p.closing:
		}
	}
	return len(piece), false
}
