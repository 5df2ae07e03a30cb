package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll/server/fleet"
)

const (
	besideSecret  = "dm-secret-0123456789-0123456789-0123"
	besideWebhook = "webhook-secret-0123456789-0123456789"
	besideToken   = "an admin token of a test"
)

// Flags that make no sense beside another MDM server, or without one, name themselves and end with status 2; no secret is repeated.
func TestCompanionOptions(t *testing.T) {
	whole := []string{"--mdm-url=http://127.0.0.1:9000", "--mdm-key=k", "--dm-secret=" + besideSecret, "--mdm-webhook-secret=" + besideWebhook}
	without := func(flag string) (args []string) {
		for _, a := range whole {
			if !strings.HasPrefix(a, "--"+flag+"=") {
				args = append(args, a)
			}
		}
		return args
	}
	for name, c := range map[string]struct {
		args []string
		flag string // at fault; "": none
	}{
		"whole":                      {whole, ""},
		"none of them":               {nil, ""},
		"a path":                     {append(without("mdm-url"), "--mdm-url=https://mdm.example.com/nano/"), ""},
		"a URL with a password":      {append(without("mdm-url"), "--mdm-url=http://nanomdm:SECRET@127.0.0.1"), "mdm-url"},
		"no URL":                     {append(without("mdm-url"), "--mdm-url=127.0.0.1:9000"), "mdm-url"},
		"a query":                    {append(without("mdm-url"), "--mdm-url=http://127.0.0.1/?a=b"), "mdm-url"},
		"no key":                     {without("mdm-key"), "mdm-key"},
		"no secret":                  {without("dm-secret"), "dm-secret"},
		"no secret for the webhook":  {without("mdm-webhook-secret"), "mdm-webhook-secret"},
		"a short secret":             {append(without("dm-secret"), "--dm-secret="+besideSecret[:31]), "dm-secret"},
		"the same secret":            {append(without("mdm-webhook-secret"), "--mdm-webhook-secret="+besideSecret), "mdm-webhook-secret"},
		"no address":                 {append(whole, "--dm-listen=8081"), "dm-listen"},
		"a device CA":                {append(whole, "--device-ca=ca.pem"), "device-ca"},
		"a header":                   {append(whole, "--cert-header=X-Cert"), "cert-header"},
		"an identity":                {append(whole, "--profile-identity=a.pem"), "profile-identity"},
		"a folder":                   {append(whole, "--data=folder"), "data"},
		"a key alone":                {[]string{"--mdm-key=k"}, "mdm-key"},
		"a secret alone":             {[]string{"--dm-secret=" + besideSecret}, "dm-secret"},
		"an address alone":           {[]string{"--dm-listen=127.0.0.1:8081"}, "dm-listen"},
		"a signing key alone":        {[]string{"--dm-hmac-key=k"}, "dm-hmac-key"},
		"a webhook's key alone":      {[]string{"--mdm-webhook-hmac-key=k"}, "mdm-webhook-hmac-key"},
		"a webhook's password alone": {[]string{"--mdm-webhook-secret=" + besideWebhook}, "mdm-webhook-secret"},
	} {
		s, err := optionsOf(t, c.args...).check()
		if err != nil {
			t.Fatal(name, err)
		}
		err = s.checkCompanion()
		var wrong *BadOption
		switch {
		case c.flag == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.flag != "" && (!errors.As(err, &wrong) || wrong.Flag != c.flag):
			t.Errorf("%s: %v, want a fault of --%s", name, err, c.flag)
		case err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), besideSecret[:20])):
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
}

// The process beside another MDM server: what it prints, serves, refuses, and listens on.
func TestCompanionProcess(t *testing.T) {
	o := optionsOf(t, "--listen=127.0.0.1:0", "--dm-listen=127.0.0.1:0", "--store=bolt:"+filepath.Join(t.TempDir(), "p.db"), "--catalog=none",
		"--admin-token="+besideToken, "--log-level=error", "--mdm-url=http://127.0.0.1:9", "--mdm-key=k", "--dm-secret="+besideSecret,
		"--mdm-webhook-secret="+besideWebhook)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Start(ctx, o, "test")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var out bytes.Buffer
	s.welcome(&out)
	for _, want := range []string{
		"-dm 'http://plimsoll:SECRET@" + s.DMAddr() + "/dm/'", "-webhook-url 'http://plimsoll:SECRET@" + s.DMAddr() + "/webhook'",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not printed:\n%s", want, out.String())
		}
	}
	call := func(method, url, password, body string, headers ...string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("plimsoll", password)
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, route := range []string{
		"PUT /v1/pushcert", "GET /v1/push/A", "PUT /v1/enqueue/A", "GET /v1/enrollment-codes", "POST /v1/enrollment-codes", "DELETE /v1/enrollment-codes/A",
		"GET /v1/ca", "POST /v1/ca/rotate",
	} {
		method, path, _ := strings.Cut(route, " ")
		if status, body := call(method, s.BaseURL()+path, besideToken, ""); status != http.StatusConflict || !strings.Contains(body, `"companion"`) {
			t.Errorf("%s: %d %s", route, status, body)
		}
		if status, _ := call(method, s.BaseURL()+path, "wrong", ""); status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", route, status)
		}
	}
	for _, path := range []string{"/mdm", "/scep", "/enroll"} {
		if status, _ := call("GET", s.BaseURL()+path, besideToken, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	const id = "564D4F2B-0000-4000-8000-000000000001"
	for _, want := range []string{`{"added":1,"known":0}`, `{"added":0,"known":1}`} {
		status, body := call("POST", s.BaseURL()+"/v1/devices/import", besideToken, fmt.Sprintf(`{"ids": [%q]}`, id))
		if status != http.StatusOK || strings.TrimSpace(body) != want {
			t.Errorf("import: %d %s, want %s", status, body, want)
		}
	}
	if status, body := call("POST", s.BaseURL()+"/v1/devices/import", besideToken, `{"ids": ["x"]}`); status != http.StatusUnprocessableEntity || !strings.Contains(body, "ids[0]") {
		t.Errorf("import of what is no id: %d %s", status, body)
	}
	dm := "http://" + s.DMAddr()
	status, body := call("GET", dm+"/dm/tokens", besideSecret, "", "X-Enrollment-ID", id, "X-Enrollment-Type", "Device")
	var tokens struct {
		SyncTokens struct{ DeclarationsToken string }
	}
	if err := json.Unmarshal([]byte(body), &tokens); err != nil || status != http.StatusOK || tokens.SyncTokens.DeclarationsToken == "" {
		t.Errorf("tokens: %d %s", status, body)
	}
	if status, _ := call("GET", dm+"/healthz", "", ""); status != http.StatusUnauthorized {
		t.Errorf("the second listener serves something else: %d", status)
	}
	if status, body := call("GET", s.BaseURL()+"/metrics", besideToken, ""); status != http.StatusOK || !strings.Contains(body, `plimsoll_dm_requests_total{result="served"} 1`) {
		t.Errorf("the request is not counted: %d", status)
	}
}

// A server that is the Macs' MDM imports none.
func TestImportWithoutCompanion(t *testing.T) {
	s, err := Start(t.Context(), optionsOf(t, "--listen=127.0.0.1:0", "--store=bolt:"+filepath.Join(t.TempDir(), "p.db"), "--catalog=none", "--admin-token="+besideToken,
		"--log-level=error"), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.fleet.Import(t.Context(), []string{"564D4F2B-0000-4000-8000-000000000001"}, fleet.Origin{Actor: "test"}); err == nil || !strings.Contains(err.Error(), "MDM") {
		t.Errorf("the error is %v", err)
	}
	if s.DMAddr() != "" {
		t.Errorf("it listens on %s too", s.DMAddr())
	}
}
