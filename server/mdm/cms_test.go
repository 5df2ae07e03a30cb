package mdm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
	"pgregory.net/rapid"

	"plimsoll/server/fleet/authority"
	"plimsoll/server/mdm/cms"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

// cmsKeys are the keys of a Mac, of another one, and of two CAs.
func cmsKeys(t testing.TB) (keys []crypto.Signer) {
	t.Helper()
	b, err := os.ReadFile("testdata/keys.pem")
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(crypto.Signer))
	}
	return keys
}

// cmsWorld is a sender with those whose signatures it may get.
type cmsWorld struct {
	sender                      *sender
	caKey, key, otherKey, ecKey crypto.Signer
	mac, other, ec, untrusted   *x509.Certificate
	twin                        *x509.Certificate // of the other key, with the issuer and serial number of the Mac's
	before, during, afterwards  time.Time         // the Mac's certificate is valid
}

func newCMSWorld(t testing.TB) *cmsWorld {
	t.Helper()
	keys := cmsKeys(t)
	w := &cmsWorld{key: keys[0], otherKey: keys[1], caKey: keys[2]}
	var err error
	if w.ecKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.during = time.Now().UTC().Truncate(time.Second)
	w.before, w.afterwards = w.during.Add(-48*time.Hour), w.during.Add(48*time.Hour)
	issue := func(name string, serial int64, ca *x509.Certificate, caKey, key crypto.Signer) *x509.Certificate {
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: w.during.Add(-24 * time.Hour), NotAfter: w.during.Add(24 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		if ca == nil {
			tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage, tmpl.ExtKeyUsage, ca = true, true, x509.KeyUsageCertSign, nil, tmpl
		}
		raw, err := x509.CreateCertificate(rand.Reader, tmpl, ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	ca := issue("CA", 1, nil, keys[2], keys[2])
	w.mac = issue("Mac", 300, ca, keys[2], w.key)
	w.other = issue("other Mac", 301, ca, keys[2], w.otherKey)
	w.twin = issue("Mac", 300, ca, keys[2], w.otherKey)
	w.ec = issue("Mac", 302, ca, keys[2], w.ecKey)
	w.untrusted = issue("Mac", 300, issue("CA", 1, nil, keys[3], keys[3]), keys[3], w.key)
	db, err := bolt.Open(filepath.Join(t.TempDir(), "cas.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := func() time.Time { return w.during }
	cas := authority.New(authority.Options{Store: storage.New(db), Supplied: &authority.CA{Cert: ca, Key: keys[2].(*rsa.PrivateKey)}, Alone: true, Now: now})
	if err := cas.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.sender = newSender("", cas, now)
	return w
}

// longForm is the Mac's certificate with parameters whose length is not written in the shortest way, signed by the CA.
func (w *cmsWorld) longForm(t testing.TB) []byte {
	t.Helper()
	sha256WithRSA := []byte("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00")
	long := element(tag.SEQUENCE, sha256WithRSA[2:13], []byte{0x30, 4, 4, 0x81, 1, 0})
	tbs := cryptobyte.String(bytes.Replace(w.mac.RawTBSCertificate, sha256WithRSA, long, 1))
	tbs.Skip(4) // its length is another now
	signed := element(tag.SEQUENCE, tbs)
	value, err := w.caKey.Sign(rand.Reader, sumOf(crypto.SHA256, signed), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	raw := element(tag.SEQUENCE, signed, long, element(tag.BIT_STRING, []byte{0}, value))
	cert, err := x509.ParseCertificate(raw)
	if err == nil {
		err = w.sender.chain(t.Context(), cert)
	}
	if err != nil {
		t.Fatalf("the test has lost its point: %v", err)
	}
	return raw
}

// cmsParts are what a signature is written of.
type cmsParts struct {
	open                          bool // outer lengths are left open
	version, signerVersion        int64
	announced, digest, encryption asn1.ObjectIdentifier
	parameters                    []byte // of the algorithms
	content                       []byte // attached
	certs, crls                   []byte
	issuer                        []byte
	serial                        int64
	moreDigests, moreIssuer       []byte
	key                           crypto.Signer
	hash                          crypto.Hash // that is signed
	attributes                    [][]byte
	unsigned                      []byte
	signers                       int
	spoil                         func(signature []byte) []byte
	after                         []byte
}

// of are the parts as a Mac writes them that has this certificate.
func (w *cmsWorld) of(cert *x509.Certificate, key crypto.Signer) *cmsParts {
	return &cmsParts{
		open: true, version: 1, signerVersion: 1, parameters: []byte{5, 0}, signers: 1,
		announced: pkcs7.OIDDigestAlgorithmSHA1, digest: pkcs7.OIDDigestAlgorithmSHA1, encryption: pkcs7.OIDEncryptionAlgorithmRSASHA1, hash: crypto.SHA1,
		certs: cert.Raw, issuer: cert.RawIssuer, serial: cert.SerialNumber.Int64(), key: key,
	}
}

func (p *cmsParts) sha256() {
	p.announced, p.digest, p.hash = pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDDigestAlgorithmSHA256, crypto.SHA256
	p.encryption = pkcs7.OIDEncryptionAlgorithmRSASHA256
}

// attributed gives the parts the usual attributes for a body.
func (p *cmsParts) attributed(t rapid.TB, body []byte, at time.Time) {
	p.attributes = [][]byte{
		attributeOf(t, pkcs7.OIDAttributeContentType, pkcs7.OIDData),
		attributeOf(t, pkcs7.OIDAttributeSigningTime, at),
		attributeOf(t, pkcs7.OIDAttributeMessageDigest, sumOf(p.hash, body)),
	}
}

func attributeOf(t rapid.TB, kind asn1.ObjectIdentifier, values ...any) []byte {
	t.Helper()
	var all []byte
	for _, v := range values {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	b, err := asn1.Marshal(struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{kind, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: all}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sumOf(hash crypto.Hash, b []byte) []byte {
	h := hash.New()
	h.Write(b)
	return h.Sum(nil)
}

// sign writes the signature of a body.
func (p *cmsParts) sign(t rapid.TB, body []byte) []byte {
	t.Helper()
	signed := body
	if p.attributes != nil {
		sorted := slices.SortedFunc(slices.Values(p.attributes), bytes.Compare)
		signed = element(tag.SET, sorted...)
	}
	value, err := p.key.Sign(rand.Reader, sumOf(p.hash, signed), p.hash)
	if err != nil {
		t.Fatal(err)
	}
	if p.spoil != nil {
		value = p.spoil(value)
	}
	oid := func(id asn1.ObjectIdentifier) []byte {
		b, err := asn1.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	algorithm := func(id asn1.ObjectIdentifier) []byte { return element(tag.SEQUENCE, oid(id), p.parameters) }
	integer := func(i int64) []byte {
		var b cryptobyte.Builder
		b.AddASN1Int64(i)
		return b.BytesOrPanic()
	}
	optional := func(t tag.Tag, there bool, content ...[]byte) []byte {
		if !there {
			return nil
		}
		return element(t, content...)
	}
	signer := element(tag.SEQUENCE, integer(p.signerVersion), element(tag.SEQUENCE, p.issuer, integer(p.serial), p.moreIssuer), algorithm(p.digest),
		optional(cms.Context0, p.attributes != nil, p.attributes...), algorithm(p.encryption), element(tag.OCTET_STRING, value),
		optional(cms.Context0+1, p.unsigned != nil, p.unsigned))
	outer := element
	if p.open {
		outer = func(t tag.Tag, content ...[]byte) []byte {
			return slices.Concat([]byte{byte(t), 0x80}, slices.Concat(content...), []byte{0, 0})
		}
	}
	return append(outer(tag.SEQUENCE, oid(pkcs7.OIDSignedData), outer(cms.Context0, outer(tag.SEQUENCE,
		integer(p.version), element(tag.SET, algorithm(p.announced), p.moreDigests),
		outer(tag.SEQUENCE, oid(pkcs7.OIDData), optional(cms.Context0, p.content != nil, element(tag.OCTET_STRING, p.content))),
		optional(cms.Context0, p.certs != nil, p.certs), optional(cms.Context0+1, p.crls != nil, p.crls),
		element(tag.SET, slices.Repeat(signer, p.signers)),
	))), p.after...)
}

func element(t tag.Tag, content ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(t, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(content...)) })
	return b.BytesOrPanic()
}

// checkCMS fails if a signature is read here that pkcs7 does not read, or takes for another's, or finds good or bad when it is not here.
func checkCMS(t rapid.TB, sent, body []byte) (read bool) {
	t.Helper()
	s := cms.ReadSignature(sent)
	if s == nil {
		return false
	}
	p7, err := pkcs7.Parse(sent)
	if err != nil {
		t.Fatalf("read what pkcs7 does not: %v\n%x", err, sent)
	}
	if signer := p7.GetOnlySigner(); signer == nil || !bytes.Equal(signer.Raw, s.Cert.Raw) {
		t.Fatalf("pkcs7 has another signer\n%x", sent)
	}
	p7.Content = body
	ageless := *p7.GetOnlySigner() // the signing time is not to count
	ageless.NotBefore, ageless.NotAfter = time.Time{}, cms.Endless
	p7.Certificates = []*x509.Certificate{&ageless}
	if got, want := s.Verify(body), p7.Verify(); (got == nil) != (want == nil) {
		t.Fatalf("verified: %v, pkcs7: %v\n%x", got, want, sent)
	}
	return true
}

func TestCMS(t *testing.T) {
	w, body := newCMSWorld(t), []byte("this is signed")
	type parts = cmsParts
	edit := func(change func(p *parts)) *parts {
		p := w.of(w.mac, w.key)
		p.sha256()
		p.attributed(t, body, w.during)
		change(p)
		return p
	}
	replace := func(i int, attribute ...[]byte) *parts {
		return edit(func(p *parts) {
			p.attributes = slices.SortedFunc(slices.Values(slices.Replace(p.attributes, i, i+1, attribute...)), bytes.Compare)
		})
	}
	digest := sumOf(crypto.SHA256, body)
	ec := w.of(w.ec, w.ecKey)
	ec.sha256()
	ec.encryption = pkcs7.OIDDigestAlgorithmECDSASHA256
	for name, tt := range map[string]struct {
		parts      *parts
		read, good bool // read here, not by pkcs7; and taken in the end
	}{
		"a Mac's":                   {w.of(w.mac, w.key), true, true},
		"with attributes":           {edit(func(*parts) {}), true, true},
		"with lengths":              {edit(func(p *parts) { p.open = false }), true, true},
		"without attributes":        {edit(func(p *parts) { p.attributes = nil }), true, true},
		"no parameters":             {edit(func(p *parts) { p.parameters = nil }), true, true},
		"rsaEncryption":             {edit(func(p *parts) { p.encryption = pkcs7.OIDEncryptionAlgorithmRSA }), true, true},
		"no time":                   {replace(1), true, true},
		"GeneralizedTime":           {replace(1, attributeOf(t, pkcs7.OIDAttributeSigningTime, asn1.RawValue{Tag: asn1.TagGeneralizedTime, Bytes: []byte(w.during.Format("20060102150405Z"))})), true, true},
		"ECDSA":                     {ec, true, true},
		"another's":                 {w.of(w.other, w.otherKey), true, true},
		"of a stranger":             {w.of(w.untrusted, w.key), true, false},
		"by another key":            {w.of(w.mac, w.otherKey), true, false},
		"another's certificate":     {edit(func(p *parts) { p.certs = w.other.Raw }), false, false},
		"a twin's certificate":      {edit(func(p *parts) { p.certs = w.twin.Raw }), true, false},
		"another serial number":     {edit(func(p *parts) { p.serial++ }), false, false},
		"another issuer":            {edit(func(p *parts) { p.issuer = w.mac.RawSubject }), false, false},
		"no certificate":            {edit(func(p *parts) { p.certs = nil }), false, false},
		"two certificates":          {edit(func(p *parts) { p.certs = slices.Concat(w.other.Raw, w.mac.Raw) }), false, true},
		"a second certificate":      {edit(func(p *parts) { p.certs = slices.Concat(w.mac.Raw, w.other.Raw) }), false, true},
		"two digests announced":     {edit(func(p *parts) { p.moreDigests = element(tag.SEQUENCE, []byte("\x06\x05\x2b\x0e\x03\x02\x1a")) }), false, true},
		"more than a number":        {edit(func(p *parts) { p.moreIssuer = []byte{5, 0} }), false, true},
		"two content types":         {replace(0, attributeOf(t, pkcs7.OIDAttributeContentType, asn1.ObjectIdentifier{1, 2, 3}), attributeOf(t, pkcs7.OIDAttributeContentType, pkcs7.OIDData)), false, true},
		"more after its length":     {edit(func(p *parts) { p.open, p.after = false, []byte{0, 0} }), false, true},
		"a CRL":                     {edit(func(p *parts) { p.crls = []byte{} }), false, true},
		"no signer":                 {edit(func(p *parts) { p.signers = 0 }), false, false},
		"two signers":               {edit(func(p *parts) { p.signers = 2 }), false, false},
		"another digest":            {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest, sumOf(crypto.SHA256, []byte("x")))), true, false},
		"the digest of SHA-1":       {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest, sumOf(crypto.SHA1, body))), true, false},
		"half a digest":             {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest, digest[:16])), true, false},
		"an empty digest":           {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest, []byte{})), true, false},
		"no digest":                 {replace(2), false, false},
		"no attribute at all":       {edit(func(p *parts) { p.attributes = [][]byte{} }), false, false},
		"a digest that is none":     {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest, 5)), false, false},
		"no value":                  {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest)), false, false},
		"two values":                {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest, digest, digest)), false, true},
		"two digests":               {replace(2, attributeOf(t, pkcs7.OIDAttributeMessageDigest, digest), attributeOf(t, pkcs7.OIDAttributeMessageDigest, bytes.Repeat([]byte{255}, 32))), false, true},
		"two times":                 {replace(1, attributeOf(t, pkcs7.OIDAttributeSigningTime, w.during), attributeOf(t, pkcs7.OIDAttributeSigningTime, w.during.Add(time.Second))), false, true},
		"a time that is none":       {replace(1, attributeOf(t, pkcs7.OIDAttributeSigningTime, 5)), false, true},
		"signed too early":          {replace(1, attributeOf(t, pkcs7.OIDAttributeSigningTime, w.before)), true, true},
		"signed too late":           {replace(1, attributeOf(t, pkcs7.OIDAttributeSigningTime, w.afterwards)), true, true},
		"no content type":           {replace(0), false, true},
		"another content type":      {replace(0, attributeOf(t, pkcs7.OIDAttributeContentType, pkcs7.OIDSignedData)), false, true},
		"more than an attribute":    {replace(0, element(tag.SEQUENCE, attributeOf(t, pkcs7.OIDAttributeContentType, pkcs7.OIDData)[2:], []byte{5, 0})), false, false},
		"another attribute":         {replace(1, attributeOf(t, asn1.ObjectIdentifier{1, 2, 3}, 5)), false, true},
		"attributes not in order":   {edit(func(p *parts) { slices.Reverse(p.attributes) }), false, true},
		"an unsigned attribute":     {edit(func(p *parts) { p.unsigned = attributeOf(t, asn1.ObjectIdentifier{1, 2, 3}, 5) }), false, true},
		"attached":                  {edit(func(p *parts) { p.content = body }), false, true},
		"something else attached":   {edit(func(p *parts) { p.content = []byte("this is not") }), false, true},
		"version 3":                 {edit(func(p *parts) { p.version = 3 }), false, true},
		"a signer of version 3":     {edit(func(p *parts) { p.signerVersion = 3 }), false, true},
		"another digest announced":  {edit(func(p *parts) { p.announced = pkcs7.OIDDigestAlgorithmSHA1 }), false, true},
		"SHA-384":                   {edit(func(p *parts) { p.digest = pkcs7.OIDDigestAlgorithmSHA384 }), false, false},
		"hashes that differ":        {edit(func(p *parts) { p.encryption = pkcs7.OIDEncryptionAlgorithmRSASHA1 }), false, true},
		"signed over another hash":  {edit(func(p *parts) { p.hash = crypto.SHA1 }), true, false},
		"ECDSA by an RSA key":       {edit(func(p *parts) { p.encryption = pkcs7.OIDDigestAlgorithmECDSASHA256 }), true, false},
		"an unknown algorithm":      {edit(func(p *parts) { p.encryption = pkcs7.OIDData }), false, false},
		"other parameters":          {edit(func(p *parts) { p.parameters = []byte{2, 1, 0} }), false, true},
		"a bit of it":               {edit(func(p *parts) { p.spoil = func(b []byte) []byte { b[9] ^= 1; return b } }), true, false},
		"no signature":              {edit(func(p *parts) { p.spoil = func(b []byte) []byte { return nil } }), true, false},
		"more after it":             {edit(func(p *parts) { p.after = []byte{0, 0} }), false, true},
		"a certificate not in DER":  {edit(func(p *parts) { p.certs = slices.Concat([]byte{0x30, 0x80}, w.mac.Raw[4:], []byte{0, 0}) }), false, true},
		"parameters not in DER":     {edit(func(p *parts) { p.certs = w.longForm(t) }), false, false},
		"a certificate cut short":   {edit(func(p *parts) { p.certs = element(tag.SEQUENCE, w.mac.Raw[4:40]) }), false, false},
		"another thing than a cert": {edit(func(p *parts) { p.certs = []byte{2, 1, 0} }), false, false},
	} {
		sent := tt.parts.sign(t, body)
		if read := checkCMS(t, sent, body); read != tt.read {
			t.Errorf("%s: read %t, want %t", name, read, tt.read)
		}
		certificate := func(body []byte) (*x509.Certificate, error) {
			by, err := w.sender.certificate(t.Context(), http.Header{"Mdm-Signature": {base64.StdEncoding.EncodeToString(sent)}})
			if err != nil {
				return nil, err
			}
			return by.Cert, by.Verify(body)
		}
		cert, err := certificate(body)
		if (err == nil) != tt.good {
			t.Errorf("%s: error %v, want good %t", name, err, tt.good)
		}
		if err == nil && cert.SerialNumber.Int64() != tt.parts.serial {
			t.Errorf("%s: signed by number %d", name, cert.SerialNumber)
		}
		for _, body := range [][]byte{nil, []byte("this is Signed"), []byte("this is signed\n")} {
			checkCMS(t, sent, body)
			if _, err := certificate(body); err == nil {
				t.Errorf("%s: good for %q, too", name, body)
			}
		}
	}
}

// One bit is another in a good signature: wherever that is, pkcs7 says the same, and only what is not signed may change.
func TestCMSBits(t *testing.T) {
	w, body := newCMSWorld(t), []byte("this is signed")
	p := w.of(w.mac, w.key)
	p.attributed(t, body, w.during)
	sent := p.sign(t, body)
	read, good := 0, 0
	for i := range sent {
		spoilt := slices.Clone(sent)
		spoilt[i] ^= 1 << (i % 8)
		if !checkCMS(t, spoilt, body) {
			continue
		}
		read++
		if s := cms.ReadSignature(spoilt); s.Verify(body) == nil && bytes.Equal(s.Cert.Raw, w.mac.Raw) {
			good++
		}
	}
	if read < 300 || good > 0 {
		t.Errorf("of %d, %d are read and %d are good, want 300 or more and none", len(sent), read, good)
	}
}

// Parts that are well signed, in combinations nobody thought of.
func TestCMSOfParts(t *testing.T) {
	w, body := newCMSWorld(t), []byte("this is signed")
	oids := []asn1.ObjectIdentifier{
		pkcs7.OIDDigestAlgorithmSHA1, pkcs7.OIDDigestAlgorithmSHA256, pkcs7.OIDEncryptionAlgorithmRSA, pkcs7.OIDEncryptionAlgorithmRSASHA1,
		pkcs7.OIDEncryptionAlgorithmRSASHA256, pkcs7.OIDDigestAlgorithmECDSASHA1, pkcs7.OIDDigestAlgorithmECDSASHA256,
	}
	kinds := []asn1.ObjectIdentifier{pkcs7.OIDAttributeContentType, pkcs7.OIDAttributeMessageDigest, pkcs7.OIDAttributeSigningTime, {1, 2, 3}}
	values := []any{pkcs7.OIDData, pkcs7.OIDSignedData, w.before, w.during, w.afterwards, []byte("x"), sumOf(crypto.SHA1, body), sumOf(crypto.SHA256, body)}
	certs := [][]byte{w.mac.Raw, w.other.Raw, w.twin.Raw, w.ec.Raw, slices.Concat(w.mac.Raw, w.other.Raw)}
	read, good := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		seldom := func(what string) bool { return rapid.IntRange(0, 15).Draw(t, what) == 0 }
		p := w.of(w.mac, w.key)
		p.open = rapid.Bool().Draw(t, "open")
		if rapid.Bool().Draw(t, "SHA-256") {
			p.sha256()
		}
		if rapid.Bool().Draw(t, "attributed") {
			p.attributed(t, body, w.during)
			for range rapid.IntRange(0, 2).Draw(t, "attributes") {
				a := attributeOf(t, rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.SliceOfN(rapid.SampledFrom(values), 0, 2).Draw(t, "values")...)
				i := rapid.IntRange(0, len(p.attributes)).Draw(t, "place")
				p.attributes = slices.Replace(p.attributes, i, min(len(p.attributes), i+rapid.IntRange(0, 1).Draw(t, "replaced")), a)
			}
		}
		for _, id := range []*asn1.ObjectIdentifier{&p.announced, &p.digest, &p.encryption} {
			if seldom("algorithm") {
				*id = rapid.SampledFrom(oids).Draw(t, "which")
			}
		}
		if seldom("certs") {
			p.certs = rapid.SampledFrom(certs).Draw(t, "which")
		}
		if seldom("key") {
			p.key = rapid.SampledFrom([]crypto.Signer{w.otherKey, w.ecKey}).Draw(t, "which")
		}
		if seldom("parameters") {
			p.parameters = nil
		}
		sent := p.sign(t, body)
		if checkCMS(t, sent, body) {
			read++
			if cms.ReadSignature(sent).Verify(body) == nil {
				good++
			}
		}
	})
	if read == 0 || good == 0 || good == read {
		t.Errorf("%d were read, %d of them good: that tests nothing", read, good)
	}
}

// TestSigningTime: the Mac's clock does not decide whether its signature counts, however that is written and whoever reads it.
func TestSigningTime(t *testing.T) {
	w, body := newCMSWorld(t), []byte("this is signed")
	for name, at := range map[string]time.Time{
		"ten seconds early": w.mac.NotBefore.Add(-10 * time.Second), "years early": time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC),
		"in time": w.during, "years late": w.mac.NotAfter.AddDate(9, 0, 0),
	} {
		for _, open := range []bool{false, true} {
			for _, after := range [][]byte{nil, {0}} { // pkcs7 reads the second
				p := w.of(w.mac, w.key)
				p.sha256()
				p.attributed(t, body, at)
				p.open, p.after = open, after
				by, err := cms.Read(p.sign(t, body))
				if err == nil {
					err = by.Verify(body)
				}
				if err != nil {
					t.Errorf("%s, open %t, read by pkcs7 %t: %v", name, open, after != nil, err)
				} else if !by.At.Equal(at.Truncate(time.Second)) {
					t.Errorf("%s: signed at %s, want %s", name, by.At, at)
				}
				if by != nil && by.Verify([]byte("this is Signed")) == nil {
					t.Errorf("%s, open %t, read by pkcs7 %t: another body is taken", name, open, after != nil)
				}
			}
		}
	}
}

// FuzzCMS reads whatever comes: what is read, pkcs7 reads too, and judges it alike.
func FuzzCMS(f *testing.F) {
	w, body := newCMSWorld(f), []byte("this is signed")
	for _, open := range []bool{false, true} {
		for _, attributed := range []bool{false, true} {
			p := w.of(w.mac, w.key)
			if p.open = open; attributed {
				p.sha256()
				p.attributed(f, body, w.during)
			}
			f.Add(p.sign(f, body), body)
		}
	}
	f.Fuzz(func(t *testing.T, sent, body []byte) { checkCMS(t, sent, body) })
}

func BenchmarkCertificate(b *testing.B) {
	w, body := newCMSWorld(b), flatMessage("status", dataField(make([]byte, 4300)))
	mac, attributed := w.of(w.mac, w.key), w.of(w.mac, w.key)
	attributed.sha256()
	attributed.attributed(b, body, w.during)
	for name, p := range map[string]*cmsParts{"a Mac's": mac, "with attributes": attributed} {
		header := http.Header{"Mdm-Signature": {base64.StdEncoding.EncodeToString(p.sign(b, body))}}
		p.after = []byte{0} // for pkcs7
		slow := http.Header{"Mdm-Signature": {base64.StdEncoding.EncodeToString(p.sign(b, body))}}
		for way, h := range map[string]http.Header{"here": header, "pkcs7": slow} {
			b.Run(name+"/"+way, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s, err := w.sender.certificate(b.Context(), h)
					if err == nil {
						err = s.Verify(body)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
