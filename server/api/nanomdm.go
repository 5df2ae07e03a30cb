package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// nanomdm hands a request to a handler of NanoMDM's, which reads bodies without a limit of its own. What it answers
// when it works is NanoMDM's; an error has our members beside its own.
func nanomdm(h http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		body, err := rest.ReadBody(c)
		if err != nil {
			return err
		}
		w := held{header: c.Response().Header(), status: http.StatusOK}
		w.serve(c.Request(), body, h)
		return w.answer(c)
	}
}

func (w *held) serve(r *http.Request, body []byte, h http.Handler) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	h.ServeHTTP(w, r)
}

func (w *held) answer(c echo.Context) error {
	if w.status >= http.StatusBadRequest {
		return forEnqueue(c, w.problem())
	}
	c.Response().WriteHeader(w.status)
	_, _ = c.Response().Write(w.body.Bytes()) // who went away needs no answer
	return nil
}

// forEnqueue adds NanoMDM's own member for what went wrong with the command, which its clients look for, where no other says it.
func forEnqueue(c echo.Context, p *rest.Problem) *rest.Problem {
	if c.Path() != "/v1/enqueue/:ids" || p.More["command_error"] != nil || p.More["push_error"] != nil ||
		p.More["status"] != nil {
		return p
	}
	p.More = map[string]any{"command_error": p.Text}
	return p
}

// held is an answer that is held back until it is known whether it is an error.
type held struct {
	header http.Header // the answer's own
	status int
	body   bytes.Buffer
}

// Header is the answer's.
func (w *held) Header() http.Header { return w.header }

// WriteHeader keeps the status.
func (w *held) WriteHeader(status int) { w.status = status }

// Write keeps a part of the body.
func (w *held) Write(b []byte) (int, error) { return w.body.Write(b) }

// problem is an error of NanoMDM's in our words, with what it said itself. A 503 is the same on every route.
func (w *held) problem() *rest.Problem {
	w.header.Del(echo.HeaderContentType)
	if w.status == http.StatusServiceUnavailable {
		return rest.AsProblem(fleet.ErrUnavailable)
	}
	p := &rest.Problem{Status: w.status, Code: "failed", Text: "it failed for every device that was named; status says why"}
	if known, ok := rest.Words[w.status]; ok {
		p.Code, p.Text = known[0], known[1]
	}
	if json.Unmarshal(w.body.Bytes(), &p.More) != nil {
		p.Text = "something went wrong here; the log says more"
		return p
	}
	for _, name := range []string{"push_error", "command_error", "error"} {
		if said, ok := p.More[name].(string); ok {
			p.Text = cmp.Or(said, p.Text)
		}
	}
	return p
}
