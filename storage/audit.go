package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Note is an entry of the audit that stands beside the change it tells of, in the same partition and the same commit, until it
// stands in the chain.
type Note struct {
	ID    string // UUID version 7
	Entry []byte // JSON
}

// Notes are written with a change. Spent are the ids of older ones that stand in the chain and need not be kept.
type Notes struct {
	New   []Note
	Spent []string
}

func (n *Notes) write(tx Tx) {
	for _, id := range n.Spent {
		tx.Delete(noteKey(id))
	}
	for _, note := range n.New {
		tx.Set(noteKey(note.ID), note.Entry)
	}
}

// Note keeps entries of the audit with the change of the book.
func (t *BookTx) Note(n Notes) { n.write(t.tx) }

// Notes lists the notes of a partition, the oldest first.
func (s *Store) Notes(ctx context.Context, partition string) ([]Note, error) {
	var notes []Note
	err := s.db.View(ctx, partition, func(r Reader) error {
		notes = nil
		return each(r, prefixNote, func(e Entry) error {
			notes = append(notes, Note{e.Key[len(prefixNote):], e.Value})
			return nil
		})
	})
	return notes, err
}

// AuditHead is the end of the chain of the audit, and its beginning.
type AuditHead struct {
	N     uint64     `json:"n"`    // number of the last entry; 0: there is none
	Hash  string     `json:"hash"` // SHA-256 of its canonical JSON, hex
	At    time.Time  `json:"at,omitzero"`
	First AuditFirst `json:"first"` // what was before it was deleted with its retention
}

// AuditFirst names the first entry that is kept.
type AuditFirst struct {
	N        uint64 `json:"n"`
	Previous string `json:"previous"`
}

func noHead() AuditHead {
	zeros := strings.Repeat("0", 2*sha256.Size)
	return AuditHead{Hash: zeros, First: AuditFirst{1, zeros}}
}

// AuditTx changes the chain. Head is what it was before.
type AuditTx struct {
	Head AuditHead
	tx   Tx
}

// UpdateAudit changes the chain in one commit; fn may run more than once.
func (s *Store) UpdateAudit(ctx context.Context, fn func(*AuditTx) error) error {
	return s.db.Update(ctx, AuditPartition, func(tx Tx) error {
		t := &AuditTx{Head: noHead(), tx: tx}
		if _, err := getJSON(tx, keyHead, &t.Head); err != nil {
			return err
		}
		return fn(t)
	})
}

// Chained tells of each note whether it stands in the chain.
func (t *AuditTx) Chained(ids []string) ([]bool, error) { return chained(t.tx, ids) }

func chained(r Reader, ids []string) ([]bool, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = chainedKey(id)
	}
	there := make([]bool, len(ids))
	if len(ids) == 0 {
		return there, nil
	}
	vals, err := r.GetMany(keys...)
	for i, v := range vals {
		there[i] = v != nil
	}
	return there, err
}

// Append adds the entry after the head, and moves the head; id is that of the note it was, empty when it was none.
func (t *AuditTx) Append(entry []byte, hash, object string, at time.Time, id string) error {
	t.Head.N++
	t.Head.Hash, t.Head.At = hash, at
	t.tx.Set(entryKey(t.Head.N), entry)
	t.tx.Set(objectKey(object, t.Head.N), []byte{})
	if id != "" {
		t.tx.Set(chainedKey(id), strconv.AppendUint(nil, t.Head.N, 10))
	}
	return setJSON(t.tx, keyHead, t.Head)
}

// Oldest reads at most limit of the oldest entries.
func (t *AuditTx) Oldest(limit int) ([][]byte, error) {
	found, err := t.tx.List(prefixEntry, "", limit)
	return values(found), err
}

// Trim deletes the oldest entry, of that object. The one after it begins the chain.
func (t *AuditTx) Trim(object string, next AuditFirst) error {
	t.tx.Delete(entryKey(t.Head.First.N))
	t.tx.Delete(objectKey(object, t.Head.First.N))
	t.Head.First = next
	return setJSON(t.tx, keyHead, t.Head)
}

// ForgetChained lets the chain forget notes that stand in no partition any more.
func (t *AuditTx) ForgetChained(ids []string) {
	for _, id := range ids {
		t.tx.Delete(chainedKey(id))
	}
}

// ChainedNotes lists the notes that the chain remembers, the oldest first.
func (s *Store) ChainedNotes(ctx context.Context) (ids []string, err error) {
	err = s.db.View(ctx, AuditPartition, func(r Reader) error {
		ids = nil
		return each(r, prefixChained, func(e Entry) error {
			ids = append(ids, e.Key[len(prefixChained):])
			return nil
		})
	})
	return ids, err
}

// AuditHead reads where the chain ends.
func (s *Store) AuditHead(ctx context.Context) (AuditHead, error) {
	head := noHead()
	err := s.db.View(ctx, AuditPartition, func(r Reader) error {
		head = noHead()
		_, err := getJSON(r, keyHead, &head)
		return err
	})
	return head, err
}

// AuditAfter reads at most limit entries after the number, the oldest first.
func (s *Store) AuditAfter(ctx context.Context, after uint64, limit int) (entries [][]byte, err error) {
	err = s.db.View(ctx, AuditPartition, func(r Reader) error {
		found, err := r.List(prefixEntry, entryKey(after), limit)
		entries = values(found)
		return err
	})
	return entries, err
}

// AuditBefore reads at most limit entries before the number, the newest first; of the object, unless it is empty. before 0: from
// the head on.
func (s *Store) AuditBefore(ctx context.Context, object string, before uint64, limit int) (entries [][]byte, err error) {
	if before == 0 {
		before = ^uint64(0)
	}
	err = s.db.View(ctx, AuditPartition, func(r Reader) error {
		if object == "" {
			found, err := r.ListDesc(prefixEntry, entryKey(before), limit)
			entries = values(found)
			return err
		}
		prefix := objectPrefix(object)
		found, err := r.ListDesc(prefix, objectKey(object, before), limit)
		if err != nil || len(found) == 0 {
			entries = nil
			return err
		}
		keys := make([]string, len(found))
		for i, e := range found {
			keys[i] = prefixEntry + e.Key[len(prefix):]
		}
		entries, err = r.GetMany(keys...)
		return err
	})
	return entries, err
}

func values(entries []Entry) [][]byte {
	out := make([][]byte, len(entries))
	for i, e := range entries {
		out[i] = e.Value
	}
	return out
}

// Keys of the audit, and of notes in whatever partition a change is made.
const (
	keyHead       = "head"
	prefixEntry   = "n/"
	prefixObject  = "o/"
	prefixChained = "k/"
	prefixNote    = "audit/"
)

func noteKey(id string) string    { return prefixNote + id }
func chainedKey(id string) string { return prefixChained + id }
func entryKey(n uint64) string    { return fmt.Sprintf("%s%016x", prefixEntry, n) }

// objectPrefix is the same for all entries of an object; it has the hash of its name, which may hold anything.
func objectPrefix(object string) string {
	sum := sha256.Sum256([]byte(object))
	return prefixObject + hex.EncodeToString(sum[:8]) + "/"
}

func objectKey(object string, n uint64) string {
	return fmt.Sprintf("%s%016x", objectPrefix(object), n)
}
