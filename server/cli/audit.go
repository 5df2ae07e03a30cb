package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"plimsoll/declarations"
)

// auditLog are the commands about who changed what.
type auditLog struct {
	List   auditList   `cmd:"" default:"withargs" help:"List who changed what, the newest first (the default)."`
	Verify auditVerify `cmd:""                    help:"Read the whole audit, and say whether anything in it was changed."`
}

type auditList struct {
	Remote `embed:""`
	Output `embed:""`

	Actor  string `help:"Only entries of this actor, such as token:ci."`
	Action string `help:"Only entries of this action, such as policy.put."`
	Object string `help:"Only entries about this object, such as policy/engineering."`
	Since  string `help:"Only entries from then on." placeholder:"TIME"`
	Until  string `help:"Only entries until then."   placeholder:"TIME"`
	Limit  int    `help:"At most so many entries; 0: all." default:"100"`
}

func (a *auditList) query() url.Values {
	q := url.Values{"limit": {"1000"}}
	if a.Limit > 0 && a.Limit < 1000 {
		q.Set("limit", strconv.Itoa(a.Limit))
	}
	for name, value := range map[string]string{
		"actor": a.Actor, "action": a.Action, "object": a.Object, "since": a.Since, "until": a.Until,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// auditEntry is what the commands read of an entry.
type auditEntry struct {
	N, Failed                                    uint64
	At                                           time.Time
	Actor, Via, Action, Object, Reason, Previous string
}

// auditPages reads entries, the newest first, until do says that it is enough.
func auditPages(env *Env, c *client, q url.Values, do func([]json.RawMessage) (more bool, err error)) error {
	for {
		var page struct {
			Entries []json.RawMessage
			Next    string `json:"next_cursor"`
		}
		if err := c.get(env, "/v1/audit", q, &page); err != nil {
			return err
		}
		more, err := do(page.Entries)
		if err != nil || !more || page.Next == "" {
			return err
		}
		q.Set("cursor", page.Next)
	}
}

// Run lists the entries.
func (a *auditList) Run(env *Env) error {
	c, err := a.open()
	if err != nil {
		return err
	}
	if a.Output.Output == "csv" {
		b, _, err := c.do(env, request{method: http.MethodGet, path: "/v1/audit", query: a.query(), accept: "text/csv"})
		if err != nil {
			return err
		}
		return printCSV(env.Out, b, true)
	}
	all := []json.RawMessage{}
	if err := auditPages(env, c, a.query(), func(entries []json.RawMessage) (bool, error) {
		all = append(all, entries...)
		if a.Limit > 0 {
			all = all[:min(len(all), a.Limit)]
		}
		return a.Limit <= 0 || len(all) < a.Limit, nil
	}); err != nil {
		return err
	}
	if a.Output.Output == "json" {
		b, err := json.Marshal(map[string]any{"entries": all})
		if err != nil {
			return err
		}
		return printJSON(env.Out, b)
	}
	rows := make([][]string, 0, len(all))
	for _, raw := range all {
		var e auditEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		reason := e.Reason
		if e.Failed != 0 {
			reason = fmt.Sprintf("number %d failed", e.Failed)
		}
		at := e.At.UTC().Format("2006-01-02 15:04:05")
		rows = append(rows, []string{strconv.FormatUint(e.N, 10), at, e.Actor, e.Via, e.Action, e.Object, reason})
	}
	return printTable(env.Out, []string{"N", "AT (UTC)", "ACTOR", "VIA", "ACTION", "OBJECT", "REASON"}, rows, nil)
}

type auditVerify struct {
	Remote `embed:""`
	Head   string `placeholder:"N:HASH" help:"A head that was noted earlier; only it shows a chain that was written anew."`
}

// auditHead is the end of the chain as the server tells it.
type auditHead struct {
	N     uint64
	Hash  string
	First struct {
		N        uint64
		Previous string
	}
}

func parseHead(text string) (n uint64, hash string, err error) {
	number, hash, _ := strings.Cut(text, ":")
	n, err = strconv.ParseUint(number, 10, 64)
	if b, bad := hex.DecodeString(hash); err != nil || bad != nil || len(b) != sha256.Size {
		return 0, "", usage("--head: must be N:HASH, such as the daily digest has it")
	}
	return n, strings.ToLower(hash), nil
}

// Run reads the chain backwards from its head: each entry must have the number and the hash that the one after it names.
func (v *auditVerify) Run(env *Env) error {
	var noted uint64
	var notedHash string
	if v.Head != "" {
		var err error
		if noted, notedHash, err = parseHead(v.Head); err != nil {
			return err
		}
	}
	c, err := v.open()
	if err != nil {
		return err
	}
	var head auditHead
	if err := c.get(env, "/v1/audit/head", nil, &head); err != nil {
		return err
	}
	w := chainWalk{n: head.N, hash: head.Hash, noted: noted, notedHash: notedHash, bad: map[uint64]string{}}
	if noted > head.N {
		return broken(noted, fmt.Sprintf("was noted, and the chain ends with number %d", head.N))
	}
	if err := auditPages(env, c, url.Values{"limit": {"1000"}}, func(entries []json.RawMessage) (bool, error) {
		for _, raw := range entries {
			if err := w.entry(raw); err != nil {
				return false, err
			}
		}
		return true, nil
	}); err != nil {
		return err
	}
	return w.end(env, head)
}

func broken(n uint64, why string) error {
	return fmt.Errorf("the audit is broken: entry %d %s", n, why)
}

// chainWalk goes down the chain; n and hash are what the next entry must have. It finds every bad entry and tells of the first.
type chainWalk struct {
	n         uint64
	hash      string
	noted     uint64
	notedHash string
	checked   int
	doubted   string // what the last one should have been, and was not
	bad       map[uint64]string
}

func (w *chainWalk) entry(raw json.RawMessage) error {
	var e auditEntry
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("an entry of the audit is not understood: %w", err)
	}
	if w.checked == 0 && e.N > w.n { // written since the head was read
		return nil
	}
	canonical, err := declarations.CanonicalJSON(raw)
	if err != nil {
		return fmt.Errorf("entry %d of the audit has no canonical form: %w", e.N, err)
	}
	sum := sha256.Sum256(canonical)
	got := hex.EncodeToString(sum[:])
	switch {
	case e.N == w.n+1 && got == w.doubted:
		w.bad[e.N] = "has another one beside it, which was inserted"
	case e.N > w.n:
		w.bad[e.N] = "was inserted"
		return nil
	case e.N == 0:
		return broken(0, "has no number")
	case e.N < w.n:
		w.bad[e.N+1] = "is missing"
	case got != w.hash:
		w.bad[e.N] = "is not what the one after it, or the head, says it was"
	}
	w.doubted = ""
	if e.N == w.n && got != w.hash {
		w.doubted = w.hash
	}
	if e.N == w.noted && got != w.notedHash {
		w.bad[e.N] = "is another one than was noted: the chain was written anew"
	}
	w.checked++
	w.n, w.hash = e.N-1, e.Previous
	return nil
}

// end checks where the chain begins.
func (w *chainWalk) end(env *Env, head auditHead) error {
	switch {
	case w.n > head.First.N-1:
		w.bad[head.First.N] = "is missing"
	case w.n+1 == head.First.N && w.hash != head.First.Previous:
		w.bad[head.First.N] = "does not follow what was before the first entry"
	}
	first := uint64(0)
	for n := range w.bad {
		if first == 0 || n < first {
			first = n
		}
	}
	if first != 0 {
		return broken(first, w.bad[first])
	}
	if w.noted != 0 && w.noted < head.First.N {
		return fmt.Errorf("entry %d was noted, and is older than what is kept: the chain begins with number %d", w.noted, head.First.N)
	}
	_, err := fmt.Fprintf(env.Out, "%d entries, the chain is whole; its head is %d:%s\n", w.checked, head.N, head.Hash)
	return err
}
