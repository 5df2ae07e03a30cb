package nano

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage"
)

// errNotEnrolled: the device never authenticated here, or was forgotten.
var errNotEnrolled = fmt.Errorf("%w: this device is not enrolled", storage.ErrNotFound)

// StoreAuthenticate begins a new enrolment of a device: its record starts anew, disabled until its TokenUpdate; the
// bootstrap and unlock tokens and its user channels go; all queues are cleared. One commit.
func (s *Store) StoreAuthenticate(r *mdm.Request, msg *mdm.Authenticate) error {
	c, err := deviceChannel(r)
	if err == nil {
		err = short("SerialNumber", len(msg.SerialNumber), maxText)
	}
	if err != nil {
		return fmt.Errorf("storing Authenticate: %w", err)
	}
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		err := each(tx, keyPrefix, func(e storage.Entry) (bool, error) {
			switch {
			case e.Key >= keyResults: // answers are history
				return false, nil
			case e.Key == keyBootstrap, e.Key == keyUnlock, isQueueKey(e.Key), isUserEnrolment(e.Key):
				tx.Delete(e.Key)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		return set(tx, keyEnrolment, record{
			Type:            r.Type.String(),
			Serial:          msg.SerialNumber,
			AuthenticatedAt: s.stamp(),
		})
	})
	return wrap(err, "storing Authenticate of %s", c.id)
}

// StoreTokenUpdate enables an enrolment and keeps what a push to it needs. One commit. A device has to have
// authenticated before, so that one that was forgotten or checked out does not come back by a late message.
func (s *Store) StoreTokenUpdate(r *mdm.Request, msg *mdm.TokenUpdate) error {
	c, err := requestChannel(r)
	if err == nil {
		err = cmp.Or(short("Topic", len(msg.Topic), maxText), short("PushMagic", len(msg.PushMagic), maxText),
			short("Token", len(msg.Token), maxText), short("UnlockToken", len(msg.UnlockToken), maxEscrow))
	}
	if err != nil {
		return fmt.Errorf("storing TokenUpdate: %w", err)
	}
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		rec, err := readRecord(tx, c)
		if err != nil {
			return err
		}
		now := s.stamp()
		if rec.Tally == 0 {
			rec.EnrolledAt = now
		}
		rec.Type, rec.Enabled, rec.TokenAt = r.Type.String(), true, now
		rec.Tally++
		rec.Topic, rec.Magic, rec.Token = msg.Topic, msg.PushMagic, msg.Token
		if len(msg.UnlockToken) > 0 && !c.isUser { // later TokenUpdates may lack it
			tx.Set(keyUnlock, msg.UnlockToken)
		}
		return set(tx, c.enrolmentKey(), rec)
	})
	return wrap(err, "storing TokenUpdate of %s", c.id)
}

// Disable ends an enrolment. A user channel and its queue go; of a device all user channels, all queues, the bootstrap and the
// unlock token go, and the record stays, disabled. Nothing is written when there is nothing to end, as after StoreAuthenticate.
func (s *Store) Disable(r *mdm.Request) error {
	c, err := requestChannel(r)
	if err != nil {
		return fmt.Errorf("disabling an enrolment: %w", err)
	}
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		if c.isUser {
			val, err := tx.Get(c.enrolmentKey())
			if err != nil || val == nil {
				return err
			}
			tx.Delete(c.enrolmentKey())
			return deleteAll(tx, c.queuePrefix())
		}
		return each(tx, keyPrefix, func(e storage.Entry) (bool, error) {
			switch {
			case e.Key == keyEnrolment:
				return true, disableEntry(tx, e)
			case e.Key == keyBootstrap, e.Key == keyUnlock, isUserEnrolment(e.Key), isQueueKey(e.Key):
				tx.Delete(e.Key)
			}
			return e.Key < keyResults, nil
		})
	})
	return wrap(err, "disabling %s", c.id)
}

// StoreUserAuthenticate notes that a user asks to be managed. The user channel is not valid before its TokenUpdate.
func (s *Store) StoreUserAuthenticate(r *mdm.Request, _ *mdm.UserAuthenticate) error {
	c, err := requestChannel(r)
	if err == nil && !c.isUser {
		err = fmt.Errorf("%w: it came on the device channel", storage.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("storing UserAuthenticate: %w", err)
	}
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		rec, err := readRecord(tx, c)
		if err != nil {
			return err
		}
		rec.disable()
		rec.Type, rec.UserAuthAt = r.Type.String(), s.stamp()
		return set(tx, c.enrolmentKey(), rec)
	})
	return wrap(err, "storing UserAuthenticate of %s", c.id)
}

// RetrieveTokenUpdateTally counts the TokenUpdates of id since its last Authenticate or CheckOut; 0 for an unknown id.
func (s *Store) RetrieveTokenUpdateTally(ctx context.Context, id string) (int, error) {
	c, err := parseID(id)
	if err != nil {
		return 0, fmt.Errorf("retrieving the TokenUpdate tally: %w", err)
	}
	var rec record
	err = s.view(ctx, c.partition(), c.enrolmentKey(), func(val []byte) error {
		rec = record{}
		return decode(c.enrolmentKey(), val, &rec)
	})
	return rec.Tally, wrap(err, "retrieving the TokenUpdate tally of %s", c.id)
}

// StoreBootstrapToken keeps a device's escrowed token; an empty one takes it back, which is Apple's meaning.
func (s *Store) StoreBootstrapToken(r *mdm.Request, msg *mdm.SetBootstrapToken) error {
	c, err := deviceChannel(r)
	if err == nil {
		err = short("BootstrapToken", len(msg.BootstrapToken.BootstrapToken), maxEscrow)
	}
	if err != nil {
		return fmt.Errorf("storing a bootstrap token: %w", err)
	}
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		vals, err := tx.GetMany(keyEnrolment, keyBootstrap)
		if err != nil {
			return err
		}
		switch token := []byte(msg.BootstrapToken.BootstrapToken); {
		case vals[0] == nil:
			return errNotEnrolled
		case string(token) == string(vals[1]):
		case len(token) == 0:
			tx.Delete(keyBootstrap)
		default:
			tx.Set(keyBootstrap, token)
		}
		return nil
	})
	return wrap(err, "storing the bootstrap token of %s", c.id)
}

// RetrieveBootstrapToken returns the escrowed token, nil when there is none.
func (s *Store) RetrieveBootstrapToken(r *mdm.Request, _ *mdm.GetBootstrapToken) (*mdm.BootstrapToken, error) {
	c, err := deviceChannel(r)
	if err != nil {
		return nil, fmt.Errorf("retrieving a bootstrap token: %w", err)
	}
	var token *mdm.BootstrapToken
	err = s.view(r.Context(), c.partition(), keyBootstrap, func(val []byte) error {
		token = nil
		if val != nil {
			token = &mdm.BootstrapToken{BootstrapToken: val}
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "retrieving the bootstrap token of %s", c.id)
	}
	return token, nil
}

// The bounds of what is kept of check-in messages. Apple's tokens have 32 bytes, PushMagic is a UUID, a bootstrap token has about
// 1 KB.
const (
	maxText     = 256      // bytes of a text
	maxEscrow   = 64 << 10 // bytes of a token that is kept for the Mac
	maxChannels = 20       // user channels of one device
)

// short refuses a value that is longer than any Mac sends.
func short(name string, n, limit int) error {
	if n <= limit {
		return nil
	}
	return fmt.Errorf("%w: %s has %d bytes, more than %d", storage.ErrInvalid, name, n, limit)
}

// readRecord reads the record of c, an empty one for a user who is not known yet. The device has to have authenticated, and to
// have fewer than maxChannels other user channels.
func readRecord(tx storage.Tx, c channel) (record, error) {
	vals, err := tx.GetMany(keyEnrolment, c.enrolmentKey())
	if err != nil {
		return record{}, err
	}
	var device, rec record
	if err := decode(keyEnrolment, vals[0], &device); err != nil {
		return record{}, err
	}
	if device.AuthenticatedAt.IsZero() {
		return record{}, errNotEnrolled
	}
	if c.isUser && vals[1] == nil {
		users, err := tx.List(keyEnrolment+":", "", maxChannels)
		if err != nil {
			return record{}, err
		}
		if len(users) == maxChannels && isUserEnrolment(users[maxChannels-1].Key) {
			return record{}, fmt.Errorf("%w: the device has %d user channels already", storage.ErrInvalid, maxChannels)
		}
	}
	return rec, decode(c.enrolmentKey(), vals[1], &rec)
}

func disableEntry(tx storage.Tx, e storage.Entry) error {
	var rec record
	if err := decode(e.Key, e.Value, &rec); err != nil {
		return err
	}
	if !rec.disable() {
		return nil
	}
	return set(tx, e.Key, rec)
}

func isUserEnrolment(key string) bool { return strings.HasPrefix(key, keyEnrolment+":") }

func isQueueKey(key string) bool { return strings.HasPrefix(key, keyQueues) }

// view reads one key. fn may run more than once.
func (s *Store) view(ctx context.Context, partition, key string, fn func(val []byte) error) error {
	return s.db.View(ctx, partition, func(r storage.Reader) error {
		val, err := r.Get(key)
		if err != nil {
			return err
		}
		return fn(val)
	})
}

// wrap says what was tried; the kind of err stays.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
