package policy

import (
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations/release"
)

// Weekdays is a set of weekdays, bit 1<<time.Weekday; the zero value is every day.
type Weekdays uint8

var weekdayNames = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // in the order of time.Weekday

// epochWeekday is the weekday of 1970-01-01, a Thursday.
const epochWeekday = int(time.Thursday)

// Has tells whether a day is one of the weekdays.
func (w Weekdays) Has(d release.Day) bool {
	return w == 0 || w&(1<<(((int(d)+epochWeekday)%7+7)%7)) != 0
}

// weekdays reads "mon" to "sun".
func weekdays(list []string) (w Weekdays, err error) {
	for _, s := range list {
		i := slices.Index(weekdayNames[:], s)
		if i < 0 {
			return 0, fmt.Errorf("%q is not a weekday: mon, tue, wed, thu, fri, sat or sun", s)
		}
		w |= 1 << i
	}
	return w, nil
}
