package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage/wire"
)

// Mac reads one Mac's partition.
type Mac struct {
	id string
	r  Reader
}

// MacTx reads and writes one Mac's partition.
type MacTx struct {
	Mac
	tx Tx
}

// State is the hot part of a Mac's partition, read in one round trip. Record is nil when the Mac is not known.
type State struct {
	Record   *Record
	Status   status.Merged
	Manifest *declarations.Manifest // nil: never synced in this life
	Identity *status.Identity       // nil: not known
	Failure  *status.CommandFailure // nil: the Mac takes its commands
	Commands *command.State         // nil: nothing is remembered
}

// ViewMac reads the partition of a Mac; fn may run more than once.
func (s *Store) ViewMac(ctx context.Context, id string, fn func(*Mac) error) error {
	return s.db.View(ctx, MacPartition(id), func(r Reader) error { return fn(&Mac{id: id, r: r}) })
}

// UpdateMac changes the partition of a Mac in one commit; fn may run more than once.
func (s *Store) UpdateMac(ctx context.Context, id string, fn func(*MacTx) error) error {
	return s.db.Update(ctx, MacPartition(id), func(tx Tx) error { return fn(&MacTx{Mac: Mac{id: id, r: tx}, tx: tx}) })
}

// DropMac deletes everything that is kept of a Mac.
func (s *Store) DropMac(ctx context.Context, id string) error {
	return s.db.Drop(ctx, MacPartition(id))
}

// Raw reads the Mac's record as it is kept; nil when the Mac is not known.
func (m *Mac) Raw() ([]byte, error) { return m.r.Get(keyRecord) }

// Record reads the Mac's record; nil when the Mac is not known.
func (m *Mac) Record() (*Record, error) {
	b, err := m.Raw()
	if err != nil || b == nil {
		return nil, err
	}
	return DecodeRecord(b)
}

// State reads all of it.
func (m *Mac) State() (State, error) {
	vals, err := m.r.GetMany(keyRecord, keyStatus, keyManifest, keyIdentity, keyFailure, keyExceptions, keyCommands)
	if err != nil {
		return State{}, err
	}
	var st State
	if vals[0] != nil {
		if st.Record, err = DecodeRecord(vals[0]); err != nil {
			return State{}, err
		}
	}
	if err := tellWhys(st.Record, vals[5]); err != nil {
		return State{}, err
	}
	if vals[1] != nil {
		if st.Status, err = status.DecodeMerged(vals[1]); err != nil {
			return State{}, fmt.Errorf("decode the merged status of %s: %w", m.id, err)
		}
	}
	if st.Identity, err = decodeAs[status.Identity](keyIdentity, vals[3]); err != nil {
		return State{}, err
	}
	if st.Failure, err = decodeAs[status.CommandFailure](keyFailure, vals[4]); err != nil {
		return State{}, err
	}
	if st.Commands, err = decodeAs[command.State](keyCommands, vals[6]); err != nil {
		return State{}, err
	}
	st.Manifest, err = wire.DecodeManifest(vals[2])
	return st, err
}

// decodeAs reads a JSON value; nil when there is none.
func decodeAs[T any](key string, b []byte) (*T, error) {
	if b == nil {
		return nil, nil
	}
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("decode %s: %w", key, err)
	}
	return v, nil
}

// Manifest reads the manifest that was served last; nil when there is none.
func (m *Mac) Manifest() (*declarations.Manifest, error) {
	b, err := m.r.Get(keyManifest)
	if err != nil {
		return nil, err
	}
	return wire.DecodeManifest(b)
}

// ManifestAt reads the manifest that the Mac held at a time; nil when it held none.
func (m *Mac) ManifestAt(when time.Time) (*declarations.Manifest, error) {
	entries, err := m.r.ListDesc(prefixManifests, manifestKey(when.Add(1)), 1)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	man, err := wire.DecodeManifest(entries[0].Value)
	if man != nil && man.DeclarationsToken == "" {
		return nil, err // a new life began: it held nothing
	}
	return man, err
}

// Body reads the declaration that was served under a token; nil when it is not kept.
func (m *Mac) Body(serverToken string) ([]byte, error) { return m.r.Get(bodyKey(serverToken)) }

// Bodies reads the declarations that were served under the tokens.
func (m *Mac) Bodies(serverTokens []string) ([][]byte, error) {
	keys := make([]string, len(serverTokens))
	for i, t := range serverTokens {
		keys[i] = bodyKey(t)
	}
	return m.r.GetMany(keys...)
}

// KeptReport is a raw status report with what was noticed about it.
type KeptReport struct {
	Number     int       `json:"n"`
	ReceivedAt time.Time `json:"at"`
	Full       bool      `json:"full,omitempty"`
	Odd        []string  `json:"odd,omitempty"`
	// Body is the report as it came, without secrets.
	Body json.RawMessage `json:"body"`
}

// Reports reads the kept raw reports, newest first.
func (m *Mac) Reports() ([]KeptReport, error) {
	var reports []KeptReport
	err := readAll(m.r, prefixReports, &reports)
	sort.Slice(reports, func(i, j int) bool { return reports[i].Number > reports[j].Number })
	return reports, err
}

// Events reads at most limit events of the Mac, newest first, older than the event "before" ("" for the newest).
func (m *Mac) Events(before string, limit int) ([]compliance.Event, error) {
	if before != "" {
		before = eventKey(before)
	}
	entries, err := m.r.ListDesc(prefixEvents, before, limit)
	if err != nil {
		return nil, err
	}
	events := make([]compliance.Event, len(entries))
	for i, e := range entries {
		if err := json.Unmarshal(e.Value, &events[i]); err != nil {
			return nil, fmt.Errorf("decode %s: %w", e.Key, err)
		}
	}
	return events, nil
}

// Tx is the transaction itself, for records that are not ours (the command queue).
func (m *MacTx) Tx() Tx { return m.tx }

// SetRecord keeps the Mac's record, and returns it as it is kept, which must not be changed.
func (m *MacTx) SetRecord(r *Record) ([]byte, error) {
	b, err := r.Encode()
	if err != nil {
		return nil, err
	}
	m.tx.Set(keyRecord, b)
	return b, nil
}

// SetIdentity keeps what is known of the Mac's certificate.
func (m *MacTx) SetIdentity(i *status.Identity) error { return setJSON(m.tx, keyIdentity, i) }

// SetFailure keeps the last command that the Mac refused; nil: it takes its commands.
func (m *MacTx) SetFailure(f *status.CommandFailure) error { return setOrDelete(m.tx, keyFailure, f) }

// SetCommands keeps what is told to the Mac by command; nil: nothing.
func (m *MacTx) SetCommands(s *command.State) error { return setOrDelete(m.tx, keyCommands, s) }

func setOrDelete[T any](tx Tx, key string, v *T) error {
	if v == nil {
		tx.Delete(key)
		return nil
	}
	return setJSON(tx, key, v)
}

// SetStatus keeps the merged status.
func (m *MacTx) SetStatus(s status.Merged) { m.tx.Set(keyStatus, s.Encode()) }

// SetManifest keeps the manifest that is served now, its place in the history, and the bodies that belong to it.
func (m *MacTx) SetManifest(man *declarations.Manifest, bodies []declarations.Declaration) error {
	if err := setJSON(m.tx, keyManifest, man); err != nil {
		return err
	}
	if err := setJSON(m.tx, manifestKey(man.ServedAt), man); err != nil {
		return err
	}
	for i := range bodies {
		m.tx.Set(bodyKey(bodies[i].ServerToken), bodies[i].Body)
	}
	return nil
}

// ClearLife deletes merged status, manifest and the reasons of exceptions; the history keeps that from now on the Mac holds
// nothing.
func (m *MacTx) ClearLife(now time.Time) error {
	m.tx.Delete(keyStatus)
	m.tx.Delete(keyExceptions)
	held, err := m.r.Get(keyManifest)
	if err != nil || held == nil {
		return err
	}
	m.tx.Delete(keyManifest)
	return setJSON(m.tx, manifestKey(now), declarations.Manifest{ServedAt: now})
}

// AddReport keeps a raw report as one of the last keep ones (keep >= 1), without a look at the others: after keep was lowered,
// Trim deletes those that are too many.
func (m *MacTx) AddReport(r KeptReport, keep int) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	m.tx.Set(reportKey(r.Number), b)
	if r.Number > keep {
		m.tx.Delete(reportKey(r.Number - keep))
	}
	return nil
}

// encode writes the report with its body as it is: it has been read already, so that it need not be looked through again.
func (r KeptReport) encode() ([]byte, error) {
	body := r.Body
	if len(body) == 0 {
		return json.Marshal(r)
	}
	const stand = "0"
	r.Body = json.RawMessage(stand)
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode report %d: %w", r.Number, err)
	}
	b = b[:len(b)-len(stand+"}")] // the body is the last field
	b = append(slices.Grow(b, len(body)+1), body...)
	return append(b, '}'), nil
}

// AddEvents keeps events.
func (m *MacTx) AddEvents(events []compliance.Event) error {
	for i := range events {
		if err := setJSON(m.tx, eventKey(events[i].ID), events[i]); err != nil {
			return err
		}
	}
	return nil
}

// Limits says what is kept of a Mac.
type Limits struct {
	Reports      int       // how many raw reports
	EventsAfter  time.Time // events older than that are deleted
	HistoryAfter time.Time // manifests that were replaced before that are deleted, with the bodies that nothing refers to any more
	MaxEvents    int       // how many events at most
	// PatchingFrom is the day from which on the course of versions is kept; 0: for ever.
	PatchingFrom release.Day
}

// Records reads the records of many Macs in few round trips; nil for those that are not known.
func (s *Store) Records(ctx context.Context, ids []string) ([]*Record, error) {
	partitions := make([]string, len(ids))
	for i, id := range ids {
		partitions[i] = MacPartition(id)
	}
	vals, err := s.db.Collect(ctx, partitions, keyRecord)
	if err != nil {
		return nil, err
	}
	records := make([]*Record, len(ids))
	var odd []error
	for i, v := range vals {
		if v == nil {
			continue
		}
		if records[i], err = DecodeRecord(v); err != nil {
			odd = append(odd, fmt.Errorf("%s: %w", ids[i], err))
		}
	}
	return records, errors.Join(odd...)
}
