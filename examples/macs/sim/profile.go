package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
)

// Profile is what a Mac takes from an enrolment profile.
type Profile struct {
	ServerURL          string   `json:"server_url"`
	CheckInURL         string   `json:"check_in_url"` // the server URL when the profile names none
	Topic              string   `json:"topic"`
	SignMessage        bool     `json:"sign_message"`
	ServerCapabilities []string `json:"server_capabilities"`

	SCEP SCEPPayload `json:"scep"`
	// Signed tells whether the profile was CMS-signed.
	Signed bool `json:"signed"`
}

// SCEPPayload is how to get an identity.
type SCEPPayload struct {
	URL       string       `json:"url"`
	Name      string       `json:"name"`
	Challenge string       `json:"challenge"`
	Subject   [][][]string `json:"subject"`
	KeySize   int          `json:"key_size"`
	KeyType   string       `json:"key_type"`
}

const bootstrapCapability = "com.apple.mdm.bootstraptoken"

type profilePlist struct {
	PayloadType       string
	PayloadVersion    int
	PayloadIdentifier string
	PayloadUUID       string
	PayloadContent    []payloadPlist
}

type payloadPlist struct {
	PayloadType       string
	PayloadVersion    int
	PayloadIdentifier string
	PayloadUUID       string

	// SCEP
	PayloadContent struct {
		URL       string
		Name      string
		Challenge string
		Subject   [][][]string
		Keysize   int
		KeyType   string `plist:"Key Type"`
	}

	// MDM
	IdentityCertificateUUID string
	Topic                   string
	ServerURL               string
	CheckInURL              string
	SignMessage             bool
	AccessRights            int
	ServerCapabilities      []string
}

// ParseProfile reads an enrolment profile as macOS does: it refuses what macOS refuses.
func ParseProfile(b []byte) (*Profile, error) {
	p := &Profile{}
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("<")) && !bytes.HasPrefix(b, []byte("bplist")) {
		cms, err := pkcs7.Parse(b)
		if err != nil {
			return nil, fmt.Errorf("the profile is neither a property list nor CMS: %w", err)
		}
		if err := cms.Verify(); err != nil {
			return nil, fmt.Errorf("the profile's signature: %w", err)
		}
		b, p.Signed = cms.Content, true
	}
	var doc profilePlist
	if err := plist.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("reading the profile: %w", err)
	}
	if doc.PayloadType != "Configuration" || doc.PayloadVersion != 1 || doc.PayloadIdentifier == "" || doc.PayloadUUID == "" {
		return nil, errors.New("the profile is not a Configuration of version 1 with identifier and UUID")
	}
	var scep, mdm *payloadPlist
	for i := range doc.PayloadContent {
		pl := &doc.PayloadContent[i]
		if pl.PayloadVersion != 1 || pl.PayloadIdentifier == "" || pl.PayloadUUID == "" {
			return nil, fmt.Errorf("payload %s lacks version, identifier or UUID", pl.PayloadType)
		}
		switch pl.PayloadType {
		case "com.apple.security.scep":
			scep = pl
		case "com.apple.mdm":
			mdm = pl
		}
	}
	switch {
	case mdm == nil:
		return nil, errors.New("the profile has no com.apple.mdm payload")
	case scep == nil:
		return nil, errors.New("the profile has no com.apple.security.scep payload")
	case mdm.IdentityCertificateUUID != scep.PayloadUUID:
		return nil, fmt.Errorf(
			"IdentityCertificateUUID %s is not the SCEP payload's UUID %s",
			mdm.IdentityCertificateUUID,
			scep.PayloadUUID,
		)
	case !strings.HasPrefix(mdm.Topic, "com.apple.mgmt."):
		return nil, fmt.Errorf("the topic %q is none of com.apple.mgmt", mdm.Topic)
	case mdm.AccessRights <= 0 || mdm.AccessRights > 8191:
		return nil, fmt.Errorf("AccessRights %d are not between 1 and 8191", mdm.AccessRights)
	case scep.PayloadContent.URL == "" || mdm.ServerURL == "":
		return nil, errors.New("the profile lacks the SCEP URL or the ServerURL")
	}
	for _, raw := range []string{scep.PayloadContent.URL, mdm.ServerURL, mdm.CheckInURL} {
		if err := allowedURL(raw); err != nil {
			return nil, err
		}
	}
	c := scep.PayloadContent
	p.SCEP = SCEPPayload{
		URL:       c.URL,
		Name:      c.Name,
		Challenge: c.Challenge,
		Subject:   c.Subject,
		KeySize:   c.Keysize,
		KeyType:   c.KeyType,
	}
	p.ServerURL, p.CheckInURL = mdm.ServerURL, mdm.CheckInURL
	if p.CheckInURL == "" {
		p.CheckInURL = p.ServerURL
	}
	p.Topic, p.SignMessage, p.ServerCapabilities = mdm.Topic, mdm.SignMessage, mdm.ServerCapabilities
	return p, nil
}

// allowedURL takes https, and http too: a real Mac refuses that, but a first try on one machine has no certificate.
func allowedURL(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("the profile's URL %q is not an https URL", raw)
	}
	return nil
}

// fetchProfile downloads and reads the enrolment profile.
func (m *Mac) fetchProfile(ctx context.Context) (*Profile, error) {
	u := strings.TrimSuffix(m.opt.URL, "/") + "/enroll"
	if m.opt.Code != "" {
		u += "?code=" + url.QueryEscape(m.opt.Code)
	}
	resp, err := m.request(ctx, "enrolment profile", http.MethodGet, u, "", nil, false)
	if err != nil {
		return nil, err
	}
	if ct := mediaType(resp.header); ct != "application/x-apple-aspen-config" {
		m.violate("content-type", "the profile came as %q: macOS opens application/x-apple-aspen-config only", ct)
	}
	p, err := ParseProfile(resp.body)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(p.ServerCapabilities, bootstrapCapability) {
		m.violate("profile", "ServerCapabilities lack %s, so no bootstrap token can be escrowed", bootstrapCapability)
	}
	if !p.SignMessage && m.opt.CertHeader == "" {
		m.violate("profile", "SignMessage is false, and nothing else proves who a Mac is")
	}
	return p, nil
}
