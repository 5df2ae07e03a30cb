package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Remote are the flags of every command that asks a running server.
type Remote struct {
	Server string `default:"http://127.0.0.1:8080" env:"PLIMSOLL_SERVER" placeholder:"URL" help:"Address of the server."`
	Token  string `env:"PLIMSOLL_TOKEN" secret:"" placeholder:"@FILE" help:"API token, or @FILE that holds it."`
}

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 256 << 20

// client asks one server. It follows no redirect: a token goes nowhere but to the address that was given.
type client struct {
	base  *url.URL
	token string
	http  http.Client
}

// open checks the address and the token. A token is sent over https, and over plain http to this machine only.
func (r Remote) open() (*client, error) {
	base, err := url.Parse(strings.TrimSuffix(r.Server, "/"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" ||
		base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return nil, usage("--server: must be http://HOST or https://HOST")
	}
	if base.Scheme == "http" && r.Token != "" && !loopback(base.Hostname()) {
		return nil, usage("--server: a token is not sent over plain http to another machine; use https")
	}
	if r.Token == "" {
		return nil, usage("--token: is missing; give --token @FILE or set PLIMSOLL_TOKEN")
	}
	return &client{base: base, token: r.Token, http: http.Client{
		Timeout:       2 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// request is one request to the server.
type request struct {
	method, path string
	query        url.Values
	accept       string // left out: JSON
	body         any    // encoded as JSON; nil: none
	header       map[string]string
}

// apiError is an error that the server answered.
type apiError struct {
	status int
	Text   string `json:"error"`
	Code   string `json:"code"`
	Errors []struct{ Field, Reason string }
	body   []byte
}

func (e *apiError) Error() string {
	text := e.Text
	if text == "" {
		text = "the server answers " + http.StatusText(e.status)
	}
	for i, f := range e.Errors {
		text += []string{": ", "; "}[min(i, 1)] + f.Field + " " + f.Reason
	}
	return text
}

// do makes a request and returns the body of its answer; an answer that is no success is an *apiError.
func (c *client) do(env *Env, r request) ([]byte, http.Header, error) {
	resp, err := c.send(env, r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := readAnswer(resp)
	return b, resp.Header, err
}

// stream makes a request and copies the body of its answer, however long.
func (c *client) stream(env *Env, r request, w io.Writer) error {
	resp, err := c.send(env, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		_, err := readAnswer(resp)
		return err
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

func (c *client) send(env *Env, r request) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(env.Context, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("User-Agent", "plimsoll/"+env.Version)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	return c.http.Do(req)
}

func readAnswer(resp *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(b) > maxAnswer:
		return nil, errors.New("the answer is over 256 MiB")
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("the server redirects to %s; give --server the address itself", resp.Header.Get("Location"))
	case resp.StatusCode >= 400:
		e := &apiError{status: resp.StatusCode, body: b}
		_ = json.Unmarshal(b, e) // a proxy may answer anything
		return nil, e
	}
	return b, nil
}

// get asks for JSON and decodes it.
func (c *client) get(env *Env, path string, query url.Values, into any) error {
	b, _, err := c.do(env, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("the answer to %s is not understood: %w", path, err)
	}
	return nil
}
