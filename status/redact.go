package status

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Redact is a report as it may be stored and logged: without the members whose names say that they are secrets
// (push token, push magic, unlock token, keys, passwords), wherever they stand. A report without secrets is returned
// as it is, byte for byte; bytes that are not JSON cannot be searched, so nothing is left of them.
func Redact(body []byte) []byte {
	if !json.Valid(body) {
		return nil
	}
	return redact(body)
}

// redact is Redact for a body that is known to be JSON.
func redact(body []byte) []byte {
	r := redactor{in: body}
	r.value(space(body, 0))
	if len(r.cuts) == 0 {
		return body
	}
	out := make([]byte, 0, len(body))
	at := 0
	for _, c := range r.cuts {
		out = append(out, body[at:c.from]...)
		at = c.to
	}
	return append(out, body[at:]...)
}

type span struct{ from, to int }

// redactor collects what has to be cut out: ascending, and not overlapping.
type redactor struct {
	in   []byte
	cuts []span
}

// value looks through the value at i and returns the index after it. The recursion is as deep as encoding/json
// allows (10000).
func (r *redactor) value(i int) int {
	if i >= len(r.in) {
		return i
	}
	switch r.in[i] {
	case '{':
		return r.object(i)
	case '[':
		for i = space(r.in, i+1); i < len(r.in) && r.in[i] != ']'; {
			i = next(r.in, r.value(i))
		}
		return i + 1
	}
	return valueEnd(r.in, i)
}

func (r *redactor) object(i int) int {
	kept := i + 1 // the end of the last member that stays
	for i = space(r.in, i+1); ; {
		keyEnd, val, ok := memberAt(r.in, i)
		if !ok {
			return i + 1
		}
		if !isSecret(unquoted(r.in[i:keyEnd])) {
			end := r.value(val)
			kept, i = end, next(r.in, end)
			continue
		}
		end := valueEnd(r.in, val)
		if after := next(r.in, end); after < len(r.in) && r.in[after] != '}' {
			r.cuts = append(r.cuts, span{i, after})
			i = after
			continue
		}
		// The last member takes the comma before it along, and with it the secrets between.
		for len(r.cuts) > 0 && r.cuts[len(r.cuts)-1].from >= kept {
			r.cuts = r.cuts[:len(r.cuts)-1]
		}
		r.cuts = append(r.cuts, span{kept, end})
		i = space(r.in, end)
	}
}

// publicTokens are the names ending in "token" that Apple's status channel uses for what is no secret.
var publicTokens = []string{"servertoken", "declarationstoken", "declarationtoken"}

// secretWords make a name a secret's, wherever in the name they stand.
var secretWords = [][]byte{
	[]byte("pushtoken"), []byte("pushmagic"), []byte("unlocktoken"), []byte("bootstraptoken"),
	[]byte("password"), []byte("passphrase"), []byte("secret"),
	[]byte("privatekey"), []byte("recoverykey"), []byte("escrowkey"),
}

// isSecret judges a member's name by its letters alone: "push-token", "PushToken" and "mdm.push_token" are the same.
func isSecret(key []byte) bool {
	var buf [64]byte
	letters := buf[:0]
	for _, c := range key {
		switch {
		case c >= 'a' && c <= 'z':
			letters = append(letters, c)
		case c >= 'A' && c <= 'Z':
			letters = append(letters, c+'a'-'A')
		}
	}
	if len(letters) < len("token") {
		return false
	}
	name := bytes.TrimSuffix(letters, []byte("s"))
	if bytes.HasSuffix(name, []byte("token")) {
		return !slices.Contains(publicTokens, string(name))
	}
	if bytes.HasSuffix(name, []byte("magic")) {
		return true
	}
	for _, w := range secretWords {
		if bytes.Contains(letters, w) {
			return true
		}
	}
	return false
}
