package inventory

import (
	"cmp"
	"slices"
	"time"

	"plimsoll/storage"
)

// Mac is one enrolled Mac at a moment. Its record is decoded by whoever needs it.
type Mac struct {
	ID, Serial string
	data       []byte
}

// Record decodes the Mac's record.
func (m *Mac) Record() *storage.Record { return (&row{id: m.ID, data: m.data}).record() }

// Enrolled are the enrolled Macs, by id.
func (x *Index) Enrolled() []Mac {
	var macs []Mac
	x.scan(func(r *row) {
		if r.enrolled {
			macs = append(macs, Mac{r.id, r.serial, r.data})
		}
	})
	slices.SortFunc(macs, func(a, b Mac) int { return cmp.Compare(a.ID, b.ID) })
	return macs
}

// CountEnrolled is the number of enrolled Macs.
func (x *Index) CountEnrolled() (n int) {
	x.scan(func(r *row) {
		if r.enrolled {
			n++
		}
	})
	return n
}

// Due finds the enrolled Macs for which a boundary in time has passed since they were looked at: what they were notified of
// counts, unless a push is waiting. With all it returns the others too, in no order.
func (x *Index) Due(now time.Time, all bool, waiting func(id string) bool) (passed []string, rest []Mac) {
	unix := now.Unix()
	x.scan(func(r *row) {
		switch {
		case !r.enrolled:
		case r.boundaryPassed(unix), r.tell != 0 && r.tell <= unix && !waiting(r.id):
			passed = append(passed, r.id)
		case all:
			rest = append(rest, Mac{r.id, r.serial, r.data})
		}
	})
	return passed, rest
}

// Exempt are the enrolled Macs with an exemption that lasts at now, by id.
func (x *Index) Exempt(now time.Time) []Mac {
	var macs []Mac
	x.scan(func(r *row) {
		if r.enrolled && r.exempt > now.Unix() {
			macs = append(macs, Mac{r.id, r.serial, r.data})
		}
	})
	slices.SortFunc(macs, func(a, b Mac) int { return cmp.Compare(a.ID, b.ID) })
	return macs
}

// Outstanding are the enrolled Macs that were notified of what they have not fetched yet.
func (x *Index) Outstanding() []Mac {
	var macs []Mac
	x.scan(func(r *row) {
		if r.enrolled && r.tell != 0 {
			macs = append(macs, Mac{r.id, r.serial, r.data})
		}
	})
	return macs
}

// Records are the enrolled Macs' records, by number in the order of their ids.
func (x *Index) Records() (n int, record func(int) *storage.Record) {
	macs := x.Enrolled()
	return len(macs), func(i int) *storage.Record { return macs[i].Record() }
}
