package self

import (
	"strconv"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// The offsets of all the world's wall clocks, in minutes.
const (
	firstOffset = int(declarations.FirstZone / time.Minute)
	lastOffset  = int(declarations.LastZone / time.Minute)
)

// userNow is what the user's wall clock shows (whether any clock can is for the use case to say): as the page's script sent it,
// or from the offset that was chosen without a script. With neither it is taken to be as late as it can be anywhere (UTC+14), so
// that a deadline never comes earlier than the user was told.
func userNow(local, offset string, now time.Time) (declarations.Local, error) {
	invalid := func(field, reason string) error {
		return &fleet.Error{
			Kind: fleet.ErrInvalid, Code: "invalid", Text: "the time is not valid",
			Fields: []policy.FieldError{{Field: field, Reason: reason}},
		}
	}
	switch {
	case local != "":
		l, err := view.LocalOf(local)
		if err != nil {
			return 0, invalid("now", "must be a wall-clock time such as 2026-12-01T12:00:00")
		}
		return l, nil
	case offset != "":
		n, err := strconv.Atoi(offset)
		if err != nil || n < lastOffset || n > firstOffset {
			return 0, invalid("offset", "must be minutes from UTC, between "+strconv.Itoa(lastOffset)+" and "+strconv.Itoa(firstOffset))
		}
		return declarations.LocalAt(now, time.Duration(n)*time.Minute), nil
	}
	return declarations.LocalAt(now, declarations.FirstZone), nil
}

// offsets are the choices of a user without JavaScript: what the clock shows tells the zone. The server's zone is chosen first.
func offsets(now time.Time, zone *time.Location) []view.Option {
	_, own := now.In(zone).Zone()
	own /= 60
	minutes := make([]int, 0, 32)
	for m := lastOffset; m <= firstOffset; m += 60 {
		minutes = append(minutes, m)
		switch m { // the half and quarter hours in use
		case -4 * 60, 3 * 60, 4 * 60, 5 * 60, 6 * 60, 9 * 60, 10 * 60:
			minutes = append(minutes, m+30)
		}
		if m == -240 {
			minutes[len(minutes)-1] = -210
		}
	}
	out := make([]view.Option, 0, len(minutes))
	for _, m := range minutes {
		l := declarations.LocalAt(now, time.Duration(m)*time.Minute)
		out = append(out, view.Option{
			Value: strconv.Itoa(m), Label: l.At(0).Format("Mon 15:04") + " (" + offsetWords(m) + ")", Selected: m == own,
		})
	}
	return out
}

func offsetWords(minutes int) string {
	sign := "+"
	if minutes < 0 {
		sign, minutes = "−", -minutes
	}
	s := "UTC" + sign + strconv.Itoa(minutes/60)
	if minutes%60 != 0 {
		s += ":" + strconv.Itoa(minutes%60)
	}
	return s
}
