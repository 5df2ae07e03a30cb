package app_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"plimsoll/declarations"
	"plimsoll/examples/macs/sim"
)

// variants is how many reports of each Mac are signed beforehand; they are sent in turn, each differs from the one before.
const variants = 4

// identities are the device CA of the benchmark and its Macs' keys.
type identities struct {
	issuer *sim.Issuer
	file   string // PEM of the CA's certificate
	keys   []*rsa.PrivateKey
}

func newIdentities(t *testing.T) *identities {
	t.Helper()
	caKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Benchmark CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	ids := &identities{issuer: &sim.Issuer{Cert: cert, Key: caKey}, file: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(ids.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 4 { // making a key takes long; each Mac has a certificate of its own
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		ids.keys = append(ids.keys, k)
	}
	return ids
}

// macID is the enrollment id of Mac n.
func macID(n int) string { return fmt.Sprintf("%08X-B5C4-4000-8000-%012X", n*2654435761&0xffffffff, n) }

func macSerial(n int) string { return fmt.Sprintf("PLM%07d", n) }

// signed are the requests of one Mac, as they go over the wire.
type signed struct {
	id                         string
	cert                       *x509.Certificate
	tokens, items, declaration []byte
	reports                    [][]byte
	next                       atomic.Uint32
	authenticate, tokenUpdate  []byte
}

// sign makes the requests of the Macs; with enrol only those of enrolment.
func (ids *identities) sign(t *testing.T, numbers []int, enrol bool) []*signed {
	t.Helper()
	macs := make([]*signed, len(numbers))
	var wg sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Pointer[error]
	for range runtime.NumCPU() {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(numbers) {
					return
				}
				m, err := ids.signOne(numbers[i], enrol)
				if err != nil {
					failed.Store(&err)
					return
				}
				macs[i] = m
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	return macs
}

func (ids *identities) signOne(n int, enrol bool) (*signed, error) {
	key := ids.keys[n%len(ids.keys)]
	id, err := ids.issuer.Issue(macID(n), key)
	if err != nil {
		return nil, err
	}
	m := &signed{id: macID(n), cert: id.Cert}
	put := func(fields string) []byte {
		if err != nil {
			return nil
		}
		body := []byte(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>UDID</key>
	<string>` + m.id + `</string>
` + fields + `</dict>
</plist>
`)
		var sig string
		if sig, err = cms(id, body); err != nil {
			return nil
		}
		return fmt.Appendf(nil, "PUT /mdm HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-apple-aspen-mdm-checkin\r\nMdm-Signature: %s\r\nContent-Length: %d\r\n\r\n%s", sig, len(body), body)
	}
	ddm := func(endpoint string, data []byte) []byte {
		f := "\t<key>MessageType</key>\n\t<string>DeclarativeManagement</string>\n\t<key>Endpoint</key>\n\t<string>" + endpoint + "</string>\n"
		if data != nil {
			f += "\t<key>Data</key>\n\t<data>" + base64.StdEncoding.EncodeToString(data) + "</data>\n"
		}
		return put(f)
	}
	m.authenticate = put(authenticateFields(n))
	m.tokenUpdate = put(tokenUpdateFields(m.id))
	if enrol {
		return m, err
	}
	m.tokens, m.items = ddm("tokens", nil), ddm("declaration-items", nil)
	m.declaration = ddm("declaration/configuration/plimsoll.settings", nil)
	for v := range variants {
		m.reports = append(m.reports, ddm("status", report(n, v)))
	}
	return m, err
}

func authenticateFields(n int) string {
	k := kindOf(n)
	return "\t<key>MessageType</key>\n\t<string>Authenticate</string>\n\t<key>Topic</key>\n\t<string>com.apple.mgmt.External.bench</string>\n" +
		"\t<key>DeviceName</key>\n\t<string>Mac of person " + strconv.Itoa(n) + "</string>\n\t<key>ProductName</key>\n\t<string>" + k.model + "</string>\n\t<key>ModelName</key>\n\t<string>MacBook Air</string>\n" +
		"\t<key>SerialNumber</key>\n\t<string>" + macSerial(n) + "</string>\n\t<key>OSVersion</key>\n\t<string>" + k.version + "</string>\n\t<key>BuildVersion</key>\n\t<string>" + k.build + "</string>\n"
}

func tokenUpdateFields(id string) string {
	return "\t<key>MessageType</key>\n\t<string>TokenUpdate</string>\n\t<key>Topic</key>\n\t<string>com.apple.mgmt.External.bench</string>\n" +
		"\t<key>PushMagic</key>\n\t<string>" + id + "</string>\n\t<key>Token</key>\n\t<data>" + base64.StdEncoding.EncodeToString(pushToken(id)) + "</data>\n"
}

// cms is an Mdm-Signature.
func cms(id *sim.Identity, body []byte) (string, error) {
	sd, err := pkcs7.NewSignedData(body)
	if err != nil {
		return "", err
	}
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := sd.AddSigner(id.Cert, id.Key, pkcs7.SignerInfoConfig{}); err != nil {
		return "", err
	}
	sd.Detach()
	sig, err := sd.Finish()
	return base64.StdEncoding.EncodeToString(sig), err
}

// kind is what a Mac is and runs.
type kind struct{ model, board, name, version, build string }

// kinds are Macs with what the built-in catalogue offers them; most are behind its newest release.
var kinds = []kind{
	{"Mac14,2", "J413AP", "MacBook Air (M2, 2022)", "26.5", "25F71"},
	{"Mac14,2", "J413AP", "MacBook Air (M2, 2022)", "26.6", "25G72"},
	{"Mac14,3", "J473AP", "Mac mini (M2, 2023)", "26.5.2", "25F84"},
	{"Mac14,10", "J416sAP", "MacBook Pro (16-inch, M2 Pro, 2023)", "26.5.1", "25F80"},
	{"Mac14,15", "J415AP", "MacBook Air (15-inch, M2, 2023)", "26.6.2", "25G83"},
	{"Mac13,1", "J375cAP", "Mac Studio (M1 Max)", "15.7.8", "24G824"},
	{"Mac14,5", "J414cAP", "MacBook Pro (14-inch, M2 Max, 2023)", "26.5", "25F71"},
	{"Mac14,12", "J474sAP", "Mac mini (M2 Pro, 2023)", "15.7.7", "24G720"},
}

func kindOf(n int) kind { return kinds[n%len(kinds)] }

var capabilities = sync.OnceValue(func() json.RawMessage {
	b, err := os.ReadFile("../../examples/macs/sim/data/capabilities-14.json")
	if err != nil {
		panic(err)
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, b); err != nil {
		panic(err)
	}
	with := bytes.Replace(buf.Bytes(), []byte(`"com.apple.configuration.legacy",`), []byte(`"com.apple.configuration.legacy","`+declarations.TypeSettings+`",`), 1)
	return bytes.Replace(with, []byte(`"status-items":[`), []byte(`"status-items":["softwareupdate.beta-enrollment","softwareupdate.device-id",`), 1)
})

// report is a whole status report of about 4.5 KB. Its variants differ in little; one in sixteen reports says that an installation goes on or ended.
func report(n, variant int) []byte {
	k := kindOf(n)
	install := "none"
	if n%4 == 0 && variant == 3 {
		install = "waiting"
	}
	pick := func(bit int, a, b string) string {
		if variant>>bit&1 == 0 {
			return a
		}
		return b
	}
	declaration := func(id string) string {
		return fmt.Sprintf(`{"active":true,"identifier":%q,"valid":"valid","server-token":"6f7a3b0c5d1e48b2a9c4e7f80123456%d"}`, id, variant)
	}
	return fmt.Appendf(nil, `{"StatusItems":{"device":{"identifier":{"serial-number":%q,"udid":%q},"model":{"family":"Mac","identifier":%q,"marketing-name":%q},`+
		`"operating-system":{"family":"macOS","version":%q,"build-version":%q,"marketing-name":"macOS %s","supplemental":{"build-version":%q,"extra-version":""}},`+
		`"power":{"battery-health":%q}},"diskmanagement":{"filevault":{"enabled":true}},"passcode":{"is-compliant":%s,"is-present":true},`+
		`"security":{"certificate":{"list":[{"identifier":"0b5f3c8e-7d58-4b0b-9a45-58a0b3d8a0c1","common-name":"Example Corporation Device Identity %d","data":"%s"}]}},`+
		`"management":{"client-capabilities":%s,"declarations":{"activations":[%s,%s,%s],"assets":[],"configurations":[%s,%s,%s],"management":[]}},`+
		`"softwareupdate":{"beta-enrollment":"","device-id":%q,"failure-reason":{"count":0},"install-reason":{"reason":[]},"install-state":%q,"pending-version":{"build-version":"","os-version":""}}},`+
		`"Errors":[],"FullReport":true}`,
		macSerial(n), macID(n), k.model, k.name, k.version, k.build, k.version, k.build,
		pick(0, "normal", "service-recommended"), pick(1, "true", "false"), n, base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%0264d", n)), capabilities(),
		declaration("plimsoll.activation.status"), declaration("plimsoll.activation.os-update"), declaration("plimsoll.activation.settings"),
		declaration("plimsoll.status"), declaration("plimsoll.os-update"), declaration("plimsoll.settings"), k.board, install)
}

// client is a lean HTTP client: what it sends was made beforehand, and of the answer it reads status and length.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	body bytes.Buffer
}

func newClient(addr string) (*client, error) {
	conn, err := dial(addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReaderSize(conn, 16<<10)}, nil
}

var (
	contentLength    = []byte("Content-Length: ")
	transferEncoding = []byte("Transfer-Encoding: chunked")
)

func (c *client) do(req []byte) (status int, err error) {
	if _, err := c.conn.Write(req); err != nil {
		return 0, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, fmt.Errorf("answered %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, chunked := 0, false
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, contentLength); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return 0, err
			}
		}
		chunked = chunked || bytes.HasPrefix(line, transferEncoding)
	}
	c.body.Reset()
	if !chunked {
		_, err = io.CopyN(&c.body, c.r, int64(length))
		return status, err
	}
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return 0, err
		}
		if _, err := io.CopyN(&c.body, c.r, n); err != nil {
			return 0, err
		}
		if _, err := c.r.Discard(2); err != nil {
			return 0, err
		}
		if n == 0 {
			return status, nil
		}
	}
}

// pool are the connections of a load.
type pool []*client

func newPool(t *testing.T, addr string, n int) pool {
	t.Helper()
	p := make(pool, n)
	for i := range p {
		c, err := newClient(addr)
		if err != nil {
			t.Fatal(err)
		}
		p[i] = c
		t.Cleanup(func() { _ = c.conn.Close() })
	}
	return p
}

// measured is what a load has cost.
type measured struct {
	Requests  int           `json:"requests"`
	Wall      time.Duration `json:"wall_ns"`
	CPU       time.Duration `json:"server_cpu_ns"`
	Database  time.Duration `json:"database_cpu_ns"`
	latencies []time.Duration
}

func (m *measured) add(o measured) {
	m.Requests += o.Requests
	m.Wall += o.Wall
	m.CPU += o.CPU
	m.Database += o.Database
	m.latencies = append(m.latencies, o.latencies...)
}

func (m *measured) perSecond() float64 { return float64(m.Requests) / m.Wall.Seconds() }
func (m *measured) cpuMicros() float64 {
	return float64(m.CPU.Microseconds()) / float64(max(m.Requests, 1))
}

func (m *measured) databaseMicros() float64 {
	return float64(m.Database.Microseconds()) / float64(max(m.Requests, 1))
}

func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[min(int(float64(len(s))*p), len(s)-1)]
}

// load sends what next gives for as long as d, or until next has no more (nil). Every answer must be 200.
func (p pool) load(t *testing.T, s *server, d time.Duration, next func(i int) []byte) measured {
	t.Helper()
	var n atomic.Int64
	var wrong atomic.Pointer[error]
	var mu sync.Mutex
	var m measured
	cpu, database := s.cpu()
	began := time.Now()
	end := began.Add(d)
	var wg sync.WaitGroup
	for _, c := range p {
		wg.Go(func() {
			var took []time.Duration
			for at := time.Now(); at.Before(end); {
				req := next(int(n.Add(1)) - 1)
				if req == nil {
					break
				}
				status, err := c.do(req)
				if err == nil && status != 200 {
					err = fmt.Errorf("answered %d: %s", status, c.body.Bytes())
				}
				if err != nil {
					wrong.Store(&err)
					break
				}
				now := time.Now()
				took = append(took, now.Sub(at))
				at = now
			}
			mu.Lock()
			m.latencies = append(m.latencies, took...)
			mu.Unlock()
		})
	}
	wg.Wait()
	m.Requests, m.Wall = len(m.latencies), time.Since(began)
	ownAfter, databaseAfter := s.cpu()
	m.CPU, m.Database = ownAfter-cpu, databaseAfter-database
	if err := wrong.Load(); err != nil {
		t.Fatal(*err)
	}
	if m.Requests == 0 {
		t.Fatal(errors.New("not one request was answered"))
	}
	return m
}
