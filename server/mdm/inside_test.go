package mdm

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRecentIsBounded(t *testing.T) {
	r := recent[int, int]{max: 10}
	now := time.Now()
	r.put(-1, -1, now)
	for i := range 1000 {
		if _, _, found := r.get(-1, now); !found {
			t.Fatalf("what is used was dropped after %d others", i)
		}
		r.put(i, i, now)
		if n := r.size(); n > 21 {
			t.Fatalf("%d entries after %d", n, i)
		}
	}
	if _, _, found := r.get(0, now); found {
		t.Error("what was not used is still there")
	}
	if v, _, found := r.get(999, now); !found || v != 999 {
		t.Errorf("the youngest entry: %d, %t", v, found)
	}
}

func TestRecentAges(t *testing.T) {
	r := recent[string, int]{max: 10, every: time.Minute}
	now := time.Now()
	r.put("a", 1, now)
	r.put("b", 2, now.Add(time.Minute))
	r.put("c", 3, now.Add(2*time.Minute))
	if _, _, found := r.get("a", now.Add(2*time.Minute)); found {
		t.Error("an entry is there after two turns")
	}
}

// What was read before a deletion must not be kept after it.
func TestRecentKeepsNothingStale(t *testing.T) {
	r := recent[string, int]{max: 10}
	now := time.Now()
	_, before, _ := r.get("a", now)
	r.delete("a")
	r.putSince(before, "a", 1, now)
	if _, _, found := r.get("a", now); found {
		t.Error("a stale entry was kept")
	}
	_, after, _ := r.get("a", now)
	r.putSince(after, "a", 2, now)
	if v, _, _ := r.get("a", now); v != 2 {
		t.Errorf("a fresh entry was not kept: %d", v)
	}
}

func TestLimiterForgetsOnlyTheRested(t *testing.T) {
	l := newLimiter()
	now := time.Now()
	busy := [32]byte{1}
	for range macBurst {
		if !l.allow(busy, now) {
			t.Fatal("the burst is not allowed")
		}
	}
	for i := range 40 { // others come and go for 4 s, in which the map turns
		now = now.Add(100 * time.Millisecond)
		l.allow([32]byte{2, byte(i)}, now)
	}
	allowed := 0
	for l.allow(busy, now) {
		allowed++
	}
	if allowed != 80 {
		t.Errorf("after 4 s %d requests are allowed, want 80", allowed)
	}
}

// A wrong padding must look like a wrong key.
func TestDiscreetDecrypter(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	content, oaep := []byte("0123456789abcdef"), &rsa.OAEPOptions{Hash: crypto.SHA256}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, content, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := discreet{key}.Decrypt(rand.Reader, sealed, oaep)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("opened: %q, %v", got, err)
	}
	sealed[5] ^= 1
	got, err = discreet{key}.Decrypt(rand.Reader, sealed, oaep)
	if err != nil || len(got) != 16 || bytes.Equal(got, content) {
		t.Errorf("what cannot be opened: %q, %v", got, err)
	}
	sealed, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, content[:15], nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err = discreet{key}.Decrypt(rand.Reader, sealed, oaep)
	if err != nil || len(got) != 16 {
		t.Errorf("a key that is too short: %q, %v", got, err)
	}
}

func TestPanicsStayInside(t *testing.T) {
	var log bytes.Buffer
	d := &Server{log: slog.New(slog.NewTextHandler(&log, nil))}
	rec := httptest.NewRecorder()
	d.guarded(func(http.ResponseWriter, *http.Request) { panic("oh") }).ServeHTTP(rec, httptest.NewRequest("PUT", "/mdm", nil))
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "oh") || !strings.Contains(log.String(), "oh") {
		t.Errorf("answered %d %q, logged %q", rec.Code, rec.Body, log.String())
	}
}
