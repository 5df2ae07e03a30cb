package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// deviceCA are the commands about the CAs that identities of Macs come from.
type deviceCA struct {
	Show   showCAs  `cmd:"" default:"withargs" help:"List the device CAs with the Macs that each still carries (the default)."`
	Rotate rotateCA `cmd:""                    help:"Issue from a new CA from now on. The old ones stay trusted until their last identity is gone."`
}

type showCAs struct {
	Remote `       embed:""`
	Output string `         short:"o" default:"table" enum:"table,json" help:"Print a table, or json."`
}

type caList struct {
	CAs []struct {
		Fingerprint, Subject string
		CreatedAt            *time.Time `json:"created_at"`
		ExpiresAt            *time.Time `json:"expires_at"`
		Issuing              bool
		Devices              int
	} `json:"cas"`
}

// Run lists the CAs.
func (s *showCAs) Run(env *Env) error {
	c, err := s.open()
	if err != nil {
		return err
	}
	b, _, err := c.do(env, request{method: http.MethodGet, path: "/v1/ca"})
	if err != nil {
		return err
	}
	return printCAs(env, s.Output, b)
}

func printCAs(env *Env, output string, b []byte) error {
	if output == "json" {
		return printJSON(env.Out, b)
	}
	var list caList
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	rows := make([][]string, 0, len(list.CAs))
	for _, ca := range list.CAs {
		issuing := ""
		if ca.Issuing {
			issuing = "yes"
		}
		short := ca.Fingerprint[:min(len(ca.Fingerprint), 16)]
		rows = append(
			rows,
			[]string{short, ca.Subject, issuing, strconv.Itoa(ca.Devices), moment(ca.CreatedAt), moment(ca.ExpiresAt)},
		)
	}
	return printTable(env.Out, []string{"FINGERPRINT", "SUBJECT", "ISSUING", "MACS", "CREATED", "EXPIRES"}, rows, nil)
}

type rotateCA struct {
	Remote `     embed:""`
	Yes    bool `         help:"Answer yes to the server's question."`
}

// Run makes a new CA.
func (r *rotateCA) Run(env *Env) error {
	c, err := r.open()
	if err != nil {
		return err
	}
	b, err := c.confirmed(env, request{method: http.MethodPost, path: "/v1/ca/rotate"}, r.Yes)
	if err != nil {
		return err
	}
	return printCAs(env, "table", b)
}

// confirmed makes a write. When the server asks for confirmation, yes or the person at the terminal gives it; else the
// exit status is 4.
func (c *client) confirmed(env *Env, r request, yes bool) ([]byte, error) {
	b, _, err := c.do(env, r)
	var asked *apiError
	if !errors.As(err, &asked) || asked.Code != "confirm_required" {
		return b, err
	}
	if !yes && env.Terminal {
		if _, err := fmt.Fprintf(env.Err, "%s. Go on? [y/N] ", clean(strings.TrimSuffix(asked.Text, "."))); err != nil {
			return nil, err
		}
		line, _ := bufio.NewReader(env.In).ReadString('\n') // its end is an answer, too
		yes = strings.EqualFold(strings.TrimSpace(line), "y") || strings.EqualFold(strings.TrimSpace(line), "yes")
	}
	if !yes {
		return nil, &exitError{ExitConfirm, fmt.Errorf("%s: repeat the command with --yes", strings.TrimSuffix(asked.Text, "."))}
	}
	query := url.Values{}
	for name, values := range r.query {
		query[name] = values
	}
	query.Set("confirm", "true")
	r.query = query
	b, _, err = c.do(env, r)
	return b, err
}
