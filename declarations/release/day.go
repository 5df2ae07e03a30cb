package release

import (
	"fmt"
	"time"
)

// Day is a calendar day in UTC, counted from 1970-01-01; Apple's posting dates are such days (rules 6).
// The zero value means "not known". Its JSON is "2006-01-02", or null.
type Day int32

// ParseDay reads "2006-01-02".
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("date %q is not of the form 2006-01-02", s)
	}
	return DayOf(t), nil
}

// DayOf is the day in UTC on which t falls.
func DayOf(t time.Time) Day {
	s := t.Unix()
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return Day(d)
}

// Time is the beginning of the day in UTC.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String is "2006-01-02", empty for the zero value.
func (d Day) String() string {
	if d == 0 {
		return ""
	}
	return d.Time().Format(time.DateOnly)
}

// MarshalJSON writes "2006-01-02", or null for the zero value.
func (d Day) MarshalJSON() ([]byte, error) {
	if d == 0 {
		return []byte("null"), nil
	}
	return []byte(`"` + d.String() + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Day) UnmarshalJSON(b []byte) error {
	if string(b) == "null" || string(b) == `""` {
		*d = 0
		return nil
	}
	if len(b) < 2 || b[0] != '"' {
		return fmt.Errorf("date %s is not a string", b)
	}
	v, err := ParseDay(string(b[1 : len(b)-1]))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
