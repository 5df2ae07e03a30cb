// Package cms reads signatures as Macs write them, and keeps hostile ones away from the library that reads all others.
package cms

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // Macs sign over SHA-1 or SHA-256
	_ "crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/smallstep/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Signer vouches for a request.
type Signer struct {
	Cert   *x509.Certificate
	At     time.Time // when he signed, by his own clock; zero: he does not say
	Verify func(body []byte) error
}

// Endless stands for no end of validity in a certificate (RFC 5280, 4.1.2.5).
var Endless = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// Read reads a CMS SignedData with one signer. When he signed decides nothing: it is the Mac's clock that says so, which may
// be wrong by seconds or by years, and the certificate is judged by ours.
func Read(b []byte) (*Signer, error) {
	if s := ReadSignature(b); s != nil {
		out := &Signer{Cert: s.Cert, Verify: s.Verify}
		if s.signed != nil && s.signed.at != nil {
			out.At = *s.signed.at
		}
		return out, nil
	}
	cms, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("read the Mdm-Signature: %w", err)
	}
	out := &Signer{Cert: cms.GetOnlySigner()}
	if out.Cert == nil {
		return nil, errors.New("the Mdm-Signature has not exactly one signer with a certificate")
	}
	ageless := *out.Cert // pkcs7 would compare the signing time with these
	ageless.NotBefore, ageless.NotAfter = time.Time{}, Endless
	cms.Certificates = []*x509.Certificate{&ageless}
	if err := cms.UnmarshalSignedAttribute(pkcs7.OIDAttributeSigningTime, &out.At); err != nil {
		out.At = time.Time{} // it is optional
	}
	out.Verify = func(body []byte) error {
		cms.Content = body
		return cms.Verify()
	}
	return out, nil
}

// Signature is a SignedData (RFC 5652, 5.1) as Macs write it: of data that is elsewhere, with one signer and no certificate but
// his.
type Signature struct {
	Cert      *x509.Certificate
	hash      crypto.Hash
	algorithm x509.SignatureAlgorithm
	value     []byte
	signed    *signedAttributes // nil: the data itself is signed
}

// signedAttributes are signed in the place of the data.
type signedAttributes struct {
	set    []byte // what is signed
	digest []byte // of the data
	at     *time.Time
}

// algorithms are the pairs that are known here; both have to name the same hash.
var algorithms = []struct {
	digest, signature asn1.ObjectIdentifier
	hash              crypto.Hash
	algorithm         x509.SignatureAlgorithm
}{
	{pkcs7.OIDDigestAlgorithmSHA1, pkcs7.OIDEncryptionAlgorithmRSASHA1, crypto.SHA1, x509.SHA1WithRSA},
	{pkcs7.OIDDigestAlgorithmSHA1, pkcs7.OIDEncryptionAlgorithmRSA, crypto.SHA1, x509.SHA1WithRSA},
	{pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDEncryptionAlgorithmRSASHA256, crypto.SHA256, x509.SHA256WithRSA},
	{pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDEncryptionAlgorithmRSA, crypto.SHA256, x509.SHA256WithRSA},
	{pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDDigestAlgorithmECDSASHA256, crypto.SHA256, x509.ECDSAWithSHA256},
}

// elsewhere are the two ways to write that the data is elsewhere: with a length, and with the length left open.
var elsewhere = [][]byte{
	[]byte("\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"),
	[]byte("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\x00\x00"),
}

const (
	// Context0 is [0], with elements in it.
	Context0 = tag.Tag(0xa0)
	maxDER   = 32 // depth of a certificate; 10 is usual
)

// ReadSignature reads what is written exactly as Macs write it: in DER, but that the elements around the rest leave their length
// open. Of everything else it returns nil, which says no more than that pkcs7 has to read it. What it reads, pkcs7 reads and
// judges alike, but in five times the time.
func ReadSignature(b []byte) *Signature {
	digests, cert, signer, ok := readSignedData(b)
	if !ok {
		return nil
	}
	info, ok := readSignerInfo(signer)
	if !ok {
		return nil
	}
	announced, ok := readAlgorithm(&digests)
	if !ok || !digests.Empty() || !info.digest.Equal(announced) {
		return nil
	}
	s := &Signature{value: info.value}
	for _, a := range algorithms {
		if a.digest.Equal(info.digest) && a.signature.Equal(info.encryption) {
			s.hash, s.algorithm = a.hash, a.algorithm
		}
	}
	if s.hash == 0 || info.attributed && !s.readAttributes(info.attributes) || !isDER(cert, maxDER) {
		return nil
	}
	var err error
	s.Cert, err = x509.ParseCertificate(cert)
	if err != nil || s.Cert.SerialNumber.Cmp(info.serial) != 0 || !bytes.Equal(s.Cert.RawIssuer, info.issuer) {
		return nil
	}
	return s
}

// readSignedData reads what is around one certificate and one signer (RFC 5652, 5.1).
func readSignedData(b []byte) (digests, cert, signer cryptobyte.String, ok bool) {
	in := cryptobyte.String(b)
	var version int
	var certs, signers cryptobyte.String
	ok = open(&in, tag.SEQUENCE) && skipOID(&in, pkcs7.OIDSignedData) && open(&in, Context0) && open(&in, tag.SEQUENCE) &&
		in.ReadASN1Integer(&version) && version == 1 && in.ReadASN1(&digests, tag.SET) && skipElsewhere(&in) &&
		in.ReadASN1(&certs, Context0) && certs.ReadASN1Element(&cert, tag.SEQUENCE) && certs.Empty() &&
		in.ReadASN1(&signers, tag.SET) && in.Empty() && signers.ReadASN1(&signer, tag.SEQUENCE) && signers.Empty()
	return digests, cert, signer, ok
}

// signerInfo is what a signer says of his signature (RFC 5652, 5.3).
type signerInfo struct {
	issuer             cryptobyte.String
	serial             *big.Int
	digest, encryption asn1.ObjectIdentifier
	attributes, value  cryptobyte.String
	attributed         bool
}

func readSignerInfo(in cryptobyte.String) (s signerInfo, ok bool) {
	var version int
	var ias cryptobyte.String
	s.serial = new(big.Int)
	if !in.ReadASN1Integer(&version) || version != 1 || !in.ReadASN1(&ias, tag.SEQUENCE) ||
		!ias.ReadASN1Element(&s.issuer, tag.SEQUENCE) || !ias.ReadASN1Integer(s.serial) || !ias.Empty() {
		return s, false
	}
	if s.digest, ok = readAlgorithm(&in); !ok || !in.ReadOptionalASN1(&s.attributes, &s.attributed, Context0) {
		return s, false
	}
	s.encryption, ok = readAlgorithm(&in)
	return s, ok && in.ReadASN1(&s.value, tag.OCTET_STRING) && in.Empty()
}

// readAttributes takes only the three usual attributes, each with one value and in the order of DER (RFC 5652, 5.3 and 11).
func (s *Signature) readAttributes(all cryptobyte.String) bool {
	a := &signedAttributes{}
	var set cryptobyte.Builder
	set.AddASN1(tag.SET, func(b *cryptobyte.Builder) { b.AddBytes(all) }) // it is sent as [0] instead
	a.set = set.BytesOrPanic()
	typed := false
	for last := []byte(nil); !all.Empty(); {
		var attribute, values cryptobyte.String
		var kind asn1.ObjectIdentifier
		if !all.ReadASN1Element(&attribute, tag.SEQUENCE) || bytes.Compare(last, attribute) >= 0 {
			return false
		}
		last = attribute
		if !attribute.ReadASN1(&attribute, tag.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&kind) ||
			!attribute.ReadASN1(&values, tag.SET) || !attribute.Empty() {
			return false
		}
		switch {
		case kind.Equal(pkcs7.OIDAttributeContentType) && !typed:
			if typed = skipOID(&values, pkcs7.OIDData); !typed {
				return false
			}
		case kind.Equal(pkcs7.OIDAttributeMessageDigest) && a.digest == nil:
			if !values.ReadASN1Bytes(&a.digest, tag.OCTET_STRING) {
				return false
			}
		case kind.Equal(pkcs7.OIDAttributeSigningTime) && a.at == nil:
			a.at = new(time.Time)
			rest, err := asn1.Unmarshal(values, a.at)
			if err != nil {
				return false
			}
			values = rest
		default:
			return false
		}
		if !values.Empty() {
			return false
		}
	}
	s.signed = a
	return typed && a.digest != nil
}

// Verify tells whether the body is what was signed.
func (s *Signature) Verify(body []byte) error {
	signed := body
	if a := s.signed; a != nil {
		h := s.hash.New()
		_, _ = h.Write(body)
		if subtle.ConstantTimeCompare(a.digest, h.Sum(nil)) != 1 {
			return errors.New("another body was signed")
		}
		signed = a.set
	}
	return s.Cert.CheckSignature(s.algorithm, signed, s.value)
}

// open goes into the element that is all of s. When its length is left open, it ends with two zero bytes.
func open(s *cryptobyte.String, t tag.Tag) bool {
	if b := *s; len(b) >= 4 && b[0] == byte(t) && b[1] == 0x80 {
		*s = b[2 : len(b)-2]
		return b[len(b)-2] == 0 && b[len(b)-1] == 0
	}
	whole := *s
	return whole.ReadASN1(s, t) && whole.Empty()
}

func skipElsewhere(s *cryptobyte.String) bool {
	for _, way := range elsewhere {
		if bytes.HasPrefix(*s, way) {
			return s.Skip(len(way))
		}
	}
	return false
}

func skipOID(s *cryptobyte.String, want asn1.ObjectIdentifier) bool {
	var got asn1.ObjectIdentifier
	return s.ReadASN1ObjectIdentifier(&got) && got.Equal(want)
}

// readAlgorithm reads an AlgorithmIdentifier without parameters.
func readAlgorithm(s *cryptobyte.String) (asn1.ObjectIdentifier, bool) {
	var algorithm cryptobyte.String
	var id asn1.ObjectIdentifier
	ok := s.ReadASN1(&algorithm, tag.SEQUENCE) && algorithm.ReadASN1ObjectIdentifier(&id)
	return id, ok && (algorithm.Empty() || string(algorithm) == "\x05\x00")
}

// isDER tells whether all lengths are given, and in the shortest way: pkcs7 writes others anew, which makes another certificate.
func isDER(s cryptobyte.String, depth int) bool {
	for !s.Empty() {
		var content cryptobyte.String
		var t tag.Tag
		if !s.ReadAnyASN1(&content, &t) || t&0x20 != 0 && (depth == 0 || !isDER(content, depth-1)) {
			return false
		}
	}
	return true
}
