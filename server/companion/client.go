package companion

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"plimsoll/server/mdm/message"
)

const (
	apiUser   = "nanomdm"
	apiTime   = 10 * time.Second
	maxAnswer = 1 << 20 // bytes of an answer that are read
	maxSaid   = 200     // bytes of an error of the other server that are kept
)

// api is the API of the other server.
type api struct {
	base   *url.URL
	key    string
	client *http.Client
}

func newAPI(base *url.URL, key string) *api {
	return &api{base: base, key: key, client: &http.Client{
		Timeout:       apiTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: atOnce, MaxIdleConnsPerHost: atOnce,
			IdleConnTimeout: time.Minute, TLSHandshakeTimeout: apiTime, ForceAttemptHTTP2: true,
		},
	}}
}

// said is an answer of NanoMDM's API.
type said struct {
	Status map[string]struct {
		Push    string `json:"push_result"`
		PushErr string `json:"push_error"`
		CmdErr  string `json:"command_error"`
	} `json:"status"`
	PushErr string `json:"push_error"`
	CmdErr  string `json:"command_error"`
	Error   string `json:"error"`
}

// put makes a request. An answer without a meaning is an error, a redirect too.
func (a *api) put(ctx context.Context, path, query string, body []byte) (said, int, error) {
	u := *a.base
	u.Path, u.RawQuery = strings.TrimSuffix(u.Path, "/")+path, query
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(body))
	if err != nil {
		return said{}, 0, fmt.Errorf("ask the MDM server: %w", err)
	}
	req.SetBasicAuth(apiUser, a.key)
	resp, err := a.client.Do(req)
	if err != nil {
		var named *url.Error
		if errors.As(err, &named) {
			err = named.Err
		}
		return said{}, 0, fmt.Errorf("%w: %w", errUnreached, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return said{}, 0, fmt.Errorf("%w: %w", errUnreached, err)
	}
	var s said
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return s, resp.StatusCode, fmt.Errorf("%w: it does not accept the key of its API (%s)", errUnreached, resp.Status)
	case resp.StatusCode/100 == 3, json.Unmarshal(b, &s) != nil:
		return s, resp.StatusCode, fmt.Errorf("%w: it answered %s, and not as NanoMDM does", errUnreached, resp.Status)
	}
	return s, resp.StatusCode, nil
}

// enqueue queues a command without a push. A command that is there already was queued by a request whose answer was lost.
func (a *api) enqueue(ctx context.Context, id string, raw []byte) error {
	s, status, err := a.put(ctx, "/v1/enqueue/"+id, "nopush=1", raw)
	if err != nil {
		return err
	}
	why := s.CmdErr
	if why == "" {
		why = s.Status[id].CmdErr
	}
	switch {
	case isThere(why):
		return nil
	case why != "":
		return fmt.Errorf("the MDM server did not queue the command: %s", message.Clip(why, maxSaid))
	case status != http.StatusOK:
		return fmt.Errorf("the MDM server did not queue the command: it answered %d", status)
	}
	return nil
}

// isThere tells what NanoMDM's storages say of a CommandUUID that is queued: its own, MySQL's and PostgreSQL's words.
func isThere(why string) bool {
	for _, words := range []string{"already exists", "Duplicate entry", "duplicate key"} {
		if strings.Contains(why, words) {
			return true
		}
	}
	return false
}

// push has a Mac pushed. Without a push_result for it nothing was pushed, whatever the status (rules 16).
func (a *api) push(ctx context.Context, id string) error {
	s, status, err := a.put(ctx, "/v1/push/"+id, "", nil)
	if err != nil {
		return err
	}
	mac := s.Status[id]
	if mac.Push != "" && mac.PushErr == "" {
		return nil
	}
	for _, why := range []string{mac.PushErr, s.PushErr, s.Error} {
		if why != "" {
			return fmt.Errorf("the MDM server did not push: %s", message.Clip(why, maxSaid))
		}
	}
	if status == http.StatusOK {
		return errors.New("the MDM server did not push: it has no push token of the Mac")
	}
	return fmt.Errorf("the MDM server did not push: it answered %d", status)
}
