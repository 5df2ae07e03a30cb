package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
)

// post is a request on the MDM channel, as cheap for the test as can be.
func (r *reporter) post(cert string, body io.Reader) (int, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPut, "http://plimsoll.test/mdm", body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-apple-aspen-mdm-checkin")
	req.Header.Set(certHeader, cert)
	resp, err := r.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
	return resp.StatusCode, resp.Body.Close()
}

// identify gives a Mac an identity, and returns what the proxy hands over of it.
func (r *reporter) identify() (string, error) {
	key, err := r.l.keys.Get(2048)
	if err != nil {
		return "", err
	}
	id, err := r.l.issuer.Issue(r.id, key)
	if err != nil {
		return "", err
	}
	r.SetIdentity(id, &sim.Profile{ServerURL: "http://plimsoll.test/mdm", CheckInURL: "http://plimsoll.test/mdm", Topic: "com.apple.mgmt.External.simulated"})
	return ":" + base64.StdEncoding.EncodeToString(id.Cert.Raw) + ":", nil
}

// statusReport is a full status report of a Mac that runs 26.5.
func statusReport(r *reporter) []byte {
	json := fmt.Sprintf(`{"StatusItems":{"device":{"identifier":{"serial-number":%q,"udid":%q},"model":{"identifier":"Mac16,12"},"operating-system":{"version":"26.5","build-version":"25F71"}},"softwareupdate":{"device-id":"J713AP","install-state":"none"},"management":{"declarations":{"activations":[],"assets":[],"configurations":[],"management":[]}}},"Errors":[],"FullReport":true}`, r.serial, r.id)
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd"><plist version="1.0"><dict><key>MessageType</key><string>DeclarativeManagement</string><key>UDID</key><string>%s</string><key>Endpoint</key><string>status</string><key>Data</key><data>%s</data></dict></plist>`,
		r.id, base64.StdEncoding.EncodeToString([]byte(json)))
}

// While 10,000 reports come in as fast as 500 Macs can send them, the compliance of the fleet is told whenever somebody asks.
func TestFaultOverload(t *testing.T) {
	issuer, flags := behindProxy(t)
	p := start(t, "bolt:"+filepath.Join(t.TempDir(), "p.db"), flags...)
	l := newLoad(t, issuer, p)
	const macs, each = 500, 20
	fleet, certs := make([]*reporter, macs), make([]string, macs)
	at := map[*reporter]int{}
	for i := range fleet {
		fleet[i] = l.mac()
		at[fleet[i]] = i
	}
	l.macs = fleet
	l.each(fleet, func(r *reporter) (err error) {
		if certs[at[r]], err = r.identify(); err != nil {
			return err
		}
		if err = r.Authenticate(context.Background()); err != nil {
			return err
		}
		return r.TokenUpdate(context.Background())
	})
	var polled atomic.Int64
	l.wg.Go(func() {
		for l.pause(20 * time.Millisecond) {
			if status, _, err := l.ask(http.MethodGet, "/v1/compliance", ""); err != nil || status != http.StatusOK {
				l.wrongly("compliance is answered %d: %v", status, err)
			}
			polled.Add(1)
		}
	})
	done := make(chan struct{}, macs)
	for i, r := range fleet {
		go func() {
			defer func() { done <- struct{}{} }()
			body := statusReport(r)
			for r.acked.Load() < each {
				status, err := r.post(certs[i], bytes.NewReader(body))
				if err != nil {
					l.wrongly("a report under load: %v", err)
					return
				}
				if status != http.StatusOK && !l.pause(50*time.Millisecond) { // too many in flight
					return
				}
			}
		}()
	}
	for range macs {
		<-done
	}
	if polled.Load() == 0 {
		t.Error("compliance was not asked for")
	}
	l.kept(p)
	var c compliance
	p.patiently("/v1/compliance", &c)
	if c.Devices != macs {
		t.Errorf("%d devices, want %d", c.Devices, macs)
	}
	t.Logf("compliance was told %d times", polled.Load())
	t.Run("one Mac that asks too often", func(t *testing.T) { l.tooOften(t, fleet[0], fleet[1], certs) })
	t.Run("bodies over 4 MiB", func(t *testing.T) { l.tooLarge(t, p, certs[0]) })
}

// tooOften: one Mac's flood is refused with 429, and another Mac does not notice. RoundTrip holds that Retry-After comes with it.
func (l *load) tooOften(t *testing.T, flood, other *reporter, certs []string) {
	body := statusReport(flood)
	refused := 0
	for i := 0; i < 2000 && refused == 0; i++ {
		status, err := flood.post(certs[0], bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("2000 reports of one Mac in a row were taken")
	}
	if status, err := other.post(certs[1], bytes.NewReader(statusReport(other))); err != nil || status != http.StatusOK {
		t.Errorf("another Mac is answered %d, %v", status, err)
	}
	l.nothingWrong()
}

// tooLarge: a body over 4 MiB is refused with 413, whether its length is announced or not.
func (l *load) tooLarge(t *testing.T, p *process, cert string) {
	body := bytes.Repeat([]byte(" "), 4<<20+1)
	for _, path := range []string{"/mdm", "/v1/policies", "/scep?operation=PKIOperation"} {
		for name, make := range map[string]func() io.Reader{
			"announced": func() io.Reader { return bytes.NewReader(body) },
			"chunked":   func() io.Reader { return io.MultiReader(bytes.NewReader(body)) },
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				// A server that does not read to the end may cut the connection before its answer is read.
				eventually(t, "an answer", func() bool {
					method := http.MethodPost
					if path == "/mdm" {
						method = http.MethodPut
					}
					req, err := http.NewRequest(method, "http://"+p.addr+path, make())
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Content-Type", "application/x-apple-aspen-mdm-checkin")
					req.Header.Set("Authorization", "Bearer "+adminToken)
					req.Header.Set(certHeader, cert)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						return false
					}
					b, _ := io.ReadAll(resp.Body) // as much as there is
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusRequestEntityTooLarge {
						t.Fatalf("answered %s: %s", resp.Status, b)
					}
					if path == "/v1/policies" {
						if err := errorForm(resp, b); err != nil {
							t.Error(err)
						}
					}
					return true
				})
			})
		}
	}
}
