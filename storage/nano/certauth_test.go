package nano_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/micromdm/nanomdm/service/certauth"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

var (
	hash1 = strings.Repeat("1a", 32)
	hash2 = strings.Repeat("2b", 32)
	hash3 = strings.Repeat("3c", 32)
)

func TestCertAssociation(t *testing.T) {
	type want struct{ has, enrolmentHas, associated bool }
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		check := func(when, id, hash string, w want) {
			t.Helper()
			var got want
			var errs [3]error
			got.has, errs[0] = s.HasCertHash(request(id), hash)
			got.enrolmentHas, errs[1] = s.EnrollmentHasCertHash(request(id), hash)
			got.associated, errs[2] = s.IsCertHashAssociated(request(id), hash)
			for _, err := range errs {
				ok(t, err)
			}
			if got != w {
				t.Errorf("%s: %s with %.4s: got %+v, want %+v", when, id, hash, got, w)
			}
		}
		owner := func(when, hash, want string) {
			t.Helper()
			got, err := s.EnrollmentFromHash(context.Background(), hash)
			if got != want || err != nil {
				t.Errorf("%s: enrolment of %.4s: got %q, %v, want %q", when, hash, got, err, want)
			}
		}
		check("at first", mac, hash1, want{})
		owner("at first", hash1, "")

		ok(t, s.AssociateCertHash(request(mac), hash1))
		ok(t, s.AssociateCertHash(request(mac), strings.ToUpper(hash1))) // the same, repeated
		check("enrolled", mac, hash1, want{true, true, true})
		check("enrolled", mac, strings.ToUpper(hash1), want{true, true, true})
		check("enrolled", mac, hash2, want{false, true, false})
		check("enrolled", other, hash1, want{true, false, false})
		owner("enrolled", hash1, mac)

		wantErr(t, s.AssociateCertHash(request(other), hash1), certauth.ErrNoCertReuse)
		wantErr(t, s.AssociateCertHash(request(other), hash1), storage.ErrConflict)
		check("after a theft was tried", other, hash1, want{true, false, false})
		check("after a theft was tried", mac, hash1, want{true, true, true})

		ok(t, s.AssociateCertHash(request(mac), hash2))
		check("re-enrolled, new certificate", mac, hash2, want{true, true, true})
		check("re-enrolled, replaced certificate", mac, hash1, want{true, true, false})
		check("re-enrolled, replaced certificate", other, hash1, want{true, false, false})
		owner("re-enrolled", hash2, mac)
		owner("re-enrolled", hash1, "")
		wantErr(t, s.AssociateCertHash(request(other), hash1), certauth.ErrNoCertReuse)

		ok(t, s.Forget(context.Background(), mac))
		for _, hash := range []string{hash1, hash2} {
			check("deleted", mac, hash, want{has: true})
			check("deleted", other, hash, want{has: true})
			owner("deleted", hash, "")
			wantErr(t, s.AssociateCertHash(request(mac), hash), certauth.ErrNoCertReuse)
			wantErr(t, s.AssociateCertHash(request(other), hash), certauth.ErrNoCertReuse)
		}
		ok(t, s.AssociateCertHash(request(mac), hash3))
		check("enrolled again", mac, hash3, want{true, true, true})
	})
}

// TestCertAssociationBounded: a Mac that enrols over and over leaves a bounded number of entries.
func TestCertAssociationBounded(t *testing.T) {
	ctx := context.Background()
	db := newBolt(t)
	s := nano.New(db)
	const times = 40
	hash := func(n int) string { return fmt.Sprintf("%064x", n) }
	for n := range times {
		ok(t, s.AssociateCertHash(request(mac), hash(n)))
	}
	listed := strings.Count(get(t, db, "mac/"+mac, "n/cert"), `"0`)
	if listed != 17 { // the current one and 16 replaced
		t.Errorf("%d certificates are listed, want 17", listed)
	}
	refused := func(when string, n int) {
		t.Helper()
		for _, id := range []string{mac, other} {
			has, err := s.HasCertHash(request(id), hash(n))
			ok(t, err)
			associated, err := s.IsCertHashAssociated(request(id), hash(n))
			ok(t, err)
			if !has || associated {
				t.Errorf("%s: certificate %d with %s: has %t, associated %t", when, n, id, has, associated)
			}
		}
	}
	for n := range times - 1 {
		refused("replaced", n)
	}
	ok(t, s.Forget(ctx, mac))
	for n := range times {
		refused("deleted", n)
	}
}

// TestCertRace: two enrolments bring the same certificate at once. Exactly one gets it.
func TestCertRace(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		const n = 8
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { errs[i] = s.AssociateCertHash(request(fmt.Sprintf("MAC-%d", i)), hash1) })
		}
		wg.Wait()
		won := 0
		for i, err := range errs {
			associated, lookErr := s.IsCertHashAssociated(request(fmt.Sprintf("MAC-%d", i)), hash1)
			ok(t, lookErr)
			if associated != (err == nil) {
				t.Errorf("MAC-%d: associated %v, error %v", i, associated, err)
			}
			if err == nil {
				won++
			} else {
				wantErr(t, err, certauth.ErrNoCertReuse)
			}
		}
		if won != 1 {
			t.Errorf("%d enrolments have the certificate, want 1", won)
		}
	})
}

// TestCertCrash cuts an association between its two writes, and repeats it as certauth does.
func TestCertCrash(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before string // the certificate that the Mac had
	}{
		{"first enrolment", ""},
		{"re-enrolment", hash2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, db storage.DB) {
				f := &faulty{DB: db}
				s := nano.New(f)
				if tc.before != "" {
					ok(t, s.AssociateCertHash(request(mac), tc.before))
				}
				f.fail = func(partition string) bool { return partition == storage.MacPartition(mac) }
				wantErr(t, s.AssociateCertHash(request(mac), hash1), storage.ErrUnavailable)
				f.fail = nil

				if has, err := s.HasCertHash(request(other), hash1); !has || err != nil {
					t.Errorf("another Mac with the certificate: has %v, %v; want it refused", has, err)
				}
				wantErr(t, s.AssociateCertHash(request(other), hash1), certauth.ErrNoCertReuse)
				if associated, err := s.IsCertHashAssociated(request(mac), hash1); associated || err != nil {
					t.Errorf("associated %v, %v before the second write", associated, err)
				}
				// certauth refuses when HasCertHash and not IsCertHashAssociated.
				if has, err := s.HasCertHash(request(mac), hash1); has || err != nil {
					t.Errorf("the Mac's second try: has %v, %v; want it to go on", has, err)
				}
				ok(t, s.AssociateCertHash(request(mac), hash1))
				if associated, err := s.IsCertHashAssociated(request(mac), hash1); !associated || err != nil {
					t.Errorf("associated %v, %v after the second try", associated, err)
				}
			})
		})
	}
}

// TestForgetCrash cuts Forget between its writes, and repeats it.
func TestForgetCrash(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		f := &faulty{DB: db}
		s := nano.New(f)
		ok(t, s.AssociateCertHash(request(mac), hash1))
		ok(t, s.AssociateCertHash(request(mac), hash2))
		enrol(t, s, mac)
		f.fail = func(partition string) bool { return partition == storage.MacPartition(mac) }
		wantErr(t, s.Forget(ctx, mac), storage.ErrUnavailable)
		f.fail = func(partition string) bool { return partition == "cert/"+hash2 }
		wantErr(t, s.Forget(ctx, mac), storage.ErrUnavailable)
		f.fail = nil
		ok(t, s.Forget(ctx, mac))
		if got := keys(t, db, storage.MacPartition(mac)); got != nil {
			t.Errorf("the Mac's partition still holds %v", got)
		}
		for _, hash := range []string{hash1, hash2} {
			wantErr(t, s.AssociateCertHash(request(mac), hash), certauth.ErrNoCertReuse)
		}
	})
}

// TestForgetKeepsTheRest: the Mac's partition holds more than NanoMDM's keys.
func TestForgetKeepsTheRest(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		s := nano.New(db)
		ok(t, s.AssociateCertHash(request(mac), hash3))
		enrol(t, s, mac, user)
		ok(t, s.Enqueue(ctx, mac, command("u1", "DeviceInformation")))
		ok(t, s.Enqueue(ctx, mac, command("u2", "DeviceInformation")))
		ok(t, s.Enqueue(ctx, user, command("u3", "DeviceInformation")))
		ok(t, s.StoreCommandReport(request(mac), answer("u1", "Acknowledged")))
		ok(t, db.Update(ctx, storage.MacPartition(mac), func(tx storage.Tx) error {
			tx.Set("x", []byte("record"))
			tx.Set("m", []byte("manifest"))
			return nil
		}))
		ok(t, s.Forget(ctx, user))
		if got := strings.Join(keys(t, db, storage.MacPartition(mac)), " "); got != "m x" {
			t.Errorf("the partition holds %s, want m x", got)
		}
		if associated, err := s.IsCertHashAssociated(request(mac), hash3); associated || err != nil {
			t.Errorf("associated %v, %v after Forget", associated, err)
		}
		ok(t, s.AssociateCertHash(request(mac), hash1))
		enrol(t, s, mac)
	})
}
