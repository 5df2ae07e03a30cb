package app_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micromdm/nanolib/log"
	"github.com/micromdm/nanomdm/certverify"
	"github.com/micromdm/nanomdm/cryptoutil"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/inmem"

	"plimsoll/server/app"
)

// benchChild makes the test's own program a server of the benchmark: "limit" or "serve".
const benchChild = "PLIMSOLL_BENCH_CHILD"

func init() {
	var err error
	switch os.Getenv(benchChild) {
	case "":
		return
	case "limit":
		err = serveLimit(os.Args[1])
	case "serve":
		err = serveProfiled(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveLimit is NanoMDM's chain with its in-memory storage and a handler that knows the answers: what a server built on NanoMDM can reach.
func serveLimit(caFile string) error {
	roots, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	verifier, err := certverify.NewPoolVerifier(roots, nil, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	store := inmem.New()
	core := nanomdm.New(store,
		nanomdm.WithUserAuthenticate(nanomdm.NewUAService(store, false)),
		nanomdm.WithGetToken(nanomdm.NewTokenMux()),
		nanomdm.WithDeclarativeManagement(trivial{}),
	)
	h := httpmdm.CheckinAndCommandHandler(certauth.New(core, store), log.NopLogger)
	h = httpmdm.CertVerifyMiddleware(h, verifier, log.NopLogger)
	h = httpmdm.CertExtractMdmSignatureMiddleware(h, httpmdm.MdmSignatureVerifierFunc(cryptoutil.VerifyMdmSignature))
	mux := http.NewServeMux()
	mux.Handle("/mdm", http.MaxBytesHandler(h, 4<<20))
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	return http.ListenAndServe(os.Getenv("PLIMSOLL_LISTEN"), mux)
}

// trivial answers with what was made beforehand, and validates the JSON of reports.
type trivial struct{}

// DeclarativeManagement answers one request.
func (trivial) DeclarativeManagement(_ *mdm.Request, m *mdm.DeclarativeManagement) ([]byte, error) {
	switch {
	case m.Endpoint == "tokens":
		return trivialTokens, nil
	case m.Endpoint == "declaration-items":
		return trivialItems, nil
	case m.Endpoint == "status" && json.Valid(m.Data):
		return nil, nil
	case m.Endpoint == "status":
		return nil, service.NewHTTPStatusError(http.StatusBadRequest, errors.New("not JSON"))
	}
	return trivialDeclaration, nil
}

var (
	trivialTokens = []byte(`{"SyncTokens":{"Timestamp":"2026-11-22T12:00:00Z","DeclarationsToken":"6f7a3b0c5d1e48b2a9c4e7f80123456789abcdef0123456789abcdef01234567"}}`)
	trivialItems  = []byte(`{"Declarations":{"Activations":[{"Identifier":"plimsoll.activation.status","ServerToken":"6f7a3b0c5d1e48b2a9c4e7f801234567"},{"Identifier":"plimsoll.activation.os-update","ServerToken":"6f7a3b0c5d1e48b2a9c4e7f801234568"},{"Identifier":"plimsoll.activation.settings","ServerToken":"6f7a3b0c5d1e48b2a9c4e7f801234569"}],"Assets":[],"Configurations":[{"Identifier":"plimsoll.status","ServerToken":"6f7a3b0c5d1e48b2a9c4e7f801234560"},{"Identifier":"plimsoll.os-update","ServerToken":"6f7a3b0c5d1e48b2a9c4e7f801234561"},{"Identifier":"plimsoll.settings","ServerToken":"6f7a3b0c5d1e48b2a9c4e7f801234562"}],"Management":[]},"DeclarationsToken":"6f7a3b0c5d1e48b2a9c4e7f80123456789abcdef0123456789abcdef01234567"}`)

	trivialDeclaration = []byte(`{"Type":"com.apple.configuration.softwareupdate.enforcement.specific","Identifier":"plimsoll.os-update","ServerToken":"6f7a3b0c5d1e48b2a9c4e7f801234561","Payload":{"TargetOSVersion":"26.6.2","TargetBuildVersion":"25G83","TargetLocalDateTime":"2027-03-01T12:00:00"}}`)
)

// serveProfiled is the server itself, with net/http/pprof beside it.
func serveProfiled(options string) error {
	var o app.Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return err
	}
	go func() {
		mux := http.NewServeMux()
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		_ = http.ListenAndServe(os.Getenv("PLIMSOLL_BENCH_PPROF"), mux)
	}()
	return app.Serve(context.Background(), o, "bench", os.Stderr)
}

// server is a server in a process of its own, so that its processor time and memory can be told from the client's.
type server struct {
	t     *testing.T
	addr  string
	pprof string // address of its profiles; empty: none
	cmd   *exec.Cmd
	redis int // process id of its database; 0: none
	peak  int64
	quit  chan struct{}
	done  chan struct{}
}

func startLimit(t *testing.T, caFile string) *server {
	s := &server{t: t, addr: freeAddr(t)}
	s.cmd = exec.Command(os.Args[0], caFile)
	s.cmd.Env = append(os.Environ(), benchChild+"=limit", "PLIMSOLL_LISTEN="+s.addr)
	s.run()
	return s
}

// startServer starts the program on a store, or with profile the same in a program that can be profiled.
func startServer(t *testing.T, store, caFile string, profile bool) *server {
	s := &server{t: t, addr: freeAddr(t)}
	if profile {
		s.pprof = freeAddr(t)
		o, err := json.Marshal(app.Options{
			Listen: s.addr, Store: store, DeviceCA: []string{caFile}, AdminToken: adminToken, Catalog: "none", LogLevel: "error", LogFormat: "text",
			TimeZone: "UTC", PushRate: 50, KeepReports: 20, KeepEvents: "90d", KeepHistory: "400d", KeepPatching: "1200d", MaxExemption: "90d",
		})
		if err != nil {
			t.Fatal(err)
		}
		s.cmd = exec.Command(os.Args[0], string(o))
		s.cmd.Env = append(os.Environ(), benchChild+"=serve", "PLIMSOLL_BENCH_PPROF="+s.pprof)
	} else {
		s.cmd = exec.Command(program, "serve", "--listen", s.addr, "--store", store, "--device-ca", caFile,
			"--admin-token", adminToken, "--catalog", "none", "--log-level", "error")
	}
	s.run()
	return s
}

func (s *server) run() {
	s.t.Helper()
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.quit, s.done = make(chan struct{}), make(chan struct{})
	s.t.Cleanup(s.stop)
	eventually(s.t, "the server is ready", func() bool {
		resp, err := http.Get("http://" + s.addr + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	go s.watch()
}

func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	close(s.quit)
	<-s.done
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// watch keeps the greatest anonymous memory.
func (s *server) watch() {
	defer close(s.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
			s.peak = max(s.peak, s.memory())
		}
	}
}

// memory is the anonymous memory of the process in bytes.
func (s *server) memory() int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// cpu is the processor time that the server, and its database, have used.
func (s *server) cpu() (own, database time.Duration) {
	own = processTime(s.t, s.cmd.Process.Pid)
	if s.redis != 0 {
		database = processTime(s.t, s.redis)
	}
	return own, database
}

func processTime(t *testing.T, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// processorTime sums a whole machine's used processor time, so that a report can say how busy others kept it.
func processorTime() (used time.Duration) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line)[1:] {
		if n, err := strconv.Atoi(f); err == nil && i != 3 && i != 4 && i < 8 { // idle, waiting, and guests counted twice
			used += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return used
}

func dial(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, 5*time.Second) }
