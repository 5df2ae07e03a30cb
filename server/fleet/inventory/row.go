package inventory

import (
	"encoding/binary"
	"time"

	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// row is a Mac in memory: what counting and filtering need side by side, so that 100,000 are looked through in a millisecond.
type row struct {
	moments         compliance.Moments
	contact         int64  // last contact known on this replica; times are seconds since 1970, 0: none
	deadline        int64  // on the wall; 0: none
	next            int64  // when the plan can change by time alone
	looked          int64  // when the Mac was last judged
	exempt          int64  // when the Mac's exemption ends; 0: it has none
	raised          int64  // when the server itself last raised the generation
	tell            int64  // when what the Mac was told is not outstanding any more; 0: nothing is
	revision        int64  // of the record
	seen            int64  // the last contact before the snapshot of that number; 0: there was none
	snapshot        uint32 // the last one since which the Mac was in contact
	prefix          uint64 // the beginning of the id, for comparing without looking at it
	policy, version uint32
	ca, topic       uint32 // of the identity, of pushes
	identityEnds    int64
	life            int32
	enrolled        bool
	pending         bool // a target is declared, and nothing failed
	compliant       bool
	foreign         bool // it is no Mac
	watched         bool // it has a reason that concerns an admin although it may be compliant
	codeStale       bool
	codeUntil       int64  // until when code is the most decisive reason, if the catalogue is as stale as codeStale says
	code            string // empty: none
	id, serial      string
	name, model     string
	data            []byte // the encoded record; nil: the row is not used
}

// record decodes the Mac's record. What is in the index was encoded here, so that it can be decoded.
func (r *row) record() *storage.Record {
	rec, err := storage.DecodeRecord(r.data)
	if err != nil {
		return &storage.Record{Facts: status.Facts{ID: r.id}}
	}
	return rec
}

// newRow is a row for a record and its encoding, but for what depends on the index.
func newRow(rec *storage.Record, data []byte) row {
	f, s := &rec.Facts, &rec.Summary
	r := row{
		moments: s.Moments(f), deadline: int64(s.Deadline), next: seconds(rec.NextAt), looked: seconds(rec.LookedAt),
		raised:   seconds(rec.RaisedAt),
		revision: rec.Revision, life: int32(rec.Life), enrolled: f.Enrolled, pending: s.State == compliance.Pending,
		compliant: s.State == compliance.Compliant,
		contact:   seconds(f.LastContactAt), model: f.Model, data: data,
		identityEnds: seconds(f.IdentityEnds),
		foreign:      !f.IsMac(), watched: !f.RefusedAt.IsZero() || f.Contradicted || f.Conflict,
	}
	// One string holds them all: the fewer there are, the less the garbage collector has to look through.
	texts := f.ID + f.Serial + f.Name
	r.id, r.serial, r.name = texts[:len(f.ID)], texts[len(f.ID):len(f.ID)+len(f.Serial)], texts[len(f.ID)+len(f.Serial):]
	if rec.Exemption != nil {
		r.exempt = seconds(rec.Exemption.Until)
	}
	if rec.Told != "" && rec.Told != rec.Manifest {
		r.tell = rec.ToldAt.Add(storage.Patience(rec.Tries)).Unix()
	}
	var begin [8]byte
	copy(begin[:], r.id)
	r.prefix = binary.BigEndian.Uint64(begin[:])
	return r
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// boundaryPassed tells whether an instant has passed since the Mac was looked at, at which something changes by time alone.
func (r *row) boundaryPassed(now int64) bool {
	return r.next != 0 && r.next > r.looked && r.next <= now || r.moments.Passed(r.looked, now) ||
		r.moments.WentStale(r.raised, now)
}
