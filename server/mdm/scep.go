package mdm

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"plimsoll/server/mdm/cms"

	"github.com/micromdm/nanomdm/service"
	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"

	"plimsoll/server/fleet"
)

// The library has these settings for the whole process, and its own are DES and SHA-1.
func init() {
	pkcs7.ContentEncryptionAlgorithm = pkcs7.EncryptionAlgorithmAES128CBC
	if err := pkcs7.SetDefaultDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256); err != nil {
		panic(err)
	}
}

const (
	maxSCEP = 32 << 10 // bytes of a SCEP message; a Mac's has about 4,000

	capabilities = "AES\nPOSTPKIOperation\nSCEPStandard\nSHA-256\n"
	minRSA       = 2048 // bits
	maxRSA       = 8192
)

// SCEP is the handler of SCEP.
func (d *Server) SCEP() http.Handler { return d.guarded(d.serveSCEP) }

func (d *Server) serveSCEP(w http.ResponseWriter, r *http.Request) {
	contentType, answer, err := d.scep(w, r)
	var failure *scepFailed
	if errors.As(err, &failure) { // SCEP says no in a message of its own, with status 200; for the metrics it is refused
		if m, ok := w.(interface{ Refused() }); ok {
			m.Refused()
		}
		answer, err = failure.answer, nil
	}
	if err != nil {
		d.count.IdentitiesRefused.Add(1)
		status := statusOf(err)
		d.log.Log(r.Context(), levelOf(status), "a SCEP request was refused", "status", status, "error", err)
		refuse(w, status)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(answer) // who went away asks again
}

func levelOf(status int) slog.Level {
	if status >= 500 {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func badRequest(err error) error { return service.NewHTTPStatusError(http.StatusBadRequest, err) }

func (d *Server) scep(w http.ResponseWriter, r *http.Request) (contentType string, answer []byte, err error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		return "", nil, service.NewHTTPStatusError(http.StatusMethodNotAllowed, fmt.Errorf("the method is %s", r.Method))
	}
	query := r.URL.Query()
	switch op := query.Get("operation"); op {
	case "GetCACaps":
		return "text/plain", []byte(capabilities), nil
	case "GetCACert":
		return "application/x-x509-ca-cert", d.o.Fleet.Authorities().Current().Issuing.Cert.Raw, nil
	case "PKIOperation":
	default:
		return "", nil, badRequest(fmt.Errorf("SCEP operation %.40q is not offered", op))
	}
	var message []byte
	if r.Method == http.MethodPost {
		message, err = readBody(w, r, maxSCEP)
	} else {
		message, err = messageOf(query.Get("message"))
	}
	if err != nil {
		return "", nil, err
	}
	leave, ok := d.o.Enter()
	if !ok {
		return "", nil, errBusy
	}
	leave() // a stranger holds no Mac's place while the CA's key works
	done, err := d.strangers.enter(r.Context())
	if err != nil {
		return "", nil, err
	}
	defer done()
	answer, err = d.pkiOperation(r.Context(), message)
	return "application/x-pki-message", answer, err
}

// scepQueue holds how much of the machine strangers get: opening and signing a message takes the CA's key 10 ms of CPU time,
// before anything about the sender is known.
type scepQueue struct{ waiting, working chan struct{} }

const maxSCEPWaiting = 64 // messages that wait for their turn

func newSCEPQueue() scepQueue {
	return scepQueue{make(chan struct{}, maxSCEPWaiting), make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// enter waits for a turn, unless too many wait already.
func (q scepQueue) enter(ctx context.Context) (done func(), err error) {
	select {
	case q.waiting <- struct{}{}:
		defer func() { <-q.waiting }()
	default:
		return nil, errBusy
	}
	select {
	case q.working <- struct{}{}:
		return func() { <-q.working }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

// messageOf decodes the message of a GET. A plus sign that was not escaped came as a blank.
func messageOf(text string) ([]byte, error) {
	if len(text) > base64.StdEncoding.EncodedLen(maxSCEP) {
		return nil, service.NewHTTPStatusError(http.StatusRequestEntityTooLarge, errors.New("the SCEP message is too long"))
	}
	message, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		return nil, badRequest(fmt.Errorf("decode the SCEP message: %w", err))
	}
	return message, nil
}

// pkiOperation answers one PKCSReq: with an identity, with a SCEP failure, or with an error when there is nobody to answer
// to in SCEP, or the server is to blame.
func (d *Server) pkiOperation(ctx context.Context, message []byte) ([]byte, error) {
	signed, err := cms.Parse(message)
	if err == nil && !cms.WellNested(signed.Content) { // the envelope, which is CMS too
		err = cms.ErrNesting
	}
	if err != nil {
		return nil, badRequest(fmt.Errorf("read the SCEP message: %w", err))
	}
	for _, cert := range signed.Certificates { // before anything is verified with them: a stranger's key may be made to take long
		if err := usableKey(cert.PublicKey); err != nil {
			return nil, badRequest(fmt.Errorf("read the SCEP message: its sender: %w", err))
		}
	}
	msg, err := scep.ParsePKIMessage(message)
	if err != nil {
		return nil, badRequest(fmt.Errorf("read the SCEP message: %w", err))
	}
	cas := d.o.Fleet.Authorities()
	if err := cas.Refresh(ctx); err != nil { // another replica may have made a new one just now
		return nil, fmt.Errorf("read the device CAs: %w", err)
	}
	set := cas.Current()
	if msg.MessageType != scep.PKCSReq {
		if msg.SenderNonce == nil {
			return nil, badRequest(fmt.Errorf("SCEP message type %.8q is not taken", string(msg.MessageType)))
		}
		return d.scepFailure(ctx, set.Issuing, msg, scep.BadRequest, errors.New("identities are not renewed"))
	}
	// Whatever is wrong with the envelope gets the same answer: anything more would help in guessing what is in it.
	to, err := openEnvelope(msg, set)
	if err != nil {
		return d.scepFailure(ctx, to, msg, scep.BadMessageCheck, fmt.Errorf("open the SCEP message: %w", err))
	}
	if err := msg.CSR.CheckSignature(); err != nil {
		return d.scepFailure(ctx, to, msg, scep.BadMessageCheck, fmt.Errorf("verify the certificate request: %w", err))
	}
	if err := usableKey(msg.CSR.PublicKey); err != nil {
		return d.scepFailure(ctx, to, msg, scep.BadAlg, err)
	}
	return d.issue(ctx, set, to, msg)
}

// issue answers a request that is in order. The CA that it was encrypted for signs the answer, because the Mac knows that one;
// the identity comes from the one that issues, which may have taken its place meanwhile.
func (d *Server) issue(ctx context.Context, set *fleet.AuthoritySet, to *fleet.CA, msg *scep.PKIMessage) ([]byte, error) {
	name := cleanName(msg.CSR.Subject.CommonName)
	request := sha256.Sum256(append([]byte(name+"\x00"), msg.CSR.RawSubjectPublicKeyInfo...))
	by := hex.EncodeToString(request[:])
	redeemed, err := d.o.Fleet.RedeemChallenge(ctx, msg.ChallengePassword, by, set.Issuing.ID)
	switch {
	case errors.Is(err, fleet.ErrForbidden), errors.Is(err, fleet.ErrNotFound):
		return d.scepFailure(ctx, to, msg, scep.BadRequest, err)
	case err != nil:
		return nil, fmt.Errorf("redeem a SCEP challenge: %w", err)
	}
	// A challenge gives one identity: whoever repeats the request gets the same one.
	unique := sha256.Sum256(append([]byte(msg.ChallengePassword), request[:]...))
	issuing := set.Issuing
	if ca := set.ByID(redeemed.CA); ca != nil && ca.Key != nil {
		issuing = ca
	}
	cert, err := issuing.Issue(name, msg.CSR.PublicKey, unique[:], redeemed.At)
	if err != nil {
		return nil, err
	}
	print := fingerprintOf(cert)
	if err := d.o.Fleet.NoteIssued(ctx, msg.ChallengePassword, hex.EncodeToString(print[:])); err != nil {
		return nil, fmt.Errorf("note an identity: %w", err)
	}
	answer, err := msg.Success(to.Cert, to.Key, cert)
	if err != nil { // the requester's own certificate cannot be encrypted for
		return d.scepFailure(ctx, to, msg, scep.BadAlg, fmt.Errorf("encrypt the identity: %w", err))
	}
	d.count.Identities.Add(1)
	d.log.InfoContext(ctx, "an identity was issued", "name", cert.Subject.CommonName, "serial", cert.SerialNumber.Text(16))
	return answer.Raw, nil
}

func (d *Server) scepFailure(
	ctx context.Context, by *fleet.CA, msg *scep.PKIMessage, info scep.FailInfo, why error,
) ([]byte, error) {
	d.count.IdentitiesRefused.Add(1)
	d.log.InfoContext(ctx, "no identity was issued", "failInfo", string(info), "error", why)
	answer, err := msg.Fail(by.Cert, by.Key, info)
	if err != nil {
		return nil, badRequest(fmt.Errorf("answer a SCEP message: %w", err))
	}
	return nil, &scepFailed{answer.Raw}
}

// scepFailed is a refusal in SCEP's own form.
type scepFailed struct{ answer []byte }

func (*scepFailed) Error() string { return "no identity was issued" }

// cleanName keeps at most 64 printable characters, X.520's limit, of what a Mac calls itself.
func cleanName(name string) string {
	var kept []rune
	for _, r := range name {
		if r != unicode.ReplacementChar && unicode.IsPrint(r) && len(kept) < 64 {
			kept = append(kept, r)
		}
	}
	if name = strings.TrimSpace(string(kept)); name == "" {
		return "Mac"
	}
	return name
}

func usableKey(key any) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("the key has %d bits, not between %d and %d", n, minRSA, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return nil
		}
	}
	return errors.New("the key is neither RSA nor on the curve P-256")
}

// openEnvelope decrypts the certificate request in a message, and tells which CA it was encrypted for: one that issues, or did
// until a moment ago; the one that issues when it is none.
func openEnvelope(msg *scep.PKIMessage, set *fleet.AuthoritySet) (to *fleet.CA, err error) {
	for _, ca := range set.Trusted {
		if ca.Key == nil {
			continue
		}
		if err = openFor(ca, msg); err == nil {
			return ca, nil
		}
	}
	return set.Issuing, err
}

// openFor decrypts what was encrypted for a CA. Content that does not come out right makes the library panic, which is an error
// like any other.
func openFor(ca *fleet.CA, msg *scep.PKIMessage) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the content is damaged: %v", p)
		}
	}()
	return msg.DecryptPKIEnvelope(ca.Cert, discreet{ca.Key})
}

// discreet opens what is encrypted for the CA without telling whether its padding was right: a wrong one gives random bytes,
// which then open nothing, and so does a key of no length that a cipher has. Otherwise strangers could use the server to sign
// with the CA's key (Bleichenbacher's attack).
type discreet struct{ key *rsa.PrivateKey }

var contentKeys = []int{8, 16, 24, 32} // bytes: DES, AES-128, 3DES and AES-192, AES-256

// Public is the CA's public key.
func (d discreet) Public() crypto.PublicKey { return d.key.Public() }

// Decrypt opens a content key.
func (d discreet) Decrypt(random io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	substitute := make([]byte, aes.BlockSize)
	if _, err := rand.Read(substitute); err != nil {
		return nil, fmt.Errorf("make a content key: %w", err)
	}
	key, err := d.key.Decrypt(random, ciphertext, opts)
	if err != nil || !slices.Contains(contentKeys, len(key)) {
		key = substitute
	}
	return key, nil
}
