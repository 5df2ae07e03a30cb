package api

import (
	"bytes"
	"strings"
	"testing"

	"filippo.io/age"

	"plimsoll/storage/archive"
)

// A backup is for its own scope, holds the Macs, is kept by nobody, and is encrypted when there are recipients.
func TestBackup(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	cron := r.token("cron", "backup")
	for _, as := range []string{r.token("reader", "read"), r.token("desk", "operator"), r.token("prometheus", "metrics")} {
		r.want(call{method: "GET", target: "/v1/backup", as: as}, 403, nil)
	}
	r.want(call{method: "GET", target: "/v1/devices", as: cron}, 403, nil)
	res := r.do(call{method: "GET", target: "/v1/backup", as: cron})
	h := res.Header()
	if res.Code != 200 || h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("Content-Disposition"), `attachment; filename="plimsoll-`) {
		t.Fatalf("%d %v", res.Code, h)
	}
	s, err := archive.Check(bytes.NewReader(res.Body.Bytes()), nil)
	if err != nil || s.Macs != 1 || s.Version != "1.2.3" || s.Store == "" {
		t.Errorf("%+v, %v", s, err)
	}
	if res := r.do(call{method: "HEAD", target: "/v1/backup", as: cron}); res.Code != 200 || res.Body.Len() > 0 {
		t.Errorf("HEAD gave %d with %d bytes", res.Code, res.Body.Len())
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r.api.recipients = []age.Recipient{id.Recipient()}
	res = r.do(call{method: "GET", target: "/v1/backup"})
	if bytes.Contains(res.Body.Bytes(), []byte("1.2.3")) {
		t.Error("it is not encrypted")
	}
	if s, err := archive.Check(bytes.NewReader(res.Body.Bytes()), []age.Identity{id}); err != nil || s.Macs != 1 {
		t.Errorf("encrypted: %+v, %v", s, err)
	}
}

// One backup at a time is written; one that cannot be begun is an answer, not half a file.
func TestBackupsThatAreRefused(t *testing.T) {
	r := newRig(t)
	r.api.backups <- struct{}{}
	res := r.do(call{method: "GET", target: "/v1/backup"})
	if res.Code != 429 || res.Header().Get("Retry-After") == "" {
		t.Errorf("a second one: %d", res.Code)
	}
	<-r.api.backups
	r.db.down.Store(true)
	res = r.do(call{method: "GET", target: "/v1/backup"})
	if res.Code != 503 || res.Header().Get("Content-Disposition") != "" {
		t.Errorf("without a store: %d %v", res.Code, res.Header())
	}
	r.db.down.Store(false)
	r.want(call{method: "GET", target: "/v1/backup"}, 200, nil)
}
