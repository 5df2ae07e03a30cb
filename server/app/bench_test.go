package app_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The targets, as ratios to the limit in the same run.
const (
	wantRead    = 0.8       // tokens, declaration-items, declaration
	wantStatus  = 0.5       // against a handler that only validates the JSON
	wantSlowerR = 1.1       // reads at 100,000 Macs against 1,000
	wantSlowerW = 1.4       // writes
	wantMemory  = 300 << 20 // bytes, 100,000 Macs
	wantChange  = 60 * time.Second
)

var wantBytes = map[string]int64{"bolt": 20 << 10, "redis": 12 << 10}

// benchOptions come from the environment, so that a small version runs quickly.
type benchOptions struct {
	Sizes  []int         // PLIMSOLL_BENCH_SIZES=1000,10000
	Stores []string      // PLIMSOLL_BENCH_STORES=bolt,redis
	Macs   int           // PLIMSOLL_BENCH_MACS: of them send requests
	Slice  time.Duration // PLIMSOLL_BENCH_SLICE: of one measurement
	Rounds int           // PLIMSOLL_BENCH_ROUNDS
	Conns  int           // PLIMSOLL_BENCH_CONNS
	Out    string        // PLIMSOLL_BENCH_OUT: the JSON
	// Profiles is a folder for profiles of CPU and heap, PLIMSOLL_BENCH_PROFILES; empty: none. With it the server runs inside a larger program.
	Profiles string
}

func benchEnv(t *testing.T) benchOptions {
	t.Helper()
	get := func(name, def string) string {
		if v := os.Getenv("PLIMSOLL_BENCH_" + name); v != "" {
			return v
		}
		return def
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil || n <= 0 {
			t.Fatalf("%q is not a number above 0", s)
		}
		return n
	}
	o := benchOptions{
		Stores: strings.Split(get("STORES", "bolt,redis"), ","), Macs: number(get("MACS", "1000")), Rounds: number(get("ROUNDS", "3")),
		Conns: number(get("CONNS", "16")), Out: get("OUT", "../../out/bench.json"), Profiles: get("PROFILES", ""),
	}
	for s := range strings.SplitSeq(get("SIZES", "1000,10000,100000"), ",") {
		o.Sizes = append(o.Sizes, number(s))
	}
	var err error
	if o.Slice, err = time.ParseDuration(get("SLICE", "1s")); err != nil {
		t.Fatal(err)
	}
	return o
}

// row is one line of the result.
type row struct {
	Store    string   `json:"store"`
	Macs     int      `json:"macs"`
	Endpoint string   `json:"endpoint"`
	Ours     measured `json:"ours"`
	Limit    measured `json:"limit"`

	PerSecond      float64 `json:"per_second"`
	LimitPerSecond float64 `json:"limit_per_second"`
	Ratio          float64 `json:"ratio"` // of throughput
	CPUMicros      float64 `json:"server_cpu_us"`
	DatabaseMicros float64 `json:"database_cpu_us"`
	LimitCPUMicros float64 `json:"limit_cpu_us"`
	RatioCPU       float64 `json:"ratio_cpu"` // limit's processor time to ours
	P50            float64 `json:"p50_ms"`
	P99            float64 `json:"p99_ms"`
	LimitP50       float64 `json:"limit_p50_ms"`
	Want           float64 `json:"want"`
}

// fleetRow is what belongs to a store with a number of Macs as a whole.
type fleetRow struct {
	Store          string             `json:"store"`
	Macs           int                `json:"macs"`
	SeedSeconds    float64            `json:"seed_s"`
	StartSeconds   float64            `json:"start_s"` // of the process, until it is ready
	BytesPerMac    int64              `json:"database_bytes_per_mac"`
	MemoryStart    int64              `json:"anonymous_memory_start"`
	MemoryLoaded   int64              `json:"anonymous_memory_loaded"`
	MemoryPeak     int64              `json:"anonymous_memory_peak"`
	ChangeAnswered float64            `json:"change_answered_s"`
	ChangeQueued   float64            `json:"change_queued_s"` // the last Mac's command
	ChangeCPU      float64            `json:"change_server_cpu_s"`
	Latencies      map[string]latency `json:"latencies"`
}

type latency struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	Max float64 `json:"max_ms"`
	N   int     `json:"n"`
}

type benchResult struct {
	Date    string        `json:"date"`
	Machine string        `json:"machine"`
	Redis   string        `json:"redis"`
	Options benchOptions  `json:"options"`
	Rows    []row         `json:"rows"`
	Fleets  []fleetRow    `json:"fleets"`
	Busy    float64       `json:"others_cpu_share"` // of the machine, used by what is not part of the run
	Took    time.Duration `json:"took_ns"`
}

// TestBench measures the whole stack against the limit of a server built on NanoMDM, in one run:
//
//	PLIMSOLL_BENCH=1 go test -run '^TestBench$' -timeout 60m -v ./server/app
//
// Client, server and database share the machine: trust the ratios and the processor time per request.
func TestBench(t *testing.T) {
	if os.Getenv("PLIMSOLL_BENCH") == "" {
		t.Skip("PLIMSOLL_BENCH is not set")
	}
	o := benchEnv(t)
	began, used, own := time.Now(), processorTime(), selfTime()
	ids := newIdentities(t)
	limit := startLimit(t, ids.file)
	b := &bench{t: t, o: o, ids: ids, limit: limit, limitPool: newPool(t, limit.addr, o.Conns)}
	b.result.Date, b.result.Machine, b.result.Options = began.UTC().Format(time.RFC3339), machine(), o
	b.result.Redis = "one node, appendonly yes, appendfsync everysec"
	t.Logf("signing the requests of %d Macs", o.Macs)
	// The same Macs at every size: they lie evenly in the largest fleet.
	b.limitMacs(o.Macs)
	for _, size := range o.Sizes {
		for _, store := range o.Stores {
			b.fleet(store, size)
		}
	}
	limit.stop()
	b.result.Took = time.Since(began)
	ours := selfTime() - own // the servers have ended, and count as children
	b.result.Busy = max(0, (processorTime()-used-ours).Seconds()) / (b.result.Took.Seconds() * float64(runtime.NumCPU()))
	b.write()
	fmt.Print(b.table())
}

// bench is one run.
type bench struct {
	t         *testing.T
	o         benchOptions
	ids       *identities
	limit     *server
	limitPool pool
	limitMac  []*signed
	result    benchResult
}

// limitMacs enrols the Macs of the limit.
func (b *bench) limitMacs(n int) {
	b.t.Helper()
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	b.limitMac = b.ids.sign(b.t, numbers, false)
	b.enrolAll(b.limitPool, b.limit, b.limitMac)
}

// enrolAll sends Authenticate and then TokenUpdate of every Mac.
func (b *bench) enrolAll(p pool, s *server, macs []*signed) measured {
	b.t.Helper()
	one := p.load(b.t, s, time.Hour, func(i int) []byte {
		if i >= len(macs) {
			return nil
		}
		return macs[i].authenticate
	})
	one.add(p.load(b.t, s, time.Hour, func(i int) []byte {
		if i >= len(macs) {
			return nil
		}
		return macs[i].tokenUpdate
	}))
	one.Requests /= 2 // pairs
	return one
}

// spread are the numbers of the Macs that send requests, evenly over the fleet.
func spread(of, n int) []int {
	n = min(n, of)
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i * (of / n)
	}
	return numbers
}

func (b *bench) fleet(store string, size int) {
	t := b.t
	t.Helper()
	numbers := spread(size, b.o.Macs)
	macs := b.ids.sign(t, numbers, false)
	certs := make(map[int]*x509.Certificate, len(macs))
	for i, n := range numbers {
		certs[n] = macs[i].cert
	}
	g := seed(t, store, size, certs)
	t.Logf("%s: %d Macs enrolled in %.0f s, %d bytes each", store, size, g.took.Seconds(), g.perMac)
	started := time.Now()
	s := startServer(t, g.url, b.ids.file, b.o.Profiles != "")
	defer func() {
		s.stop()
		if g.server != nil {
			g.server.Stop()
		}
	}()
	f := fleetRow{
		Store: store, Macs: size, SeedSeconds: g.took.Seconds(), StartSeconds: time.Since(started).Seconds(), BytesPerMac: g.perMac,
		MemoryStart: s.memory(), Latencies: map[string]latency{},
	}
	if g.server != nil {
		s.redis = int(g.redisInfo(t, "server", "process_id"))
	}
	p := newPool(t, s.addr, b.o.Conns)
	b.check(p[0], macs[0])
	f.query(b, s, "idle")
	for _, e := range endpoints {
		b.compare(e, store, size, s, p, macs)
	}
	b.enrolment(store, size, s, p)
	b.underLoad(&f, s, p, macs)
	f.MemoryLoaded = s.memory()
	b.change(&f, s, macs)
	f.MemoryPeak = max(s.peak, f.MemoryLoaded)
	if b.o.Profiles != "" {
		b.keepProfile(s, "heap?gc=1", fmt.Sprintf("%s-%d-heap", store, size))
	}
	t.Logf("%s: %d Macs: %s", store, size, mustJSON(f))
	b.result.Fleets = append(b.result.Fleets, f)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// endpoint is what is measured.
type endpoint struct {
	name string
	want float64
	of   func(m *signed) []byte
}

var endpoints = []endpoint{
	{"tokens", wantRead, func(m *signed) []byte { return m.tokens }},
	{"declaration-items", wantRead, func(m *signed) []byte { return m.items }},
	{"declaration", wantRead, func(m *signed) []byte { return m.declaration }},
	{"status", wantStatus, func(m *signed) []byte { return m.reports[int(m.next.Add(1))%variants] }},
}

func turn(macs []*signed, of func(*signed) []byte) func(int) []byte {
	return func(i int) []byte { return of(macs[i%len(macs)]) }
}

// check sends one of each, and looks at the answers.
func (b *bench) check(c *client, m *signed) {
	b.t.Helper()
	for _, e := range endpoints {
		status, err := c.do(e.of(m))
		if err != nil || status != http.StatusOK {
			b.t.Fatalf("%s: answered %d %s, %v", e.name, status, c.body.Bytes(), err)
		}
		if want := map[string]string{"tokens": `"DeclarationsToken"`, "declaration-items": `"plimsoll.settings"`, "declaration": `"AlwaysOn"`}[e.name]; !strings.Contains(c.body.String(), want) {
			b.t.Fatalf("%s: answered %s without %s", e.name, c.body.Bytes(), want)
		}
	}
}

// compare measures limit and server in turn, in slices, so that both meet the same neighbours.
func (b *bench) compare(e endpoint, store string, size int, s *server, p pool, macs []*signed) {
	b.t.Helper()
	r := row{Store: store, Macs: size, Endpoint: e.name, Want: e.want}
	p.load(b.t, s, b.o.Slice/2, turn(macs, e.of)) // every Mac's association and chain is known after it
	for range b.o.Rounds {
		r.Limit.add(b.limitPool.load(b.t, b.limit, b.o.Slice, turn(b.limitMac, e.of)))
		r.Ours.add(p.load(b.t, s, b.o.Slice, turn(macs, e.of)))
	}
	if b.o.Profiles != "" {
		b.profile(s, fmt.Sprintf("%s-%d-%s", store, size, e.name), func() { p.load(b.t, s, 3*time.Second, turn(macs, e.of)) })
	}
	b.add(r)
}

func (b *bench) add(r row) {
	r.PerSecond, r.LimitPerSecond = r.Ours.perSecond(), r.Limit.perSecond()
	r.Ratio = r.PerSecond / r.LimitPerSecond
	r.CPUMicros, r.LimitCPUMicros, r.DatabaseMicros = r.Ours.cpuMicros(), r.Limit.cpuMicros(), r.Ours.databaseMicros()
	r.RatioCPU = r.LimitCPUMicros / r.CPUMicros
	r.P50, r.P99, r.LimitP50 = millis(percentile(r.Ours.latencies, .5)), millis(percentile(r.Ours.latencies, .99)), millis(percentile(r.Limit.latencies, .5))
	b.t.Logf("%s %d %s: %.0f/s (limit %.0f/s, ratio %.2f), cpu %.0f us + database %.0f us (limit %.0f us, ratio %.2f)", r.Store, r.Macs, r.Endpoint,
		r.PerSecond, r.LimitPerSecond, r.Ratio, r.CPUMicros, r.DatabaseMicros, r.LimitCPUMicros, r.RatioCPU)
	b.result.Rows = append(b.result.Rows, r)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// enrolment measures pairs of Authenticate and TokenUpdate of Macs that are new.
func (b *bench) enrolment(store string, size int, s *server, p pool) {
	b.t.Helper()
	const n = 1500
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = 10_000_000 + size*10 + i
	}
	macs := b.ids.sign(b.t, numbers, true)
	r := row{Store: store, Macs: size, Endpoint: "enrolment"}
	r.Ours = b.enrolAll(p, s, macs)
	fresh := startLimit(b.t, b.ids.file)
	r.Limit = b.enrolAll(newPool(b.t, fresh.addr, b.o.Conns), fresh, macs)
	fresh.stop()
	b.add(r)
}

const benchQuery = "/v1/devices?state=pending&sort=deadline&limit=100"

func (f *fleetRow) query(b *bench, s *server, when string) {
	b.t.Helper()
	c, err := newClient(s.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = c.conn.Close() }()
	for name, path := range map[string]string{"compliance": "/v1/compliance", "page of 100": benchQuery} {
		req := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n", path, adminToken)
		var took []time.Duration
		pace := time.NewTicker(20 * time.Millisecond) // under the limit of a token
		for range 40 {
			<-pace.C
			began := time.Now()
			status, err := c.do(req)
			if err != nil || status != http.StatusOK {
				b.t.Fatalf("%s: answered %d %s, %v", path, status, c.body.Bytes(), err)
			}
			took = append(took, time.Since(began))
		}
		pace.Stop()
		f.Latencies[name+", "+when] = latency{millis(percentile(took, .5)), millis(percentile(took, .95)), millis(percentile(took, 1)), len(took)}
	}
}

// underLoad asks while every connection reports.
func (b *bench) underLoad(f *fleetRow, s *server, p pool, macs []*signed) {
	b.t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		p.load(b.t, s, time.Minute, func(i int) []byte {
			select {
			case <-stop:
				return nil
			default:
				return endpoints[3].of(macs[i%len(macs)])
			}
		})
	})
	f.query(b, s, "while Macs report")
	close(stop)
	wg.Wait()
}

// change puts a policy that changes every Mac's declarations, and waits until the last Mac's command is queued.
func (b *bench) change(f *fleetRow, s *server, macs []*signed) {
	t := b.t
	t.Helper()
	queued := func() int {
		var n int
		for line := range strings.Lines(b.get(s, "/metrics")) {
			if v, ok := strings.CutPrefix(line, "plimsoll_commands_total "); ok {
				x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
				if err != nil {
					t.Fatal(err)
				}
				n = int(x)
			}
		}
		return n
	}
	before := queued()
	cpu, _ := s.cpu()
	began := time.Now()
	req, err := http.NewRequest(http.MethodPut, "http://"+s.addr+"/v1/policies/everyone?confirm=true", strings.NewReader(benchPolicy(deadlineIn(61), "AlwaysOff")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the change was answered %s: %s", resp.Status, answer)
	}
	f.ChangeAnswered = time.Since(began).Seconds()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for deadline := began.Add(5 * time.Minute); queued()-before < f.Macs; <-look.C {
		if time.Now().After(deadline) {
			t.Errorf("%s, %d Macs: only %d commands were queued", f.Store, f.Macs, queued()-before)
			break
		}
	}
	f.ChangeQueued = time.Since(began).Seconds()
	after, _ := s.cpu()
	f.ChangeCPU = (after - cpu).Seconds()
}

func (b *bench) get(s *server, path string) string {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(body)
}

// profile keeps a CPU profile of the server while fn runs.
func (b *bench) profile(s *server, name string, fn func()) {
	b.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.keepProfile(s, "profile?seconds=2", name)
	}()
	fn()
	<-done
}

func (b *bench) keepProfile(s *server, path, name string) {
	resp, err := http.Get("http://" + s.pprof + "/debug/pprof/" + path)
	if err != nil {
		b.t.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.o.Profiles, name+".pprof"), body, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

func (b *bench) write() {
	b.t.Helper()
	out, err := json.MarshalIndent(b.result, "", "  ")
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(b.o.Out), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.o.Out, append(out, '\n'), 0o644); err != nil {
		b.t.Fatal(err)
	}
}
