package mdm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"plimsoll/server/fleet"
)

var (
	errNoCode  = errors.New("an enrolment code is needed: /enroll?code=... (an admin makes one with POST /v1/enrollment-codes)")
	errBadCode = errors.New("the enrolment code is not known, has expired or is used up")
)

// Enroll is the handler of the enrolment profile.
func (d *Server) Enroll() http.Handler { return d.guarded(d.serveEnroll) }

func (d *Server) serveEnroll(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	profile, err := d.enroll(w, r)
	if first := (*updateFirst)(nil); errors.As(err, &first) {
		d.count.UpdatesAsked.Add(1)
		first.answer(w)
		return
	}
	if err != nil {
		d.count.ProfilesRefused.Add(1)
		status, text := http.StatusServiceUnavailable, "the enrolment profile cannot be made at the moment"
		switch bad := (*badArrival)(nil); {
		case errors.Is(err, errNoCode), errors.Is(err, errBadCode):
			status, text = http.StatusForbidden, err.Error()
		case errors.As(err, &bad):
			status, text = http.StatusBadRequest, bad.Error()
		}
		d.log.Log(r.Context(), levelOf(status), "no enrolment profile was given out", "status", status, "error", err)
		refuseWith(w, status, text)
		return
	}
	d.count.Profiles.Add(1)
	h := w.Header()
	h.Set("Content-Type", "application/x-apple-aspen-config")
	h.Set("Content-Disposition", `attachment; filename="enroll.mobileconfig"`)
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(profile) // who went away asks again
}

// enroll makes a profile for whoever is allowed one. A POST comes from a Mac in Setup Assistant, of which a newer version may be
// asked first (rules 15). A code is counted last, when there is a profile to deliver.
func (d *Server) enroll(w http.ResponseWriter, r *http.Request) (profile []byte, err error) {
	code := ""
	if !d.local || forwarded(r) {
		code = r.URL.Query().Get("code")
		if err := d.entered(func() error { return d.checkCode(r.Context(), code) }); err != nil {
			return nil, err
		}
	}
	var m *arrival
	if r.Method == http.MethodPost { // nobody fills the house by sending slowly
		if m, err = d.readArrival(w, r); err != nil {
			return nil, err
		}
	}
	err = d.entered(func() error {
		if m != nil {
			if err := d.admit(r.Context(), m); err != nil {
				return err
			}
		}
		profile, err = d.makeProfile(r.Context(), code)
		return err
	})
	return profile, err
}

// entered does something for a stranger, unless too much is in flight.
func (d *Server) entered(do func() error) error {
	leave, ok := d.o.Enter()
	if !ok {
		return errBusy
	}
	defer leave()
	return do()
}

// makeProfile makes a profile, and counts a use of the code unless it is empty.
func (d *Server) makeProfile(ctx context.Context, code string) ([]byte, error) {
	topic, err := d.topic(ctx)
	if err != nil {
		return nil, err
	}
	challenge, err := d.o.Fleet.Challenge(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a SCEP challenge: %w", err)
	}
	profile, err := d.profile(topic, challenge)
	if err != nil || code == "" {
		return profile, err
	}
	switch err := d.o.Fleet.UseCode(ctx, code); {
	case errors.Is(err, fleet.ErrForbidden), errors.Is(err, fleet.ErrNotFound):
		return nil, errBadCode
	case err != nil:
		return nil, fmt.Errorf("count the use of an enrolment code: %w", err)
	}
	return profile, nil
}

// checkCode looks whether a code may be used, without counting: strangers must not be able to fill the store with challenges.
func (d *Server) checkCode(ctx context.Context, code string) error {
	if code == "" {
		return errNoCode
	}
	for cursor := ""; ; {
		page, err := d.o.Fleet.ListCodes(ctx, 1000, cursor)
		if err != nil {
			return fmt.Errorf("look an enrolment code up: %w", err)
		}
		for _, c := range page.Items {
			if c.Code != code {
				continue
			}
			if c.ExpiresAt != nil && !d.o.Now().Before(*c.ExpiresAt) || c.UsesLeft != nil && *c.UsesLeft <= 0 {
				return errBadCode
			}
			return nil
		}
		if cursor = page.Next; cursor == "" {
			return errBadCode
		}
	}
}

// Headers that proxies add, and NanoMDM when it passes a Mac's request on (X-Enrollment-ID); in lower case. Those of the second
// list begin so.
var (
	proxyHeaders = []string{
		"forwarded",
		"via",
		"x-real-ip",
		"client-ip",
		"x-client-ip",
		"true-client-ip",
		"x-cluster-client-ip",
		"x-remote-ip",
		"x-original-host",
	}
	proxyPrefixes = []string{"x-forwarded", "x-enrollment-", "cf-", "fastly-", "x-envoy-", "x-amzn-", "x-appengine-"}
)

// forwarded tells whether a request may come from another machine although it came in on loopback: a proxy or another server
// passed it on, or a browser was led here under another name.
func forwarded(r *http.Request) bool {
	for name := range r.Header {
		name = strings.ToLower(name)
		if slices.Contains(proxyHeaders, name) ||
			slices.ContainsFunc(proxyPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			return true
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return !loopback(strings.Trim(host, "[]"))
}

func loopback(host string) bool {
	if host = strings.ToLower(strings.TrimSuffix(host, ".")); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// topic is the one of the push certificate that was stored last. The log warns when it wakes nobody.
func (d *Server) topic(ctx context.Context) (string, error) {
	certs, err := d.o.Notifier.Certificates(ctx)
	if err != nil {
		return "", err
	}
	state := fleet.PushStored(certs, d.o.Now())
	d.warn(ctx, state.Problem())
	if len(certs) == 0 {
		return placeholderTopic, nil
	}
	return certs[0].Topic, nil
}
