package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// chainOf makes a chain of n entries, and its head. Maps are encoded with sorted keys, which is the canonical form here.
func chainOf(t *testing.T, n int, actor string) (entries []map[string]any, head map[string]any) {
	t.Helper()
	previous := strings.Repeat("0", 64)
	for i := 1; i <= n; i++ {
		e := map[string]any{
			"n": i, "at": "2026-08-19T09:00:00Z", "actor": actor, "via": "api", "address": "", "request_id": "", "action": "device.sync",
			"object": fmt.Sprintf("device/%d", i), "reason": "", "changes": []any{}, "previous": previous,
		}
		entries = append(entries, e)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		previous = hex.EncodeToString(sum[:])
	}
	return entries, map[string]any{"n": n, "hash": previous, "first": map[string]any{"n": 1, "previous": strings.Repeat("0", 64)}}
}

// verify runs audit verify against a server that answers so.
func verify(t *testing.T, entries []map[string]any, head map[string]any, noted string) (out string, err error) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = head
		if r.URL.Path == "/v1/audit" {
			newest := slices.Clone(entries)
			slices.Reverse(newest)
			page := map[string]any{"entries": newest}
			if len(newest) > 3 { // in two pages
				if page["entries"] = newest[3:]; r.URL.Query().Get("cursor") == "" {
					page = map[string]any{"entries": newest[:3], "next_cursor": "x"}
				}
			}
			answer = page
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer srv.Close()
	var b bytes.Buffer
	v := auditVerify{Remote: Remote{Server: srv.URL, Token: "t"}, Head: noted}
	err = v.Run(&Env{Context: t.Context(), Out: &b})
	return b.String(), err
}

// One changed byte, one missing entry and one inserted are found, and a chain that was written anew with a head that was noted.
func TestAuditVerify(t *testing.T) {
	whole, head := chainOf(t, 7, "token:ada")
	anew, newHead := chainOf(t, 7, "token:eve")
	_, third := chainOf(t, 3, "token:ada")
	noted := fmt.Sprintf("3:%s", third["hash"])
	changed := func(i int, key string, value any) []map[string]any {
		all := slices.Clone(whole)
		e := map[string]any{}
		for k, v := range all[i] {
			e[k] = v
		}
		e[key] = value
		all[i] = e
		return all
	}
	later, _ := chainOf(t, 9, "token:ada")
	for name, c := range map[string]struct {
		entries []map[string]any
		head    map[string]any
		noted   string
		want    string // part of the error; empty: it is whole
	}{
		"whole":                      {whole, head, "", ""},
		"whole, with a noted head":   {whole, head, noted, ""},
		"written to meanwhile":       {later, head, "", ""},
		"a changed byte":             {changed(3, "actor", "token:adb"), head, "", "entry 4 is not what"},
		"the last one changed":       {changed(6, "reason", "x"), head, "", "entry 7 is not what"},
		"the first one changed":      {changed(0, "reason", "x"), head, "", "entry 1 is not what"},
		"one is missing":             {slices.Delete(slices.Clone(whole), 4, 5), head, "", "entry 5 is missing"},
		"the first is missing":       {whole[1:], head, "", "entry 1 is missing"},
		"the last is missing":        {whole[:6], head, "", "entry 7 is missing"},
		"one is inserted":            {slices.Insert(slices.Clone(whole), 4, anew[3]), head, "", "entry 4 "},
		"written anew":               {anew, newHead, "", ""},
		"written anew, with a head":  {anew, newHead, noted, "entry 3 is another one than was noted"},
		"cut off, with a later head": {whole[:2], mustHead(chainOf(t, 2, "token:ada")), noted, "entry 3 was noted"},
		"empty":                      {nil, mustHead(chainOf(t, 0, "")), "", ""},
	} {
		out, err := verify(t, c.entries, c.head, c.noted)
		switch {
		case c.want == "" && (err != nil || !strings.Contains(out, "the chain is whole")):
			t.Errorf("%s: %v, %s", name, err, out)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, bad := range []string{"3", "x:" + strings.Repeat("0", 64), "3:abc"} {
		if _, err := verify(t, whole, head, bad); err == nil || !strings.Contains(err.Error(), "--head") {
			t.Errorf("--head %s: %v", bad, err)
		}
	}
}

func mustHead(_ []map[string]any, head map[string]any) map[string]any { return head }
