package mdm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/smallstep/pkcs7"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/cms"
	"plimsoll/server/mdm/message"
)

// What Macs say of themselves in Setup Assistant is signed by certificates of Apple's iPhone Device CA (RSA-1024, SHA-1,
// expired in 2014). Its key is pinned: under Apple's root there is also every developer's certificate.
//
//go:embed apple_device_ca.pem
var appleDeviceCAPEM []byte

func appleDeviceCA() (*x509.Certificate, error) {
	block, _ := pem.Decode(appleDeviceCAPEM)
	if block == nil {
		return nil, errors.New("mdm: Apple's Device CA is not carried")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("mdm: read Apple's Device CA: %w", err)
	}
	return ca, nil
}

const maxMachineInfo = 64 << 10 // bytes of a signed MachineInfo; a Mac's has about 5,000

// arrival is a Mac in Setup Assistant that wants its profile.
type arrival struct {
	fleet.MachineInfo
	verified bool
}

// badArrival is a message that no Mac sends.
type badArrival struct{ why error }

func (b *badArrival) Error() string { return b.why.Error() }

// readArrival reads a MachineInfo, signed or bare.
func (d *Server) readArrival(w http.ResponseWriter, r *http.Request) (*arrival, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMachineInfo))
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return nil, &badArrival{fmt.Errorf("MachineInfo has more than %d bytes", maxMachineInfo)}
	} else if err != nil {
		return nil, &badArrival{errors.New("MachineInfo is cut short")}
	}
	a := &arrival{}
	if text := bytes.TrimSpace(body); !bytes.HasPrefix(text, []byte("<")) && !bytes.HasPrefix(text, []byte("bplist")) {
		signed, err := cms.Parse(body)
		if err != nil {
			return nil, &badArrival{errors.New("MachineInfo is neither CMS nor a property list, or cut short")}
		}
		body, a.verified = signed.Content, d.signedByMac(signed)
	}
	if a.MachineInfo, err = message.MachineInfo(body); err != nil {
		return nil, &badArrival{err}
	}
	return a, nil
}

// signedByMac tells whether a message has exactly one signer, whose certificate a machine CA signed. No date counts: that CA
// expired long ago, and the clock of a Mac in Setup Assistant may be wrong.
func (d *Server) signedByMac(signed *pkcs7.PKCS7) bool {
	leaf := signed.GetOnlySigner()
	if len(signed.Signers) != 1 || leaf == nil || !cheapKey(leaf.PublicKey) {
		return false
	}
	if !slices.ContainsFunc(d.o.MachineCAs, func(ca *x509.Certificate) bool {
		return ca.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil
	}) {
		return false
	}
	ageless := *leaf // pkcs7 would compare the signing time with these
	ageless.NotBefore, ageless.NotAfter = time.Time{}, cms.Endless
	signed.Certificates = []*x509.Certificate{&ageless}
	return signed.Verify() == nil
}

// cheapKey tells whether a stranger's key takes little time to verify with.
func cheapKey(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		return true
	}
	return false
}

// admit returns nil when the Mac gets its profile, and *updateFirst when it is to install a version first.
func (d *Server) admit(ctx context.Context, a *arrival) error {
	if !a.verified {
		d.count.Unverified.Add(1)
	}
	version, err := d.o.Fleet.CheckEnrolment(ctx, a.MachineInfo, a.verified)
	if err != nil {
		return fmt.Errorf("decide about a Mac that wants to enrol: %w", err)
	}
	if version != "" {
		return &updateFirst{version}
	}
	return nil
}

// updateFirst is the answer to a Mac that is to install a version before it enrols (com.apple.softwareupdate.required).
type updateFirst struct{ version string }

func (u *updateFirst) Error() string { return "the Mac is to install macOS " + u.version + " first" }

func (u *updateFirst) answer(w http.ResponseWriter) {
	type details struct{ OSVersion string }
	b, err := json.Marshal(struct {
		Code        string  `json:"code"`
		Description string  `json:"description"`
		Message     string  `json:"message"`
		Details     details `json:"details"`
	}{
		"com.apple.softwareupdate.required", u.Error(),
		"This Mac needs macOS " + u.version + " before it can be enrolled.",
		details{u.version},
	})
	if err != nil {
		refuse(w, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write(b) // who went away asks again
}
