package wire

import (
	"encoding/json"
	"fmt"
	"time"

	"plimsoll/declarations"
)

// usualItems are the kinds of declarations that we send.
var usualItems = []string{string(declarations.KindActivation), string(declarations.KindConfiguration)}

// DecodeManifest reads a manifest; nil when there is none.
func DecodeManifest(b []byte) (*declarations.Manifest, error) {
	if b == nil {
		return nil, nil
	}
	m := new(declarations.Manifest)
	w := object{b: b, reads: true}
	w.readManifest(m)
	if w.whole() {
		return m, nil
	}
	*m = declarations.Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	return m, nil
}

func (w *object) readManifest(m *declarations.Manifest) {
	w.open()
	w.text("token", &m.DeclarationsToken)
	w.readTime("timestamp", &m.Timestamp)
	list(w, "items", &m.Items, func(item *declarations.Item) {
		w.open()
		w.text("k", (*string)(&item.Kind), usualItems...)
		w.text("i", &item.Identifier)
		w.text("t", &item.ServerToken)
		w.close()
	})
	w.readTime("served_at", &m.ServedAt)
	w.close()
}

func (w *object) readTime(key string, t *time.Time) {
	if !w.member(key) {
		return
	}
	from := w.at
	w.raw()
	if w.odd || t.UnmarshalJSON(w.b[from:w.at]) != nil {
		w.odd = true
	}
}
