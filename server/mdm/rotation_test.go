package mdm_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/scep"

	"plimsoll/server/fleet"
	"plimsoll/server/fleet/authority"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

// generatedCA has a world issue from a CA of its own, which can be rotated.
func generatedCA(s *setup) { s.CA = nil }

// caCert is what GetCACert gives.
func (w *world) caCert() *x509.Certificate {
	w.t.Helper()
	cert, err := x509.ParseCertificate([]byte(w.get("/scep?operation=GetCACert").body))
	check(w.t, err)
	return cert
}

// scepFrom gets an identity as a Mac does that has asked for the CA's certificate before: it trusts an answer of that CA only.
func (w *world) scepFrom(ca *x509.Certificate, p pkcsReq) *x509.Certificate {
	w.t.Helper()
	p.ca = &fleet.CA{Cert: ca}
	msg, self := p.message(w.t)
	a := w.postSCEP(msg.Raw)
	want(w.t, "PKIOperation", a, http.StatusOK)
	rep, err := scep.ParsePKIMessage([]byte(a.body), scep.WithCACerts([]*x509.Certificate{ca}))
	check(w.t, err)
	if rep.PKIStatus != scep.SUCCESS {
		w.t.Fatalf("no identity: failInfo %s", string(rep.FailInfo))
	}
	check(w.t, rep.DecryptPKIEnvelope(self, macKey()))
	return rep.Certificate
}

// cas are the CAs that the API shows, by fingerprint, and the one that issues.
func (w *world) cas() (byPrint map[string]authority.DeviceCA, issuing string) {
	w.t.Helper()
	list, err := w.fleet.DeviceCAs(context.Background())
	check(w.t, err)
	byPrint = map[string]authority.DeviceCA{}
	for _, ca := range list.CAs {
		byPrint[ca.Fingerprint] = ca
		if ca.Issuing {
			issuing = ca.Fingerprint
		}
	}
	return byPrint, issuing
}

func (w *world) rotate() {
	w.t.Helper()
	_, err := w.fleet.RotateCA(context.Background(), fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	check(w.t, err)
}

// worlds are two replicas on Redis, or one process on bolt, which then is both.
func worlds(t *testing.T) map[string]func(t *testing.T) (a, b *world) {
	return map[string]func(t *testing.T) (a, b *world){
		"bolt": func(t *testing.T) (a, b *world) {
			a = newWorld(t, generatedCA)
			return a, a
		},
		"redis": func(t *testing.T) (a, b *world) {
			url := storagetest.RedisServer(t).URL()
			open := func() storage.DB {
				db, err := redis.Open(t.Context(), url)
				check(t, err)
				t.Cleanup(func() { check(t, db.Close()) })
				return db
			}
			return newWorldOn(t, open(), false, generatedCA), newWorldOn(t, open(), false, generatedCA)
		},
	}
}

// A rotation on one replica: Macs of the old CA and of the new one are served by both, one that was in the middle of its enrolment
// gets through, and the old CA goes when its last identity has.
func TestRotation(t *testing.T) {
	for name, open := range worlds(t) {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			before := a.caCert()
			beforePrint := oneOf(t, a)
			enrolOn := func(w *world, id string, cert *x509.Certificate) *client {
				c := &client{w: w, id: id, cert: cert, key: macKey()}
				c.enrol()
				return c
			}
			old := enrolOn(a, macID, a.scepFrom(before, pkcsReq{name: macID, challenge: a.challenge()}))
			lost := pkcsReq{name: foreignID, challenge: a.challenge()}
			lostCert := a.scepFrom(before, lost) // its answer never came, or it is slow

			_, err := a.fleet.RotateCA(context.Background(), fleet.WriteOptions{By: fleet.Origin{Actor: "test"}})
			if err == nil || !strings.Contains(err.Error(), "(1 in use)") {
				t.Errorf("a rotation that was not confirmed: %v", err)
			}
			a.rotate()
			list, issuing := a.cas()
			if len(list) != 2 || issuing == beforePrint || list[beforePrint].Devices != 1 || list[issuing].Devices != 0 {
				t.Fatalf("after the rotation: %+v", list)
			}

			// b has not looked at the store since. What it got and encrypted before the rotation is good; the identity is of the new CA.
			middle := b.scepFrom(before, pkcsReq{name: otherID, challenge: b.challenge()})
			if got, _ := b.cas(); got[issuing].Fingerprint == "" {
				t.Fatal("the other replica does not know the new CA")
			}
			if !b.issuedBy(middle, issuing) {
				t.Error("the identity that was asked for before the rotation comes from the old CA")
			}
			young := enrolOn(a, otherID, middle)
			if again := b.scepFrom(before, lost); !again.Equal(lostCert) {
				t.Error("one challenge gave two identities")
			}
			for who, w := range map[string]*world{"the one that rotated": a, "the other": b} {
				for kind, c := range map[string]*client{"an old Mac": old, "a new Mac": young} {
					there := *c
					there.w = w
					want(t, kind+" on "+who, there.ddm("tokens", nil), http.StatusOK)
				}
				if got := w.caCert(); got.Equal(before) {
					t.Errorf("%s gives out the old CA's certificate", who)
				}
			}

			retire := func(w *world) {
				check(t, w.fleet.Authorities().RetireUnused(context.Background()))
			}
			retire(a)
			check(t, a.fleet.Forget(context.Background(), macID, fleet.Origin{Actor: "test"}))
			retire(a)
			if list, _ := a.cas(); list[beforePrint].Fingerprint == "" {
				t.Fatal("the old CA is gone although an identity of it is on its way to a Mac")
			}
			late := enrolOn(b, foreignID, lostCert)
			late.w = a
			want(t, "a Mac whose identity was on its way", late.ddm("tokens", nil), http.StatusOK)
			retire(b)
			if list, _ := b.cas(); list[beforePrint].Devices != 1 {
				t.Errorf("an identity of the old CA is in use: %+v", list)
			}
			enrolOn(b, foreignID, b.scepFrom(b.caCert(), pkcsReq{name: foreignID, challenge: b.challenge()})) // it enrols again
			retire(b)
			for who, w := range map[string]*world{"the one that rotated": a, "the other": b} {
				if list, _ := w.cas(); len(list) != 1 || list[issuing].Fingerprint == "" {
					t.Errorf("%s still lists %+v", who, list)
				}
				stranger := &client{w: w, id: macID, cert: old.cert, key: macKey()}
				want(t, "the deleted Mac on "+who, stranger.ddm("tokens", nil), http.StatusBadRequest)
			}
		})
	}
}

func oneOf(t *testing.T, w *world) string {
	t.Helper()
	list, issuing := w.cas()
	if len(list) != 1 || issuing == "" {
		t.Fatalf("at the start there are %+v", list)
	}
	return issuing
}

func (w *world) issuedBy(cert *x509.Certificate, fingerprint string) bool {
	for _, ca := range w.fleet.Authorities().Current().Trusted {
		if cert.CheckSignatureFrom(ca.Cert) == nil {
			return ca.Fingerprint == fingerprint
		}
	}
	return false
}

// An identity that was given out and never shown holds the old CA for as long as its challenge is valid, an hour.
func TestOldCAWithoutMacs(t *testing.T) {
	w := newWorld(t, generatedCA)
	first := oneOf(t, w)
	w.scepFrom(w.caCert(), pkcsReq{name: macID, challenge: w.challenge()})
	w.rotate()
	check(t, w.fleet.Authorities().RetireUnused(context.Background()))
	if list, _ := w.cas(); list[first].Fingerprint == "" {
		t.Error("the old CA went before the Mac could enrol")
	}
	w.pass(time.Hour)
	check(t, w.fleet.Authorities().RetireUnused(context.Background()))
	if list, _ := w.cas(); len(list) != 1 {
		t.Errorf("an hour later there are %+v", list)
	}
}

// A Mac that checks out has deleted its identity, and one whose identity has expired has none: neither holds the CA. One of which
// it is not known who issued its identity holds every old CA.
func TestWhatHoldsAnOldCA(t *testing.T) {
	w := newWorld(t, generatedCA)
	first := oneOf(t, w)
	mac := &client{w: w, id: macID, cert: w.scepFrom(w.caCert(), pkcsReq{name: macID, challenge: w.challenge()}), key: macKey()}
	mac.enrol()
	w.rotate()
	here := func() bool {
		check(t, w.fleet.Authorities().RetireUnused(context.Background()))
		list, _ := w.cas()
		return list[first].Fingerprint != ""
	}
	ctx := context.Background()
	check(t, w.fleet.Authenticate(ctx, otherID, status.CheckIn{UDID: otherID, Version: "26.5", Build: "25F71"})) // as before CAs were noted
	check(t, w.fleet.TokenUpdate(ctx, otherID, pushTopic))
	if !here() {
		t.Fatal("the CA of an enrolled Mac is gone")
	}
	want(t, "CheckOut", mac.checkin(message{"MessageType": "CheckOut"}), http.StatusOK)
	if !here() {
		t.Fatal("the CA is gone although nobody knows who issued the identity of a Mac")
	}
	check(t, w.fleet.Forget(ctx, otherID, fleet.Origin{Actor: "test"}))
	if here() {
		t.Error("a Mac that has checked out holds the CA")
	}
}

// Macs of a CA that --data has replaced are served; those of a CA that is trusted no more are counted in a warning at the start.
func TestReplacedCA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plimsoll.db")
	start := func(change func(*setup)) (w *world, stop func()) {
		db, err := bolt.Open(path)
		check(t, err)
		return newWorldOn(t, db, true, change), func() { w.srv.Close(); check(t, db.Close()) }
	}
	w, stop := start(func(s *setup) { s.Further = []*x509.Certificate{otherCA().Cert} })
	old, foreign := w.mac(macID), w.mac(foreignID)
	foreign.cert = issue(t, otherCA(), foreignID, nil)
	old.enrol()
	foreign.enrol()
	if strings.Contains(w.logged.String(), "Macs are refused") {
		t.Error("a start without Macs warns")
	}
	stop()

	replacement := newCA("the next CA", keys()[1])
	w, stop = start(func(s *setup) { s.CA = replacement })
	defer stop()
	old.w, foreign.w = w, w
	want(t, "a Mac of the CA that was replaced", old.ddm("tokens", nil), http.StatusOK)
	want(t, "a Mac of a CA that is trusted no more", foreign.ddm("tokens", nil), http.StatusBadRequest)
	if log := w.logged.String(); !strings.Contains(log, "Macs are refused") || !strings.Contains(log, "macs=1") {
		t.Errorf("the start does not warn: %s", log)
	}
	list, issuing := w.cas()
	if len(list) != 2 || list[issuing].Subject != "CN=the next CA" {
		t.Errorf("trusted are %+v", list)
	}
	check(t, w.fleet.Forget(context.Background(), macID, fleet.Origin{Actor: "test"}))
	check(t, w.fleet.Authorities().RetireUnused(context.Background()))
	if list, _ := w.cas(); len(list) != 1 {
		t.Errorf("the CA whose last Mac was removed is still trusted: %+v", list)
	}
}

// A replica that cannot ask whether a CA is new does not refuse its Macs for good.
func TestCAOfAnotherReplicaWhileTheStoreIsAway(t *testing.T) {
	db, err := redis.Open(t.Context(), storagetest.RedisServer(t).URL())
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	w := newWorldOn(t, db, false)
	c := w.mac(macID)
	c.cert = issue(t, otherCA(), macID, nil)
	w.db.Set(storagetest.Fault{Down: true})
	want(t, "a certificate of a CA that is not known", c.checkin(authenticate("26.5", "25F71")), http.StatusServiceUnavailable)
	w.db.Set(storagetest.Fault{})
	want(t, "and once the store answers", c.checkin(authenticate("26.5", "25F71")), http.StatusBadRequest)
}

// The start says that the CA ends soon.
func TestCAThatEndsSoon(t *testing.T) {
	for name, tt := range map[string]struct {
		years int
		warns bool
	}{"19 years left": {1, false}, "less than a year left": {-19, true}} {
		w := newWorld(t, func(s *setup) {
			tmpl := *deviceCA().Cert
			tmpl.NotBefore, tmpl.NotAfter = tmpl.NotBefore.AddDate(-20, 0, 0), tmpl.NotAfter.AddDate(tt.years, 0, -1)
			der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, &deviceCA().Key.PublicKey, deviceCA().Key)
			check(t, err)
			cert, err := x509.ParseCertificate(der)
			check(t, err)
			s.CA = &fleet.CA{Cert: cert, Key: deviceCA().Key}
		})
		if warns := strings.Contains(w.logged.String(), "ends soon"); warns != tt.warns {
			t.Errorf("%s: warned %v", name, warns)
		}
	}
}
