package declarations

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// appendCore writes the canonical JSON of Identifier and Payload, which a declaration's body and what its token is made
// of have in common. The payload must be canonical JSON.
func appendCore(dst []byte, identifier string, payload []byte) []byte {
	dst = append(dst, `{"Identifier":`...)
	dst = appendString(dst, identifier)
	dst = append(dst, `,"Payload":`...)
	return append(dst, payload...)
}

func appendType(dst []byte, typ string) []byte {
	dst = append(dst, `,"Type":`...)
	return append(appendString(dst, typ), '}')
}

// tokenOf is the SHA-256 of b in base64url without padding: 43 characters.
func tokenOf(b []byte) string {
	sum := sha256.Sum256(b)
	var text [43]byte
	base64.RawURLEncoding.Encode(text[:], sum[:])
	return string(text[:])
}

// ServerToken is the token of a declaration: SHA-256 over the canonical JSON of {Identifier, Payload, Type}, in base64url
// without padding (43 characters; rules 7). The payload must be canonical JSON.
func ServerToken(typ, identifier string, payload []byte) string {
	buf := make([]byte, 0, len(payload)+len(identifier)+len(typ)+48)
	return tokenOf(appendType(appendCore(buf, identifier, payload), typ))
}

// New makes a declaration of a payload, which must be canonical JSON.
func New(kind Kind, typ, identifier string, payload []byte) Declaration {
	buf := make([]byte, 0, len(payload)+len(identifier)+len(typ)+112)
	buf = appendCore(buf, identifier, payload)
	core := len(buf)
	token := tokenOf(appendType(buf, typ))
	buf = append(buf[:core], `,"ServerToken":"`...)
	buf = append(buf, token...)
	buf = append(buf, '"')
	return Declaration{Kind: kind, Type: typ, Identifier: identifier, ServerToken: token, Body: appendType(buf, typ)}
}

func compareItems(a, b Item) int {
	if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
		return c
	}
	return strings.Compare(a.Identifier, b.Identifier)
}

// SortItems brings items into the order of advertisements and manifests: by kind, then identifier.
func SortItems(items []Item) { slices.SortFunc(items, compareItems) }

// SortDeclarations brings declarations into the order of items.
func SortDeclarations(decls []Declaration) {
	slices.SortFunc(decls, func(a, b Declaration) int { return compareItems(a.Item(), b.Item()) })
}

// Item is the declaration as a manifest lists it.
func (d *Declaration) Item() Item {
	return Item{Kind: d.Kind, Identifier: d.Identifier, ServerToken: d.ServerToken}
}

// ItemsOf are the items of declarations, sorted.
func ItemsOf(decls []Declaration) []Item {
	items := make([]Item, len(decls))
	for i := range decls {
		items[i] = decls[i].Item()
	}
	SortItems(items)
	return items
}

// DeclarationsToken is the token of a set of declarations: SHA-256 over the sorted, length-prefixed (kind, identifier,
// ServerToken) triples, and the generation when it is above 0 (rules 7 and 10). The order of the items does not matter.
func DeclarationsToken(items []Item, generation uint64) string {
	if !slices.IsSortedFunc(items, compareItems) {
		items = slices.Clone(items)
		SortItems(items)
	}
	var room [1024]byte
	buf := room[:0]
	for i := range items {
		buf = appendPrefixed(buf, string(items[i].Kind))
		buf = appendPrefixed(buf, items[i].Identifier)
		buf = appendPrefixed(buf, items[i].ServerToken)
	}
	if generation > 0 {
		buf = appendPrefixed(buf, "generation")
		buf = binary.BigEndian.AppendUint64(buf, generation)
	}
	return tokenOf(buf)
}

func appendPrefixed(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// ItemsJSON is the answer to declaration-items: all four arrays are there, and none is null.
func ItemsJSON(items []Item, token string) []byte {
	buf := make([]byte, 0, 128+len(items)*128)
	buf = append(buf, `{"Declarations":{`...)
	for i, section := range [...]struct {
		key  string
		kind Kind
	}{
		{`"Activations":[`, KindActivation},
		{`"Assets":[`, KindAsset},
		{`"Configurations":[`, KindConfiguration},
		{`"Management":[`, KindManagement},
	} {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, section.key...)
		first := true
		for j := range items {
			if items[j].Kind != section.kind {
				continue
			}
			if !first {
				buf = append(buf, ',')
			}
			first = false
			buf = appendString(append(buf, `{"Identifier":`...), items[j].Identifier)
			buf = appendString(append(buf, `,"ServerToken":`...), items[j].ServerToken)
			buf = append(buf, '}')
		}
		buf = append(buf, ']')
	}
	buf = appendString(append(buf, `},"DeclarationsToken":`...), token)
	return append(buf, '}')
}

// TokensJSON is the answer to tokens, and the Data of a DeclarativeManagement command; ts is written in UTC, in whole seconds.
func TokensJSON(token string, ts time.Time) []byte {
	buf := make([]byte, 0, 96+len(token))
	buf = appendString(append(buf, `{"SyncTokens":{"DeclarationsToken":`...), token)
	buf = append(buf, `,"Timestamp":"`...)
	buf = ts.UTC().AppendFormat(buf, "2006-01-02T15:04:05Z")
	return append(buf, `"}}`...)
}

// ParsePath splits the endpoint of a declaration, "declaration/configuration/plimsoll.os-update", into its kind and
// identifier; ok is false for everything else.
func ParsePath(endpoint string) (kind Kind, identifier string, ok bool) {
	rest, ok := strings.CutPrefix(endpoint, "declaration/")
	if !ok {
		return "", "", false
	}
	k, identifier, ok := strings.Cut(rest, "/")
	if !ok || identifier == "" || strings.Contains(identifier, "/") {
		return "", "", false
	}
	switch kind = Kind(k); kind {
	case KindActivation, KindAsset, KindConfiguration, KindManagement:
		return kind, identifier, true
	}
	return "", "", false
}

// nothingSince is the Timestamp of the manifest that holds nothing: it never changes, so neither does this.
var nothingSince = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Nothing is the TokensResponse and the list of items of a channel that is never told anything, as JSON (rules 7).
func Nothing() (tokens, items []byte) {
	token := DeclarationsToken(nil, 0)
	return TokensJSON(token, nothingSince), ItemsJSON(nil, token)
}
