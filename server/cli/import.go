package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// importMacs is the command that adds Macs of another MDM server.
type importMacs struct {
	Remote `embed:""`
	File   string `arg:"" help:"File with one enrollment id a line; - is standard input."`
}

// Run sends the ids of the file. Empty lines and those that begin with # count for nothing.
func (i *importMacs) Run(env *Env) error {
	c, err := i.open()
	if err != nil {
		return err
	}
	in := env.In
	if i.File != "-" {
		f, err := os.Open(i.File)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	ids, err := readIDs(in)
	if err != nil {
		return fmt.Errorf("%s: %w", i.File, err)
	}
	if len(ids) == 0 {
		return usage("%s holds no enrollment id", i.File)
	}
	b, _, err := c.do(env, request{method: http.MethodPost, path: "/v1/devices/import", body: map[string]any{"ids": ids}})
	if err != nil {
		return err
	}
	var res struct{ Added, Known int }
	if err := json.Unmarshal(b, &res); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Out, "%d added, %d known already\n", res.Added, res.Known)
	return err
}

func readIDs(r io.Reader) ([]string, error) {
	var ids []string
	s := bufio.NewScanner(r)
	for s.Scan() {
		if id := strings.TrimSpace(s.Text()); id != "" && !strings.HasPrefix(id, "#") {
			ids = append(ids, id)
		}
	}
	return ids, s.Err()
}
