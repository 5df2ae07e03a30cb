// Package nano implements NanoMDM's storage interfaces on the small database contract.
package nano

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/micromdm/nanomdm/mdm"
	nanostorage "github.com/micromdm/nanomdm/storage"

	"plimsoll/storage"
)

// Store keeps NanoMDM's records. Everything of a device and its user channels is in one partition, so each message of
// a Mac is one commit. All its methods may be called concurrently, from any number of processes.
//
// An error wraps storage.ErrUnavailable when the database did not answer, storage.ErrInvalid for an id or a message
// that no Mac sends, storage.ErrNotFound for an enrolment that does not exist, storage.ErrConflict otherwise.
//
// Of the check-in messages it keeps what NanoMDM uses (see record), not their bytes.
type Store struct {
	db  storage.DB
	now func() time.Time
}

var _ interface {
	nanostorage.ServiceStore
	nanostorage.PushStore
	nanostorage.PushCertStore
	nanostorage.PushCertStorer
	nanostorage.CommandEnqueuer
	nanostorage.CertAuthStore
	nanostorage.CertAuthRetriever
	nanostorage.TokenUpdateTallyStore
} = (*Store)(nil)

// Option changes a Store that New makes.
type Option func(*Store)

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// New returns a Store over db, which the caller closes.
func New(db storage.DB, opts ...Option) *Store {
	s := &Store{db: db, now: time.Now}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// stamp is the time that records carry: UTC, in milliseconds.
func (s *Store) stamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// channel is one enrolment id taken apart: the device, and the user on a user channel.
type channel struct {
	id     string // as NanoMDM knows it: "DEVICE" or "DEVICE:USER"
	device string
	user   string
	isUser bool
}

const (
	maxDeviceID = 128
	maxUserID   = 512
)

// parseID takes an enrolment id apart at its first colon. Device ids are what Apple's are made of, since they name partitions.
func parseID(id string) (channel, error) {
	device, user, isUser := strings.Cut(id, ":")
	if !plain(device) {
		return channel{}, fmt.Errorf(
			"%w: enrolment id %q is not a device's identifier, optionally with a colon and a user's",
			storage.ErrInvalid,
			clip(id),
		)
	}
	if len(user) > maxUserID || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) {
		return channel{}, fmt.Errorf("%w: enrolment id %q: the user's part is too long or not text", storage.ErrInvalid, clip(id))
	}
	return channel{id: id, device: device, user: user, isUser: isUser}, nil
}

// requestChannel is parseID for the sender of a message. A device whose own identifier holds a colon would write into
// the partition of another one, so it is refused: on the device channel there is no colon, on a user channel the part
// before the first one is the parent.
func requestChannel(r *mdm.Request) (channel, error) {
	if r == nil || r.EnrollID == nil {
		return channel{}, fmt.Errorf("%w: the request carries no enrolment id", storage.ErrInvalid)
	}
	c, err := parseID(r.ID)
	if err != nil {
		return channel{}, err
	}
	if c.isUser != (r.ParentID != "") || c.isUser && c.device != r.ParentID {
		return channel{}, fmt.Errorf(
			"%w: enrolment id %q does not fit its device %q",
			storage.ErrInvalid,
			clip(r.ID),
			clip(r.ParentID),
		)
	}
	return c, nil
}

// deviceChannel is requestChannel for messages that exist on the device channel only.
func deviceChannel(r *mdm.Request) (channel, error) {
	c, err := requestChannel(r)
	if err == nil && c.isUser {
		return channel{}, fmt.Errorf("%w: %w", storage.ErrInvalid, nanostorage.ErrDeviceChannelOnly)
	}
	return c, err
}

// plain tells whether s may be part of a partition's name.
func plain(s string) bool {
	if s == "" || len(s) > maxDeviceID {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '.', b == '_':
		default:
			return false
		}
	}
	return true
}

// clip keeps what a stranger sent from filling a log line.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
