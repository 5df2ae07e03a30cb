package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// admin writes one policy again and again, and numbers the writes in its label.
type admin struct {
	name            string
	body            func(n int) string
	attempts, acked int // under the load's mu: the number of the last write, and of the last that was acknowledged
}

// everyoneAt governs every Mac, and every write of it changes what every Mac is told.
func everyoneAt(n int) string {
	return fmt.Sprintf(`{"name": "everyone", "label": "%d", "priority": 10, "details_url": "https://it.example.com/%d",
		"updates": {"mode": "minimum", "version": "26.6.1", "deadline": "2027-03-01T12:00:00"}}`, n, n)
}

// write lets admins write policies without a break: one that governs every Mac, and n-1 that govern none.
func (l *load) write(n int) {
	for i := range n {
		a := &admin{name: fmt.Sprint("load-", i), body: func(n int) string {
			return fmt.Sprintf(`{"name": "load-%d", "label": "%d", "priority": %d, "assign": {"groups": ["nobody"]}, "updates": {"mode": "none"}}`, i, n, 1000+i)
		}}
		every := 60 * time.Millisecond
		if i == 0 {
			a.name, a.body, every = "everyone", everyoneAt, l.every
		}
		l.admins = append(l.admins, a)
		l.wg.Go(func() {
			for l.pause(every) {
				l.put(a)
			}
		})
	}
}

func (l *load) put(a *admin) {
	l.mu.Lock()
	a.attempts++
	n := a.attempts
	l.mu.Unlock()
	status, _, err := l.ask(http.MethodPut, "/v1/policies/"+a.name, a.body(n))
	switch {
	case err != nil: // nobody knows
	case status == http.StatusOK, status == http.StatusCreated:
		l.mu.Lock()
		a.acked = n
		l.mu.Unlock()
	case status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests:
		l.wrongly("PUT of %s was answered %d", a.name, status)
	}
}

// ask makes a request of an admin. Whatever the answer, it has the form that is promised.
func (l *load) ask(method, path, body string) (int, []byte, error) {
	req, err := http.NewRequest(method, "http://plimsoll.test"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := l.send(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode >= 400 {
		if err := errorForm(resp, b); err != nil {
			l.wrongly("%s %s: %v", method, path, err)
		}
	}
	return resp.StatusCode, b, nil
}

// errorForm checks an error's answer (docs/api.md 3).
func errorForm(resp *http.Response, b []byte) error {
	var e struct {
		Error, Code string
		Errors      *[]any
		RequestID   string `json:"request_id"`
	}
	if err := json.Unmarshal(b, &e); err != nil || e.Error == "" || e.Code == "" || e.Errors == nil || e.RequestID == "" {
		return fmt.Errorf("%s with the body %q", resp.Status, b)
	}
	if (resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests) && resp.Header.Get("Retry-After") == "" {
		return fmt.Errorf("%s without Retry-After", resp.Status)
	}
	return nil
}
