package mdm

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
)

// placeholderTopic stands in the profile while there is no push certificate. A Mac that enrolled with it cannot be pushed
// to: it has to enrol again once there is one.
const placeholderTopic = "com.apple.mgmt.External.00000000-0000-0000-0000-000000000000"

const allRights = 8191 // AccessRights

// payloadHead is what every payload has. Identifiers stay, so that a profile replaces the one before; UUIDs are fresh.
type payloadHead struct {
	PayloadType        string
	PayloadVersion     int
	PayloadIdentifier  string
	PayloadUUID        string
	PayloadDisplayName string
}

func head(typ, identifier, name string) payloadHead {
	return payloadHead{typ, 1, identifier, strings.ToUpper(uuid.NewString()), name}
}

type profile struct {
	payloadHead
	PayloadDescription  string
	PayloadOrganization string
	PayloadScope        string
	PayloadContent      []any
}

type scepPayload struct {
	payloadHead
	PayloadContent scepContent
}

type scepContent struct {
	URL                string
	Name               string
	Challenge          string
	Subject            [][][]string
	Keysize            int
	KeyType            string `plist:"Key Type"`
	KeyUsage           int    `plist:"Key Usage"` // 1 signing, 4 encryption
	KeyIsExtractable   bool
	AllowAllAppsAccess bool
	Retries            int
	RetryDelay         int // seconds
}

type mdmPayload struct {
	payloadHead
	IdentityCertificateUUID string
	Topic                   string
	ServerURL               string
	CheckInURL              string
	SignMessage             bool
	AccessRights            int
	CheckOutWhenRemoved     bool
	ServerCapabilities      []string
}

// profile is an enrolment profile, signed when there is an identity to sign with.
func (d *Server) profile(topic, challenge string) ([]byte, error) {
	scep := scepPayload{head("com.apple.security.scep", "plimsoll.enrollment.scep", "Device identity"), scepContent{
		URL: d.url + "/scep", Name: "Plimsoll", Challenge: challenge,
		Subject: [][][]string{{{"O", "Plimsoll"}}, {{"CN", "%HardwareUUID%"}}},
		Keysize: 2048, KeyType: "RSA", KeyUsage: 5, Retries: 3, RetryDelay: 10,
	}}
	b, err := plist.MarshalIndent(profile{
		payloadHead:         head("Configuration", "plimsoll.enrollment", "Plimsoll"),
		PayloadDescription:  "Enrols this Mac, so that its updates are managed.",
		PayloadOrganization: "Plimsoll",
		PayloadScope:        "System",
		PayloadContent: []any{scep, mdmPayload{
			payloadHead:             head("com.apple.mdm", "plimsoll.enrollment.mdm", "Device management"),
			IdentityCertificateUUID: scep.PayloadUUID,
			Topic:                   topic,
			ServerURL:               d.url + "/mdm",
			CheckInURL:              d.url + "/mdm",
			SignMessage:             true,
			AccessRights:            allRights,
			CheckOutWhenRemoved:     true,
			ServerCapabilities:      []string{"com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken"},
		}},
	}, "\t")
	if err != nil {
		return nil, fmt.Errorf("encode the enrolment profile: %w", err)
	}
	if d.o.ProfileIdentity == nil {
		return b, nil
	}
	return d.sign(b)
}

// sign wraps a profile in CMS, with the certificates that lead to the signer's root.
func (d *Server) sign(b []byte) ([]byte, error) {
	id := d.o.ProfileIdentity
	if len(id.Certificate) == 0 {
		return nil, errors.New("sign the enrolment profile: there is no certificate")
	}
	sd, err := pkcs7.NewSignedData(b)
	if err != nil {
		return nil, fmt.Errorf("sign the enrolment profile: %w", err)
	}
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	for i, der := range id.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("sign the enrolment profile: read a certificate: %w", err)
		}
		if i > 0 {
			sd.AddCertificate(cert)
			continue
		}
		if err := sd.AddSigner(cert, id.PrivateKey, pkcs7.SignerInfoConfig{}); err != nil {
			return nil, fmt.Errorf("sign the enrolment profile: %w", err)
		}
	}
	signed, err := sd.Finish()
	if err != nil {
		return nil, fmt.Errorf("sign the enrolment profile: %w", err)
	}
	return signed, nil
}
