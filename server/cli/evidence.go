package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
)

// proofPack is the command that fetches the evidence pack of a closed day.
type proofPack struct {
	Remote `embed:""`

	File string `arg:"" help:"Where to write the zip; - is standard output."`
	From string `help:"Releases posted from this day on."                          placeholder:"DAY"`
	To   string `help:"Releases posted until this day."                            placeholder:"DAY"`
	SLA  string `help:"A number of days, or a profile such as cyber-essentials."   name:"sla"`
	AsOf string `help:"A closed day. Default: the last one."                       placeholder:"DAY"`
	Macs bool   `help:"Add the list of Macs that are not patched in time, as of now."`
}

// Run writes the pack, to a file whole or not at all.
func (e *proofPack) Run(env *Env) error {
	c, err := e.open()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, value := range map[string]string{"from": e.From, "to": e.To, "sla": e.SLA, "as_of": e.AsOf} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if e.Macs {
		q.Set("macs", "true")
	}
	ask := request{method: http.MethodGet, path: "/v1/reports/evidence", query: q}
	if e.File == "-" {
		return c.stream(env, ask, env.Out)
	}
	f, err := os.CreateTemp(filepath.Dir(e.File), "."+filepath.Base(e.File)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the evidence pack: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is not there any more when all went well
	err = c.stream(env, ask, f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), e.File)
	}
	return err
}
