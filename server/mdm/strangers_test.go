package mdm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// twin is the certificate written in another way: what the CA signed is the same, and so is the signature.
func twin(t *testing.T, cert *x509.Certificate, change func(tbs, algorithm, signature cryptobyte.String) []byte) *x509.Certificate {
	t.Helper()
	var tbs, algorithm, signature cryptobyte.String
	in := cryptobyte.String(cert.Raw)
	if !in.ReadASN1(&in, tag.SEQUENCE) || !in.ReadASN1Element(&tbs, tag.SEQUENCE) || !in.ReadASN1Element(&algorithm, tag.SEQUENCE) ||
		!in.ReadASN1(&signature, tag.BIT_STRING) {
		t.Fatal("this is no certificate")
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: change(tbs, algorithm, signature)})
	check(t, err)
	same, err := x509.ParseCertificate(der)
	check(t, err)
	if same.Equal(cert) || same.CheckSignatureFrom(deviceCA().Cert) != nil {
		t.Fatal("the test has lost its point")
	}
	return same
}

// more adds an element to the certificate.
func more(n int) func(tbs, algorithm, signature cryptobyte.String) []byte {
	return func(tbs, algorithm, signature cryptobyte.String) []byte {
		value, _ := asn1.Marshal(asn1.BitString{Bytes: signature[1:], BitLength: 8 * (len(signature) - 1)})
		return bytes.Join([][]byte{tbs, algorithm, value, {4, 2, byte(n >> 8), byte(n)}}, nil)
	}
}

// A certificate that is written in another way is no other certificate: with it a Mac is not another Mac, nor does it get a limit of its own.
func TestTwinsOfACertificate(t *testing.T) {
	w := newWorld(t)
	victim, mac := w.mac(otherID), w.mac(macID)
	victim.enrol()
	mac.enrol()
	disguised := *mac
	disguised.id = otherID
	want(t, "as another Mac", disguised.checkin(authenticate("26.5", "25F71")), http.StatusBadRequest)
	disguised.cert = twin(t, mac.cert, more(0))
	want(t, "as another Mac, with a twin", disguised.checkin(authenticate("26.5", "25F71")), http.StatusBadRequest)
	want(t, "the other Mac", victim.ddm("tokens", nil), http.StatusOK)
	disguised.id = macID
	want(t, "as itself, with a twin", disguised.ddm("tokens", nil), http.StatusOK)

	hello := mac.plist(message{"MessageType": "Hello"})
	w.pass(time.Minute)
	for i := range 100 {
		disguised.cert = twin(t, mac.cert, more(i))
		want(t, fmt.Sprint("twin ", i), w.do(disguised.request(checkinType, hello)), http.StatusBadRequest)
	}
	want(t, "twin 100", w.do(disguised.request(checkinType, hello)), http.StatusTooManyRequests)
}

// envelope is a SCEP request whose content key and content are whatever a stranger likes.
func envelope(t *testing.T, contentKey, content []byte) []byte {
	t.Helper()
	type recipient struct {
		Version int
		Issuer  struct {
			Name   asn1.RawValue
			Serial *big.Int
		}
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	type encrypted struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Content   asn1.RawValue
	}
	ca, iv := deviceCA().Cert, make([]byte, 16)
	to := recipient{Algorithm: pkix.AlgorithmIdentifier{Algorithm: pkcs7.OIDEncryptionAlgorithmRSA, Parameters: asn1.NullRawValue}, Key: contentKey}
	to.Issuer.Name, to.Issuer.Serial = asn1.RawValue{FullBytes: ca.RawIssuer}, ca.SerialNumber
	inner, err := asn1.Marshal(struct {
		Version    int
		Recipients []recipient `asn1:"set"`
		Content    encrypted
	}{0, []recipient{to}, encrypted{
		pkcs7.OIDData,
		pkix.AlgorithmIdentifier{Algorithm: pkcs7.OIDEncryptionAlgorithmAES128CBC, Parameters: asn1.RawValue{Tag: asn1.TagOctetString, Bytes: iv}},
		asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: content},
	}})
	check(t, err)
	outer, err := asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{pkcs7.OIDEnvelopedData, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: inner}})
	check(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &macKey().PublicKey, macKey())
	check(t, err)
	self, err := x509.ParseCertificate(der)
	check(t, err)
	sd, err := pkcs7.NewSignedData(outer)
	check(t, err)
	id := func(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, n} } // RFC 8894, 3.2.1
	check(t, sd.AddSigner(self, macKey(), pkcs7.SignerInfoConfig{ExtraSignedAttributes: []pkcs7.Attribute{
		{Type: id(2), Value: string(scep.PKCSReq)}, {Type: id(5), Value: []byte("0123456789abcdef")}, {Type: id(7), Value: "transaction"},
	}}))
	b, err := sd.Finish()
	check(t, err)
	return b
}

// Whether the padding of a content key was right must not show, or strangers could sign with the CA's key (Bleichenbacher).
func TestSCEPTellsNothingOfThePadding(t *testing.T) {
	w := newWorld(t)
	pub := &deviceCA().Key.PublicKey
	seal := func(n int) []byte {
		b, err := rsa.EncryptPKCS1v15(rand.Reader, pub, make([]byte, n)) //nolint:staticcheck // it is what SCEP uses
		check(t, err)
		return b
	}
	wrong, err := rand.Int(rand.Reader, pub.N) // as good as never padded right
	check(t, err)
	for name, key := range map[string][]byte{
		"a wrong padding": wrong.FillBytes(make([]byte, pub.Size())), "no key": seal(0), "a short key": seal(15), "a key": seal(16), "a long key": seal(100),
	} {
		for _, n := range []int{0, 15, 16, 32} {
			a := w.postSCEP(envelope(t, key, make([]byte, n)))
			want(t, name, a, http.StatusOK)
			rep, err := scep.ParsePKIMessage([]byte(a.body), scep.WithCACerts([]*x509.Certificate{deviceCA().Cert}))
			if err != nil || rep.PKIStatus != scep.FAILURE || rep.FailInfo != scep.BadMessageCheck {
				t.Errorf("%s, content of %d bytes: %+v, %v", name, n, rep, err)
			}
		}
	}
	if strings.Contains(w.logged.String(), "ERROR") {
		t.Errorf("what strangers send is logged as a fault:\n%s", w.logged.String())
	}
}

// overlapping elements take pkcs7 a time that doubles with every level: these would take it longer than the universe is old.
var overlapping = func() []byte {
	b := []byte{4, 0}
	for range 100 {
		header := []byte{0x30, 0x82, byte(len(b) >> 8), byte(len(b))}
		if len(b) < 128 {
			header = []byte{0x30, byte(len(b))}
		} else if len(b) < 256 {
			header = []byte{0x30, 0x81, byte(len(b))}
		}
		b = append(append([]byte{0x30, byte(len(header))}, header...), b...)
	}
	return b
}()

// What strangers send is refused before it costs anything: neither is the body waited for, nor anything decoded that takes long.
func TestStrangersAreCheap(t *testing.T) {
	w := newWorld(t)
	foreign := w.mac(macID)
	foreign.cert = issue(t, otherCA(), macID, nil)
	for name, signature := range map[string]string{
		"nothing":      "",
		"no signature": "hello",
		"foreign":      foreign.sign([]byte("hello")),
		"overlapping":  base64.StdEncoding.EncodeToString(overlapping),
		"deep":         base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x30, 0x80}, 12_000)),
	} {
		req := httptest.NewRequest(http.MethodPut, "/mdm", neverRead{t, name})
		req.Header.Set("Content-Type", checkinType)
		if signature != "" {
			req.Header.Set("Mdm-Signature", signature)
		}
		rec := httptest.NewRecorder()
		w.mdm.MDM().ServeHTTP(rec, req)
		if rec.Code != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, rec.Code)
		}
	}
	want(t, "SCEP", w.postSCEP(overlapping), http.StatusBadRequest)
}

type neverRead struct {
	t    *testing.T
	name string
}

func (n neverRead) Read([]byte) (int, error) {
	n.t.Errorf("%s: the body is read", n.name)
	return 0, io.EOF
}

// Nobody takes a place before all of his request is there; when all are taken, the answer says when to come again.
func TestPlaces(t *testing.T) {
	places := make(chan struct{}, 1)
	w := newWorld(t, func(s *setup) {
		s.Enter = func() (func(), bool) {
			select {
			case places <- struct{}{}:
				return func() { <-places }, true
			default:
				return nil, false
			}
		}
	})
	mac := w.mac(macID)
	mac.enrol()
	body := mac.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"})
	slow := mac.request(checkinType, body)
	read, write := io.Pipe()
	slow.Body, slow.ContentLength = read, int64(len(body))
	done := make(chan int, 1)
	go func() {
		resp, err := w.srv.Client().Do(slow)
		if err != nil {
			done <- 0
			return
		}
		_ = resp.Body.Close()
		done <- resp.StatusCode
	}()
	_, err := write.Write(body[:10]) // it is on its way
	check(t, err)
	want(t, "while another sends slowly", mac.ddm("tokens", nil), http.StatusOK)
	places <- struct{}{}
	for name, a := range map[string]answer{"a Mac": mac.ddm("tokens", nil), "SCEP": w.postSCEP([]byte("hello")), "a profile": w.get("/enroll")} {
		want(t, name+" when all places are taken", a, http.StatusServiceUnavailable)
		if a.header.Get("Retry-After") != "10" {
			t.Errorf("%s: Retry-After is %q", name, a.header.Get("Retry-After"))
		}
	}
	<-places
	_, err = write.Write(body[10:])
	check(t, errors.Join(err, write.Close()))
	if got := <-done; got != http.StatusOK {
		t.Errorf("who sent slowly was answered %d", got)
	}
}

func TestPushTokensAreNotNamed(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	ids := w.enrolled(2)
	w.storePushCert(pushTopic)
	a.Close()
	_, err := w.notifier.Push(context.Background(), ids)
	said := fmt.Sprint(err, w.get("/v1/push/"+ids[0]).body, w.get("/v1/push/"+strings.Join(ids, ",")).body, w.logged.String())
	if err == nil || strings.Contains(said, tokenOf(ids[0])) || strings.Contains(said, tokenOf(ids[1])) {
		t.Errorf("APNs is away, and what is said: %s", said)
	}
}

// After CheckOut a Mac is a stranger until it authenticates again.
func TestAfterCheckOut(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	want(t, "SetBootstrapToken", mac.checkin(message{"MessageType": "SetBootstrapToken", "BootstrapToken": []byte("secret")}), http.StatusOK)
	want(t, "CheckOut", mac.checkin(message{"MessageType": "CheckOut"}), http.StatusOK)
	for _, endpoint := range []string{"tokens", "declaration-items", "declaration/configuration/plimsoll.status"} {
		want(t, endpoint, mac.ddm(endpoint, nil), http.StatusBadRequest)
	}
	want(t, "a late TokenUpdate", mac.checkin(tokenUpdate(macID)), http.StatusBadRequest)
	if a := mac.checkin(message{"MessageType": "GetBootstrapToken"}); strings.Contains(a.body, base64.StdEncoding.EncodeToString([]byte("secret"))) {
		t.Errorf("the bootstrap token is still given out: %d %q", a.status, a.body)
	}
	mac.cert = issue(t, deviceCA(), macID, nil)
	mac.enrol()
	want(t, "enrolled again", mac.ddm("tokens", nil), http.StatusOK)
}
