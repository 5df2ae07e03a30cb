package declarations

import (
	"fmt"
	"time"
)

// Local is a wall-clock time without zone, in whole seconds, which each Mac reads as its own (rules 6). It counts seconds from
// 1970-01-01T00:00:00 on the wall. The zero value means "none"; its JSON is "2006-01-02T15:04:05", or null.
type Local int64

const localLayout = "2006-01-02T15:04:05"

const daySeconds = 24 * 3600

// Zones between which every wall clock lies: the first place where a wall-clock time arrives, and the last.
const (
	FirstZone = 14 * time.Hour
	LastZone  = -12 * time.Hour
)

// ParseLocal reads "2006-01-02T15:04:05": no zone, no fraction.
func ParseLocal(s string) (Local, error) {
	t, err := time.Parse(localLayout, s)
	if err != nil || len(s) != len(localLayout) {
		return 0, fmt.Errorf("%q is not a local time of the form 2026-12-01T12:00:00, without zone", s)
	}
	return Local(t.Unix()), nil
}

// LocalAt is what a wall clock at the given offset from UTC shows at t.
func LocalAt(t time.Time, offset time.Duration) Local {
	return Local(t.Add(offset).Unix())
}

// LocalIn is what a wall clock in loc shows at t.
func LocalIn(t time.Time, loc *time.Location) Local {
	_, off := t.In(loc).Zone()
	return Local(t.Unix() + int64(off))
}

// At is the instant at which a wall clock at the given offset from UTC shows l.
func (l Local) At(offset time.Duration) time.Time {
	return time.Unix(int64(l), 0).UTC().Add(-offset)
}

// In is the instant at which a wall clock in loc shows l. A wall time that the clock skips is moved forward by the skip,
// of one that it shows twice the first is meant (rules 14).
func (l Local) In(loc *time.Location) time.Time {
	wall := int64(l)
	// Every offset from UTC is shorter than a day, so these two are the ones before and after a change of the clock.
	_, before := time.Unix(wall-daySeconds, 0).In(loc).Zone()
	_, after := time.Unix(wall+daySeconds, 0).In(loc).Zone()
	first, second := int64(before), int64(after)
	if first < second {
		first, second = second, first
	}
	for _, offset := range [...]int64{first, second} {
		if t := time.Unix(wall-offset, 0).In(loc); LocalIn(t, loc) == l {
			return t
		}
	}
	return time.Unix(wall-int64(before), 0).In(loc)
}

// Add moves l by d, on the wall.
func (l Local) Add(d time.Duration) Local { return l + Local(d/time.Second) }

// String is "2006-01-02T15:04:05", empty for the zero value.
func (l Local) String() string {
	if l == 0 {
		return ""
	}
	return time.Unix(int64(l), 0).UTC().Format(localLayout)
}

// Append appends what String gives.
func (l Local) Append(dst []byte) []byte {
	if l == 0 {
		return dst
	}
	return time.Unix(int64(l), 0).UTC().AppendFormat(dst, localLayout)
}

// MarshalJSON writes "2006-01-02T15:04:05", or null for the zero value.
func (l Local) MarshalJSON() ([]byte, error) {
	if l == 0 {
		return []byte("null"), nil
	}
	return []byte(`"` + l.String() + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Local) UnmarshalJSON(b []byte) error {
	if string(b) == "null" || string(b) == `""` {
		*l = 0
		return nil
	}
	if len(b) < 2 || b[0] != '"' {
		return fmt.Errorf("local time %s is not a string", b)
	}
	v, err := ParseLocal(string(b[1 : len(b)-1]))
	if err != nil {
		return err
	}
	*l = v
	return nil
}
