package app

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	readTime   = time.Minute      // for a whole request
	formTime   = 10 * time.Second // for a form of somebody who need not be known
	answerTime = 30 * time.Second // for each piece of an answer to be taken
	macTime    = 2 * time.Minute  // for a request of a Mac and its answer
	pieceSize  = 64 << 10         // the most of an answer that is kept until the slot is left, and a piece of a larger one; bytes
	maxForm    = 16 << 10         // the largest form of somebody who need not be known, in bytes
)

// fromStrangers tells the routes that read forms of people who have not shown a token.
func fromStrangers(path string) bool { return path == "/login" || strings.HasPrefix(path, "/self/") }

// answer keeps what is written, so that a small answer is sent when its slot is free again, and lets a client that does not
// read go.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	kept    []byte
	sent    bool // what was kept; the rest goes out at once
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	if !a.sent && len(a.kept)+len(b) <= pieceSize {
		a.kept = append(a.kept, b...)
		return len(b), nil
	}
	if err := a.send(); err != nil {
		return 0, err
	}
	return a.pass(b)
}

// FlushError is for http.ResponseController, which streams flush by.
func (a *answer) FlushError() error {
	if err := a.send(); err != nil {
		return err
	}
	return a.control.Flush()
}

// finish sends what was kept.
func (a *answer) finish() {
	_ = a.control.SetWriteDeadline(time.Now().Add(answerTime))
	_ = a.send() // the client is gone
}

func (a *answer) send() error {
	if a.sent {
		return nil
	}
	a.sent = true
	_ = a.control.SetWriteDeadline(time.Now().Add(answerTime))
	if a.status != 0 {
		a.ResponseWriter.WriteHeader(a.status)
	}
	_, err := a.pass(a.kept)
	a.kept = nil
	return err
}

func (a *answer) pass(b []byte) (n int, err error) {
	for err == nil && len(b) > 0 {
		piece := b[:min(len(b), pieceSize)]
		_ = a.control.SetWriteDeadline(time.Now().Add(answerTime))
		var written int
		written, err = a.ResponseWriter.Write(piece)
		n, b = n+written, b[len(piece):]
	}
	return n, err
}

// readForm reads the whole body; false: it could not be read, which is answered.
func (a *answer) readForm(r *http.Request) bool {
	if r.ContentLength == 0 {
		return true
	}
	_ = a.control.SetReadDeadline(time.Now().Add(formTime))
	var body []byte
	var err error
	if r.ContentLength <= maxForm {
		body, err = io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	}
	_ = a.control.SetReadDeadline(time.Now().Add(readTime))
	switch {
	case err != nil:
		a.refuse("the body ended before its end", http.StatusBadRequest)
		return false
	case r.ContentLength > maxForm || len(body) > maxForm:
		a.refuse("the body is over 16 KiB", http.StatusRequestEntityTooLarge)
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// refuse also gives the connection up: what is still to come on it is not wanted.
func (a *answer) refuse(text string, status int) {
	a.Header().Set("Connection", "close")
	http.Error(a, text, status)
}
