package status

import (
	"bytes"
	"slices"
)

// Redact is a report as it may be stored and logged: without the members whose names say that they are secrets
// (push token, push magic, unlock token, keys, passwords), wherever they stand. A report without secrets is returned
// as it is, byte for byte; bytes that are not JSON cannot be searched, so nothing is left of them.
func Redact(body []byte) []byte {
	redacted, _ := redact(body)
	return redacted
}

// redact is Redact, and tells whether the body is JSON.
func redact(body []byte) (redacted []byte, ok bool) {
	s := scanner{in: body, secrets: true}
	if !s.document() {
		return nil, false
	}
	if len(s.cuts) == 0 {
		return body, true
	}
	out := make([]byte, 0, len(body))
	at := 0
	for _, c := range s.cuts {
		out = append(out, body[at:c.from]...)
		at = c.to
	}
	return append(out, body[at:]...), true
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
	if has := lettersOf(key); !slices.ContainsFunc(secretLetters, func(of letters) bool { return has&of == of }) {
		return false
	}
	var buf [64]byte
	name := buf[:0]
	for _, c := range key {
		switch {
		case c >= 'a' && c <= 'z':
			name = append(name, c)
		case c >= 'A' && c <= 'Z':
			name = append(name, c+'a'-'A')
		}
	}
	one := bytes.TrimSuffix(name, []byte("s"))
	if bytes.HasSuffix(one, []byte("token")) {
		return !slices.Contains(publicTokens, string(one))
	}
	if bytes.HasSuffix(one, []byte("magic")) {
		return true
	}
	return slices.ContainsFunc(secretWords, func(w []byte) bool { return bytes.Contains(name, w) })
}

// letters is a set of letters, whatever their case: most names lack one that every secret's name has.
type letters uint32

func lettersOf(name []byte) (set letters) {
	for _, c := range name {
		if c |= 'a' - 'A'; c >= 'a' && c <= 'z' {
			set |= 1 << (c - 'a')
		}
	}
	return set
}

// secretLetters are the letters without which a name is no secret's.
var secretLetters = func() []letters {
	sets := []letters{lettersOf([]byte("token")), lettersOf([]byte("magic"))}
	for _, w := range secretWords {
		sets = append(sets, lettersOf(w))
	}
	return sets
}()
