package mdm

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/micromdm/nanomdm/service"
)

// The bounds of bodies in memory. A signature vouches for a body only when all of it is there, and a header can be replayed:
// until then its sender is a stranger.
const (
	firstRead   = 16 << 10  // bytes that are set aside for a body at first; most Macs' messages are smaller
	smallBody   = 256 << 10 // bytes of any message but a status report, and of answers to commands that are no lists
	perCert     = 8         // bodies at a time under one certificate
	certBytes   = 8 << 20   // bytes of them
	largeBytes  = 96 << 20  // bytes of all bodies over smallBody
	intakeBytes = 128 << 20 // bytes of all bodies
)

var (
	errManyBodies = service.NewHTTPStatusError(
		http.StatusTooManyRequests,
		errors.New("too much is being sent under this certificate"),
	)
	errIntakeFull = service.NewHTTPStatusError(http.StatusServiceUnavailable, errors.New("too much is being sent by all Macs"))
)

// intake bounds the bodies of Macs' messages that are in memory, from their first byte until they are answered. Safe for
// concurrent use.
type intake struct {
	mu         sync.Mutex
	all, large int64
	certs      map[fingerprint]held
}

// held is the part of an intake that belongs to one certificate.
type held struct {
	bodies int
	bytes  int64
}

// parcel is one body's share of an intake.
type parcel struct {
	in    *intake
	of    fingerprint
	bytes int64
}

// begin admits a body under a certificate. The caller ends the parcel.
func (in *intake) begin(of fingerprint) (*parcel, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.certs[of]
	if h.bodies >= perCert {
		return nil, errManyBodies
	}
	if in.certs == nil {
		in.certs = map[fingerprint]held{}
	}
	h.bodies++
	in.certs[of] = h
	return &parcel{in: in, of: of}, nil
}

// grow sets more bytes aside for the body.
func (p *parcel) grow(n int64) error {
	in := p.in
	in.mu.Lock()
	defer in.mu.Unlock()
	h, more := in.certs[p.of], largePart(p.bytes+n)-largePart(p.bytes)
	switch {
	case h.bytes+n > certBytes:
		return errManyBodies
	case in.all+n > intakeBytes, in.large+more > largeBytes && more > 0:
		return errIntakeFull
	}
	h.bytes += n
	in.certs[p.of] = h
	in.all, in.large, p.bytes = in.all+n, in.large+more, p.bytes+n
	return nil
}

// largePart is all of a body that is not small.
func largePart(n int64) int64 {
	if n > smallBody {
		return n
	}
	return 0
}

// end gives everything back.
func (p *parcel) end() {
	in := p.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.all, in.large = in.all-p.bytes, in.large-largePart(p.bytes)
	h := in.certs[p.of]
	if h.bodies--; h.bodies == 0 {
		delete(in.certs, p.of)
		return
	}
	h.bytes -= p.bytes
	in.certs[p.of] = h
}

// read reads a body of at most limit bytes, and sets aside no more for it than has come, doubled.
func (p *parcel) read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body := http.MaxBytesReader(w, r.Body, limit)
	if err := p.grow(firstRead); err != nil {
		return nil, err
	}
	for buf := make([]byte, 0, firstRead); ; {
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, readError(err)
		case len(buf) < cap(buf):
			continue
		}
		larger := min(2*int64(cap(buf)), limit+1)
		if err := p.grow(larger - int64(cap(buf))); err != nil {
			w.Header().Set("Connection", "close") // the rest is not read
			return nil, err
		}
		buf = append(make([]byte, 0, larger), buf...)
	}
}

// small refuses a message that is larger than any of its kind.
func small(raw []byte) error {
	if len(raw) > smallBody {
		return tooLarge(fmt.Errorf("the message has %d bytes, more than any of its kind", len(raw)))
	}
	return nil
}

// readError is the answer to a body that could not be read.
func readError(err error) error {
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return tooLarge(err)
	}
	return badRequest(fmt.Errorf("read the body: %w", err))
}
