package sim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"
)

// macOS encrypts SCEP messages with AES; the library's own default is DES. The setting is one for the whole process.
func init() { pkcs7.ContentEncryptionAlgorithm = pkcs7.EncryptionAlgorithmAES128CBC }

// Identity is the certificate that proves who a Mac is.
type Identity struct {
	Cert *x509.Certificate
	Key  *rsa.PrivateKey
}

// Keys hands out RSA keys. It is safe for concurrent use.
type Keys struct {
	mu     sync.Mutex
	shared []*rsa.PrivateKey
	next   int
	limit  int
}

// NewKeys makes a key for each Mac; with limit above 0 only so many, which the Macs share (each with a certificate of
// its own): making thousands takes minutes.
func NewKeys(limit int) *Keys { return &Keys{limit: limit} }

// Get is an RSA key of the given size in bits.
func (k *Keys) Get(bits int) (*rsa.PrivateKey, error) {
	if k == nil || k.limit <= 0 {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.shared) < k.limit {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		k.shared = append(k.shared, key)
		return key, nil
	}
	k.next++
	return k.shared[k.next%len(k.shared)], nil
}

// obtainIdentity gets a certificate over SCEP, as the profile says.
func (m *Mac) obtainIdentity(ctx context.Context, p *SCEPPayload) (*Identity, error) {
	bits := p.KeySize
	if bits == 0 {
		bits = 2048
	}
	if bits < 2048 || p.KeyType != "" && p.KeyType != "RSA" {
		return nil, fmt.Errorf("scep: the profile asks for a key of type %q with %d bits", p.KeyType, bits)
	}
	key, err := m.opt.Keys.Get(bits)
	if err != nil {
		return nil, fmt.Errorf("scep: making a key: %w", err)
	}
	caps, err := m.scepGet(ctx, p, "GetCACaps")
	if err != nil {
		return nil, err
	}
	ca, err := m.scepCA(ctx, p)
	if err != nil {
		return nil, err
	}
	msg, tmp, err := m.scepRequest(p, key, ca)
	if err != nil {
		return nil, err
	}
	canPost := slices.ContainsFunc(strings.Fields(string(caps.body)), func(c string) bool {
		return c == "POSTPKIOperation" || c == "SCEPStandard"
	})
	var reply *answer
	if canPost {
		reply, err = m.request(ctx, "scep PKIOperation", http.MethodPost, withQuery(p.URL, "operation", "PKIOperation"),
			"application/x-pki-message", msg.Raw, false)
	} else {
		reply, err = m.request(ctx, "scep PKIOperation", http.MethodGet,
			withQuery(p.URL, "operation", "PKIOperation", "message", base64.StdEncoding.EncodeToString(msg.Raw)), "", nil, false)
	}
	if err != nil {
		return nil, err
	}
	return readCertRep(reply.body, msg, tmp, ca, key)
}

func readCertRep(
	b []byte,
	msg *scep.PKIMessage,
	tmp *x509.Certificate,
	ca []*x509.Certificate,
	key *rsa.PrivateKey,
) (*Identity, error) {
	rep, err := scep.ParsePKIMessage(b, scep.WithCACerts(ca))
	if err != nil {
		return nil, fmt.Errorf("scep: reading the answer: %w", err)
	}
	if rep.CertRepMessage == nil || rep.PKIStatus != scep.SUCCESS {
		if rep.CertRepMessage != nil && rep.PKIStatus == scep.FAILURE {
			return nil, fmt.Errorf("scep: refused with failInfo %s", string(rep.FailInfo))
		}
		return nil, errors.New("scep: the answer brings no certificate")
	}
	if string(rep.RecipientNonce) != string(msg.SenderNonce) {
		return nil, errors.New("scep: the answer's recipientNonce is not ours")
	}
	if rep.TransactionID != msg.TransactionID {
		return nil, errors.New("scep: the answer's transactionID is not ours")
	}
	if err := rep.DecryptPKIEnvelope(tmp, key); err != nil {
		return nil, fmt.Errorf("scep: opening the answer: %w", err)
	}
	cert := rep.Certificate
	if pub, ok := cert.PublicKey.(*rsa.PublicKey); !ok || !pub.Equal(&key.PublicKey) {
		return nil, errors.New("scep: the certificate is not for our key")
	}
	return &Identity{cert, key}, nil
}

// scepRequest makes the signed and encrypted PKCSReq; the certificate is the passing one that the answer is for.
func (m *Mac) scepRequest(
	p *SCEPPayload,
	key *rsa.PrivateKey,
	ca []*x509.Certificate,
) (*scep.PKIMessage, *x509.Certificate, error) {
	subject, err := m.subject(p.Subject)
	if err != nil {
		return nil, nil, err
	}
	csrDER, err := x509util.CreateCertificateRequest(rand.Reader, &x509util.CertificateRequest{
		CertificateRequest: x509.CertificateRequest{RawSubject: subject, SignatureAlgorithm: x509.SHA256WithRSA},
		ChallengePassword:  p.Challenge,
	}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("scep: making the request: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, nil, fmt.Errorf("scep: making the request: %w", err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), RawSubject: subject,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, nil, fmt.Errorf("scep: making a passing certificate: %w", err)
	}
	tmp, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("scep: making a passing certificate: %w", err)
	}
	recipients := ca[:1]
	for _, c := range ca { // a registration authority, when there is one, is the one to encrypt for
		if c.KeyUsage&x509.KeyUsageKeyEncipherment != 0 {
			recipients = []*x509.Certificate{c}
			break
		}
	}
	msg, err := scep.NewCSRRequest(csr, &scep.PKIMessage{
		MessageType: scep.PKCSReq, Recipients: recipients, SignerKey: key, SignerCert: tmp,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("scep: making the message: %w", err)
	}
	return msg, tmp, nil
}

func (m *Mac) scepGet(ctx context.Context, p *SCEPPayload, op string) (*answer, error) {
	return m.request(ctx, "scep "+op, http.MethodGet, withQuery(p.URL, "operation", op, "message", p.Name), "", nil, false)
}

func (m *Mac) scepCA(ctx context.Context, p *SCEPPayload) ([]*x509.Certificate, error) {
	a, err := m.scepGet(ctx, p, "GetCACert")
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	if mediaType(a.header) == "application/x-x509-ca-ra-cert" {
		certs, err = scep.CACerts(a.body)
	} else {
		certs, err = x509.ParseCertificates(a.body)
	}
	if err != nil {
		return nil, fmt.Errorf("scep: reading the CA: %w", err)
	}
	if len(certs) == 0 {
		return nil, errors.New("scep: the server names no CA")
	}
	return certs, nil
}

func withQuery(base string, kv ...string) string {
	var b strings.Builder
	b.WriteString(base)
	sep := "?"
	if strings.Contains(base, "?") {
		sep = "&"
	}
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] == "" {
			continue
		}
		b.WriteString(sep + url.QueryEscape(kv[i]) + "=" + url.QueryEscape(kv[i+1]))
		sep = "&"
	}
	return b.String()
}

var rdnTypes = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8},
}

// subject is the profile's subject with the variables that macOS replaces.
func (m *Mac) subject(rdns [][][]string) ([]byte, error) {
	vars := strings.NewReplacer(
		"%HardwareUUID%",
		m.st.Spec.UDID,
		"%SerialNumber%",
		m.st.Spec.Serial,
		"%ComputerName%",
		m.st.Spec.Name,
	)
	var seq pkix.RDNSequence
	for _, rdn := range rdns {
		var set pkix.RelativeDistinguishedNameSET
		for _, av := range rdn {
			if len(av) != 2 {
				return nil, fmt.Errorf("scep: subject %v is not made of pairs", rdns)
			}
			oid, ok := rdnTypes[av[0]]
			if !ok {
				return nil, fmt.Errorf("scep: unknown attribute %q in the subject", av[0])
			}
			set = append(set, pkix.AttributeTypeAndValue{Type: oid, Value: vars.Replace(av[1])})
		}
		seq = append(seq, set)
	}
	if len(seq) == 0 {
		seq = pkix.RDNSequence{{{Type: rdnTypes["CN"], Value: m.st.Spec.UDID}}}
	}
	return asn1.Marshal(seq)
}

// Issuer is a CA that the server trusts already (--device-ca): it makes identities without SCEP, for load tests.
type Issuer struct {
	Cert *x509.Certificate
	Key  any
}

// LoadIssuer reads a PEM file with the CA's certificate and its key (PKCS #8, PKCS #1 or SEC 1).
func LoadIssuer(path string) (*Issuer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	is := &Issuer{}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			if is.Cert == nil {
				is.Cert, err = x509.ParseCertificate(block.Bytes)
			}
		case "PRIVATE KEY":
			is.Key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			is.Key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			is.Key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the CA %s: %w", path, err)
		}
	}
	if is.Cert == nil || is.Key == nil {
		return nil, fmt.Errorf("reading the CA %s: it needs a certificate and a key", path)
	}
	return is, nil
}

// Issue makes an identity, valid for a year.
func (is *Issuer) Issue(commonName string, key *rsa.PrivateKey) (*Identity, error) {
	sn, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("issuing an identity: %w", err)
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: sn, Subject: pkix.Name{CommonName: commonName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, is.Cert, &key.PublicKey, is.Key)
	if err != nil {
		return nil, fmt.Errorf("issuing an identity: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issuing an identity: %w", err)
	}
	return &Identity{cert, key}, nil
}
