// Package beside keeps what belongs to a Mac whose MDM is another server (rules 16): the dates of its life as that server gave
// them, and the commands that are queued there in our name.
package beside

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"plimsoll/storage"
)

// Keys of a Mac's partition (see storage/doc.go).
const (
	keyLife     = "bl"
	keyCommands = "bq"
)

// Life is what tells one life of a Mac from the next. Its times are those at which the other server made its events; they are
// compared with each other and with nothing else.
type Life struct {
	Began time.Time `json:"began,omitzero"` // of the event that began this life; zero: something without a date did
	Ended time.Time `json:"ended,omitzero"` // of the last CheckOut that counted; zero: none did
	// Over: the Mac has checked out and did not come back.
	Over bool `json:"over,omitempty"`
	// Told: the Authenticate of this life was taken.
	Told bool `json:"told,omitempty"`
	// Generation is the last one of a Mac that was deleted here (rules 10): it may come back with the token that it had.
	Generation uint64 `json:"gen,omitempty"`
}

// ReadLife reads the dates of a Mac's life; the zero value when nothing is kept.
func ReadLife(r storage.Reader) (Life, error) {
	var l Life
	b, err := r.Get(keyLife)
	if err == nil && b != nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		return Life{}, fmt.Errorf("read %s: %w", keyLife, err)
	}
	return l, nil
}

// SetLife keeps the dates of a Mac's life.
func SetLife(tx storage.Tx, l Life) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode %s: %w", keyLife, err)
	}
	tx.Set(keyLife, b)
	return nil
}

// Command is a command of ours that the other server has, or is to get.
type Command struct {
	UUID        string    `json:"uuid"`
	RequestType string    `json:"type"`
	Raw         []byte    `json:"raw"` // the property list that the Mac gets
	At          time.Time `json:"at"`  // when it was made, UTC
	// Sent is when the other server was known to have it; zero: it is to be sent, or it is not known whether it arrived.
	Sent time.Time `json:"sent,omitzero"`
	// Seen: the Mac came for its declaration-items since, so that the command does not wait any more. Its answer still counts.
	Seen bool `json:"seen,omitempty"`
}

// Waits tells whether the command is on its way to the Mac: it is not answered, the Mac did not come since, and it is younger
// than a day (rules 16).
func (c *Command) Waits(now time.Time) bool { return !c.Seen && now.Sub(c.At) < 24*time.Hour }

// maxCommands is how many commands of one Mac are remembered; a Mac that is away for longer than they reach may answer older
// ones, and those answers count for nothing.
const maxCommands = 100

// Commands reads the commands that the Mac has not answered, oldest first.
func Commands(r storage.Reader) ([]Command, error) {
	b, err := r.Get(keyCommands)
	if err != nil || b == nil {
		return nil, err
	}
	var list []Command
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", keyCommands, err)
	}
	return list, nil
}

// SetCommands keeps the commands that the Mac has not answered.
func SetCommands(tx storage.Tx, list []Command) error {
	if len(list) == 0 {
		tx.Delete(keyCommands)
		return nil
	}
	if over := len(list) - maxCommands; over > 0 {
		list = list[over:]
	}
	b, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encode %s: %w", keyCommands, err)
	}
	tx.Set(keyCommands, b)
	return nil
}

// Add adds a command.
func Add(tx storage.Tx, c Command) error {
	list, err := Commands(tx)
	if err != nil {
		return err
	}
	return SetCommands(tx, append(list, c))
}

// Change changes each of the Mac's commands, or drops those for which change returns false.
func Change(tx storage.Tx, change func(*Command) (keep bool)) error {
	list, err := Commands(tx)
	if err != nil || len(list) == 0 {
		return err
	}
	kept := slices.Clone(list)[:0]
	for _, c := range list {
		if change(&c) {
			kept = append(kept, c)
		}
	}
	return SetCommands(tx, kept)
}

// Forget drops the commands: the other server clears its queue when a Mac enrols.
func Forget(tx storage.Tx) { tx.Delete(keyCommands) }

// Unsent are the Macs of those that are given for which a command is still to be sent.
func Unsent(partitions [][]byte, ids []string) []string {
	var unsent []string
	for i, b := range partitions {
		var list []Command
		if b == nil || json.Unmarshal(b, &list) != nil {
			continue
		}
		if slices.ContainsFunc(list, func(c Command) bool { return c.Sent.IsZero() }) {
			unsent = append(unsent, ids[i])
		}
	}
	return unsent
}

// KeyCommands is the key under which the commands stand, for storage.DB's Collect.
const KeyCommands = keyCommands
