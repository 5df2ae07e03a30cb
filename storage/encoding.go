package storage

// This file is how a record's values are written in few bytes.

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage/wire"
)

// Times are seconds since 2025-01-01 in the database, 1 stands for the time at which the Mac was looked at, 0 for none.
const (
	epoch  = 1735689600
	looked = 1
)

// clock writes and reads the times of one record.
type clock struct{ looked time.Time }

func (c clock) put(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Equal(c.looked):
		return looked
	}
	if s := t.Unix() - epoch; s != 0 && s != looked {
		return s
	}
	return looked + 1
}

func (c clock) get(s int64) time.Time {
	switch s {
	case 0:
		return time.Time{}
	case looked:
		return c.looked
	}
	return time.Unix(s+epoch, 0).UTC()
}

// deadlineToo stands for the summary's deadline where another wall-clock time is the same.
const deadlineToo = 1

func putLocal(l, deadline declarations.Local) int64 {
	if l != 0 && l == deadline {
		return deadlineToo
	}
	return int64(l)
}

func getLocal(n int64, deadline declarations.Local) declarations.Local {
	if n == deadlineToo {
		return deadline
	}
	return declarations.Local(n)
}

func bit(on bool, b int) int {
	if on {
		return b
	}
	return 0
}

func same(token, advertised string) string {
	if token != "" && token == advertised {
		return "="
	}
	return token
}

func unsame(token, advertised string) string {
	if token == "=" {
		return advertised
	}
	return token
}

// putOverdue leaves out what the deadline read in UTC says too.
func putOverdue(c clock, s *compliance.Summary) int64 {
	if s.Deadline != 0 && s.OverdueAt.Equal(s.Deadline.At(0)) {
		return -1
	}
	return c.put(s.OverdueAt)
}

func getOverdue(c clock, n int64, deadline declarations.Local) time.Time {
	if n == -1 {
		return deadline.At(0)
	}
	return c.get(n)
}

// wireStates are the states by the number that stands for them in the database. States are only ever appended.
var wireStates = []compliance.State{
	compliance.Unmanaged, compliance.Unknown, compliance.Unsupported, compliance.Held, compliance.Incompatible, compliance.Failing,
	compliance.Overdue, compliance.Pending, compliance.Compliant, compliance.Exempt,
}

func truth(t status.Truth, no, yes int) int {
	return bit(t == status.No, no) | bit(t == status.Yes, yes)
}

func truthOf(bits, no, yes int) status.Truth {
	switch {
	case bits&yes != 0:
		return status.Yes
	case bits&no != 0:
		return status.No
	}
	return status.NotKnown
}

// toldNone stands for a lane that has a target and was never advertised.
const toldNone = "-"

// toldBeside is what was advertised last in a lane, as it stands beside its target.
func toldBeside(s plan.LaneState) string {
	switch {
	case s.Told == s.Target:
		return ""
	case s.Told == "":
		return toldNone
	}
	return s.Told
}

// toldOf reads what toldBeside writes. Of a record that knows no such member the last target counts.
func toldOf(l wire.Lane) string {
	switch l.Told {
	case "":
		return l.Target
	case toldNone:
		return ""
	}
	return l.Told
}
