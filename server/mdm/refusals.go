package mdm

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"plimsoll/server/mdm/cms"

	"github.com/micromdm/nanomdm/service/certauth"

	"plimsoll/server/fleet"
)

// The causes for which a Mac's message is refused: labels of a metric, and what the Mac's page says of the last one.
const (
	causeUnsigned  = "unsigned"           // no certificate could be read from the request
	causeUntrusted = "untrusted"          // no CA that is trusted issued it, or it is not fit for MDM
	causeExpired   = "expired"            // it would be trusted if it were still valid
	causeEarly     = "not_yet_valid"      // it will be
	causeSignature = "wrong_signature"    // the body is not what was signed
	causeReplaced  = "replaced"           // the Mac has enrolled with another certificate since
	causeRevoked   = "revoked"            // the Mac was deleted, or has replaced the certificate often since
	causeOther     = "other_certificate"  // it is not the one that the Mac enrolled with
	causeCopied    = "copied_identity"    // another device sends under this Mac's certificate
	causeEnrolment = "not_enrolled"       // the Mac has checked out or never enrolled
	causeMalformed = "malformed"          // the message cannot be read
	causeTooLarge  = "too_large"          //
	causeTooMany   = "too_many"           // requests or bytes
	causeOtherWay  = "method_not_allowed" // neither PUT nor POST
)

// Causes are all causes, in the order of Counters.ByCause.
var Causes = []string{
	causeUnsigned, causeUntrusted, causeExpired, causeEarly, causeSignature, causeReplaced, causeRevoked, causeOther, causeCopied,
	causeEnrolment, causeMalformed, causeTooLarge, causeTooMany, causeOtherWay,
}

// refusal is an error with its cause. cert is the certificate that the sender showed, if any.
type refusal struct {
	cause string
	cert  *x509.Certificate
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

const (
	tracesPerSecond = 20        // look-ups of refused certificates, of all Macs
	traceEvery      = time.Hour // how often one cause is written down of one Mac
)

// traced is one cause of one Mac.
type traced struct{ id, cause string }

// refused counts a refusal by its cause, and leaves a trace of it on the Mac's record. Only a certificate that the Mac really
// had names it: anybody can claim an id.
func (d *Server) refused(ctx context.Context, v *visit, cert *x509.Certificate, status int, err error) {
	var own *refusal
	cause := causeMalformed
	switch {
	case errors.As(err, &own):
		if cause = own.cause; own.cert != nil {
			cert = own.cert
		}
	case status == http.StatusMethodNotAllowed:
		cause = causeOtherWay
	case status == http.StatusRequestEntityTooLarge:
		cause = causeTooLarge
	case status == http.StatusTooManyRequests:
		cause = causeTooMany
	case errors.Is(err, certauth.ErrNoCertAssoc), errors.Is(err, certauth.ErrNoCertReuse):
		cause = causeOther
	case errors.Is(err, fleet.ErrForbidden), errors.Is(err, fleet.ErrNotFound):
		cause = causeEnrolment
	}
	id, known := "", false
	if cert != nil && d.traces.AllowN(d.o.Now(), 1) {
		id, cause, known = d.attribute(ctx, v, cert, cause)
	}
	d.count.refuse(cause)
	if !known || cause == causeTooMany || cause == causeTooLarge {
		return
	}
	now, fresh := d.o.Now(), false
	d.told.change(traced{id, cause}, now, func(at time.Time, found bool) time.Time {
		if fresh = !found || now.Sub(at) >= traceEvery; fresh {
			return now
		}
		return at
	})
	if !fresh {
		return
	}
	print := fingerprintOf(cert)
	if err := d.o.Fleet.Refused(ctx, id, cause, hex.EncodeToString(print[:])); err != nil {
		d.log.Debug("a refusal was not written down", "mac", id, "error", err)
	}
}

// attribute finds the Mac that a refusal concerns, and makes its cause exact.
func (d *Server) attribute(ctx context.Context, v *visit, cert *x509.Certificate, cause string) (id, exact string, known bool) {
	print := fingerprintOf(cert)
	owner, revoked, err := d.o.Notifier.store.CertOwner(ctx, hex.EncodeToString(print[:]))
	claimed, _, _ := strings.Cut(v.id, ":")
	if err != nil {
		return "", cause, false
	}
	if cause == causeOther {
		switch {
		case owner == "": // a certificate that is new here, in the name of a Mac
			return claimed, cause, claimed != ""
		case owner != claimed:
			return owner, causeCopied, true
		case revoked:
			return owner, causeRevoked, true
		}
		return owner, causeReplaced, true
	}
	if owner == "" && cause != causeUntrusted {
		return claimed, cause, claimed != ""
	}
	return owner, cause, owner != ""
}

// causeCounts counts refusals by cause, in the order of Causes.
type causeCounts [14]atomic.Int64

func (c *Counters) refuse(cause string) {
	for i := range Causes {
		if Causes[i] == cause {
			c.ByCause[i].Add(1)
		}
	}
}

// skewed notes a Mac whose clock is wrong: it decides nothing here, but the Mac will not trust Apple's servers either.
func (d *Server) skewed(by *cms.Signer, id string) {
	if by.At.IsZero() {
		return
	}
	if skew := d.o.Now().Sub(by.At); skew.Abs() >= clockSkew {
		d.count.Skewed.Add(1)
		d.log.Info("a Mac's clock is wrong", "mac", clip(id), "behind", fmt.Sprint(skew.Round(time.Second)))
	}
}

// clockSkew is how wrong a clock may be without a word.
const clockSkew = 10 * time.Minute
