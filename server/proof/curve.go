package proof

import (
	"strconv"
	"strings"

	"plimsoll/status/patching"
)

// Curve is the estimated share of patched Macs over the days from the posting, as a line in a drawing of 1000 x 100 in which a
// day is 1000/days wide: it begins at 0, steps up on the days of the report, and ends on the last day on which a Mac was watched.
func Curve(steps [][2]float64, last, days int) string {
	var b strings.Builder
	b.WriteString("0,100")
	y := 100.0
	at := func(day, y float64) {
		b.WriteString(" " + coordinate(1000*day/float64(max(1, days))) + "," + coordinate(y))
	}
	for _, s := range steps {
		if int(s[0]) > days {
			break
		}
		at(s[0], y)
		y = 100 - 100*s[1]
		at(s[0], y)
	}
	at(float64(min(last, days)), y)
	return b.String()
}

func coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// Age is the days from the posting of a release to the day of the report, over which its curve is drawn.
func Age(p *patching.Patching, r *patching.Release) int { return int(p.AsOf - r.Posted) }
