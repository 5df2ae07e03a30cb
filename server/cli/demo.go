package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"
)

// demo is the command that shows everything on one machine. It reads no environment variable of ours, and leaves no file.
type demo struct {
	N    int `short:"n" default:"25" help:"How many simulated Macs."`
	Port int `default:"8080" help:"Port on 127.0.0.1 to serve on."`
}

// demoPolicy asks for the newest release within two weeks, which is 14 days from now for releases that are older: it
// restarts no Mac today.
var demoPolicy = map[string]any{
	"name": "everyone", "label": "Everyone", "priority": 10, "notice_days": 14,
	"updates": map[string]any{"mode": "automatic", "within_days": 14},
}

// Run serves until it is interrupted.
func (d *demo) Run(env *Env) (err error) {
	if d.N < 1 || d.N > 1000 {
		return usage("-n must be from 1 to 1000")
	}
	if d.Port < 0 || d.Port > 65535 {
		return usage("--port must be from 0 to 65535")
	}
	folder, err := os.MkdirTemp("", "plimsoll-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	server, err := env.Serve(env.Context, d.Port, folder)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(env.Context)
	macs, stopMacs := context.WithCancel(ctx)
	defer stopMacs()
	g.Go(func() error {
		defer stopMacs()
		return server.Run(ctx)
	})
	g.Go(func() error { return env.Simulate(macs, server.BaseURL(), d.N) })
	g.Go(func() error {
		if err := firstPolicy(ctx, server); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		_, err := fmt.Fprintf(env.Out, `Plimsoll %s with %d simulated Macs, on a store that is deleted at the end
  dashboard    %s/
  admin token  %s
The Macs enrol now; their clocks run 20 times as fast. Stop with Ctrl-C. Next, in another terminal:
  export PLIMSOLL_SERVER=%s PLIMSOLL_TOKEN=%s
  plimsoll devices
`, env.Version, d.N, server.BaseURL(), server.Token(), server.BaseURL(), server.Token())
		return err
	})
	return g.Wait()
}

// firstPolicy puts the policy of the demo by the server's own API.
func firstPolicy(ctx context.Context, server Server) error {
	b, err := json.Marshal(demoPolicy)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.BaseURL()+"/v1/policies", bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+server.Token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return fmt.Errorf("the policy of the demo was answered %s: %s", resp.Status, b)
	}
	return nil
}
