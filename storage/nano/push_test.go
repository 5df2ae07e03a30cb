package nano_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

var pushNotAfter = time.Date(2027, 11, 2, 9, 0, 0, 0, time.UTC)

// pushPair makes a push certificate for a topic: Apple's carry it as the subject's UID.
func pushPair(t *testing.T, topic string) (cert, key []byte) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: pushNotAfter,
		Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: topic},
		}},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	ok(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	ok(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func TestPushCert(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		c := newClock()
		s := nano.New(db, nano.WithClock(c.now))
		cert, key := pushPair(t, topic)
		ok(t, s.StorePushCert(ctx, cert, key))
		pair, token, err := s.RetrievePushCert(ctx, topic)
		ok(t, err)
		if block, _ := pem.Decode(cert); string(pair.Certificate[0]) != string(block.Bytes) {
			t.Errorf("another certificate came back")
		}
		stale := func(want bool) {
			t.Helper()
			if got, err := s.IsPushCertStale(ctx, topic, token); got != want || err != nil {
				t.Errorf("stale: got %v, %v, want %v", got, err, want)
			}
		}
		stale(false)
		c.add(time.Hour)
		cert, key = pushPair(t, topic+".2")
		ok(t, s.StorePushCert(ctx, cert, key))
		stale(false)
		got, err := s.PushCerts(ctx)
		ok(t, err)
		want := []nano.PushCert{
			{Topic: topic + ".2", NotAfter: pushNotAfter, Stored: c.t},
			{Topic: topic, NotAfter: pushNotAfter, Stored: c.t.Add(-time.Hour)},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("push certificates (-want +got):\n%s", diff)
		}
		cert, key = pushPair(t, topic) // renewed
		ok(t, s.StorePushCert(ctx, cert, key))
		stale(true)
		ok(t, s.StorePushCert(ctx, cert, key))
		_, again, err := s.RetrievePushCert(ctx, topic)
		ok(t, err)
		if again == token {
			t.Errorf("the stale token is still %s", token)
		}
	})
}

func TestBadPushCert(t *testing.T) {
	cert, key := pushPair(t, topic)
	_, otherKey := pushPair(t, topic)
	noTopic, noTopicKey := pushPair(t, "example.com")
	for _, tc := range []struct {
		name      string
		cert, key []byte
	}{
		{"nothing", nil, nil},
		{"no key", cert, nil},
		{"another key", cert, otherKey},
		{"no certificate", key, key},
		{"not Apple's", noTopic, noTopicKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := newBolt(t)
			wantErr(t, nano.New(db).StorePushCert(context.Background(), tc.cert, tc.key), storage.ErrInvalid)
			if got := keys(t, db, "push"); got != nil {
				t.Errorf("it left %v", got)
			}
		})
	}
}

func TestPushInfo(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		var ids []string
		want := map[string]*mdm.Push{}
		for i := range 70 {
			id := fmt.Sprintf("MAC-%02d", i)
			enrol(t, s, id)
			ids = append(ids, id)
			want[id] = &mdm.Push{Topic: topic, PushMagic: "magic of " + id, Token: []byte{1, 2, 3}}
		}
		for _, id := range []string{"MAC-00:alice", "MAC-01:alice", "MAC-01:bob"} {
			enrol(t, s, id)
			ids = append(ids, id)
			want[id] = &mdm.Push{Topic: topic, PushMagic: "magic of " + id, Token: []byte{1, 2, 3}}
		}
		ok(t, s.StoreAuthenticate(request("MAC-HALF"), &mdm.Authenticate{}))
		ok(t, s.StoreAuthenticate(request("MAC-ODD"), &mdm.Authenticate{}))
		ok(t, s.StoreTokenUpdate(request("MAC-ODD"), &mdm.TokenUpdate{}))
		ids = append(ids, "MAC-HALF", "MAC-ODD", "MAC-NONE", "MAC-00:nobody", "", ids[0])
		got, err := s.RetrievePushInfo(context.Background(), ids)
		ok(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("push data (-want +got):\n%s", diff)
		}
	})
}
