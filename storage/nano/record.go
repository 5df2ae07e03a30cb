package nano

import (
	"encoding/json"
	"fmt"
	"time"

	"plimsoll/storage"
)

// record is what is kept of one enrolment, device or user channel.
type record struct {
	Type    string `json:"type"` // as mdm.EnrollType prints it
	Enabled bool   `json:"enabled"`
	Tally   int    `json:"tally,omitempty"` // TokenUpdates since the last Authenticate or CheckOut
	Serial  string `json:"serial,omitempty"`

	// What a push needs. All three are secrets of the Mac and its server.
	Topic string `json:"topic,omitempty"`
	Magic string `json:"magic,omitempty"`
	Token []byte `json:"token,omitempty"`

	AuthenticatedAt time.Time `json:"authenticated_at,omitzero"` // of a device, in this life; zero after it
	EnrolledAt      time.Time `json:"enrolled_at,omitzero"`      // the first TokenUpdate of this life
	TokenAt         time.Time `json:"token_at,omitzero"`         // the last TokenUpdate
	UserAuthAt      time.Time `json:"user_auth_at,omitzero"`
}

// disable ends the enrolment, until the next TokenUpdate of a user or Authenticate of a device, and tells whether that changed
// anything.
func (rec *record) disable() bool {
	if !rec.Enabled && rec.Tally == 0 {
		return false
	}
	rec.Enabled, rec.Tally, rec.AuthenticatedAt = false, 0, time.Time{}
	return true
}

// decode reads a stored JSON value into v, which stays as it is when there is no such value.
func decode(key string, val []byte, v any) error {
	if val == nil {
		return nil
	}
	if err := json.Unmarshal(val, v); err != nil {
		return fmt.Errorf("the stored value of %s is damaged: %w", key, err)
	}
	return nil
}

func set(tx storage.Tx, key string, v any) error {
	val, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	tx.Set(key, val)
	return nil
}

// page is how many entries are listed at once. The keys of a Mac without user channels fit into one.
const page = 64

// each calls fn for every entry whose key begins with prefix, in ascending order, until fn returns false.
func each(r storage.Reader, prefix string, fn func(storage.Entry) (bool, error)) error {
	after := ""
	for {
		entries, err := r.List(prefix, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if more, err := fn(e); err != nil || !more {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
		after = entries[len(entries)-1].Key
	}
}

func deleteAll(tx storage.Tx, prefix string) error {
	return each(tx, prefix, func(e storage.Entry) (bool, error) {
		tx.Delete(e.Key)
		return true, nil
	})
}
