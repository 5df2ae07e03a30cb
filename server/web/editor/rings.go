package editor

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"plimsoll/declarations/policy"
	"plimsoll/server/web/view"
)

// Ring is a ring as the form carries it. The first has no age, and the last takes the Macs that no other ring has.
type Ring struct {
	Name, Groups, Percent, WithinDays, MinAgeDays string
}

// maxRings bounds the rows that are read; the policy's own bound is for the use case to say.
const maxRings = 20

// ringField is the name of a field of the n-th ring, which is the path of the policy's field.
func ringField(n int, field string) string { return "rings[" + strconv.Itoa(n) + "]." + field }

func (ring *Ring) fields() map[string]*string {
	return map[string]*string{
		"name": &ring.Name, "groups": &ring.Groups, "percent": &ring.Percent, "within_days": &ring.WithinDays,
		"min_age_days": &ring.MinAgeDays,
	}
}

func (f *Form) readRings(v url.Values) {
	for n := 0; n < maxRings && v.Has(ringField(n, "name")); n++ {
		var ring Ring
		for name, p := range ring.fields() {
			*p = strings.TrimSpace(v.Get(ringField(n, name)))
		}
		f.Rings = append(f.Rings, ring)
	}
	f.Gate = v.Has("gate")
}

// Edit carries out a button that changes the rings: "ring-add", or "ring-remove:" and the ring's number from 0. Other words do
// nothing.
func (f *Form) Edit(step string) bool {
	if step == "ring-add" {
		f.AddRing()
		return true
	}
	number, is := strings.CutPrefix(step, "ring-remove:")
	if n, err := strconv.Atoi(number); is && err == nil {
		f.RemoveRing(n)
	}
	return is
}

// AddRing adds a ring before the last; the first two come together.
func (f *Form) AddRing() {
	if len(f.Rings) == 0 {
		f.Rings, f.Gate = []Ring{{Name: "pilot", Percent: "10"}, {Name: "everyone"}}, true
		return
	}
	last := len(f.Rings) - 1
	f.Rings = slices.Insert(f.Rings, last, Ring{MinAgeDays: f.Rings[last].MinAgeDays})
}

// RemoveRing removes the n-th ring; a ring that is left alone goes with it.
func (f *Form) RemoveRing(n int) {
	if n < 0 || n >= len(f.Rings) {
		return
	}
	if f.Rings = slices.Delete(f.Rings, n, n+1); len(f.Rings) < 2 {
		f.Rings, f.Gate = nil, false
		return
	}
	f.Rings[0].MinAgeDays = ""
	last := &f.Rings[len(f.Rings)-1]
	last.Groups, last.Percent, last.WithinDays = "", "", ""
}

func (f *Form) ringsOf(p *policy.Policy) {
	for i := range p.Rings {
		ring := &p.Rings[i]
		f.Rings = append(f.Rings, Ring{
			Name: ring.Name, Groups: strings.Join(ring.Groups, ", "), Percent: shareText(ring.Percent),
			WithinDays: numberText(ring.WithinDays), MinAgeDays: numberText(ring.MinAgeDays),
		})
	}
	if p.Gate != nil {
		f.Gate, f.GateMinMacs, f.GateMaxBad = true, numberText(p.Gate.MinMacs), shareText(p.Gate.MaxBadPercent)
	}
}

// rings reads the rings and their gate.
func (f *Form) rings(r *reading) ([]policy.Ring, *policy.Gate) {
	if len(f.Rings) == 0 {
		return nil, nil
	}
	out := make([]policy.Ring, 0, len(f.Rings))
	for n, ring := range f.Rings {
		out = append(out, policy.Ring{
			Name: ring.Name, Groups: view.Words(ring.Groups), Percent: r.share(ringField(n, "percent"), ring.Percent),
			WithinDays: r.number(ringField(n, "within_days"), ring.WithinDays),
			MinAgeDays: r.number(ringField(n, "min_age_days"), ring.MinAgeDays),
		})
	}
	if !f.Gate {
		return out, nil
	}
	return out, &policy.Gate{
		MinMacs: r.number("gate.min_macs", f.GateMinMacs), MaxBadPercent: r.share("gate.max_bad_percent", f.GateMaxBad),
	}
}

// share reads a percentage, with or without its sign.
func (r *reading) share(name, s string) *float64 {
	s = strings.TrimSpace(strings.TrimSuffix(s, "%"))
	if s == "" {
		return nil
	}
	p, err := strconv.ParseFloat(s, 64)
	if err != nil || p != p || p > 1e6 || p < -1e6 {
		r.fault(name, "must be a number such as 10 or 2.5")
		return nil
	}
	return &p
}

func shareText(p *float64) string {
	if p == nil {
		return ""
	}
	return strconv.FormatFloat(*p, 'f', -1, 64)
}

// weekdays are the days of the week, those of a list chosen.
func weekdays(list []string) []view.Option {
	out := view.Options("", "mon", "Mon", "tue", "Tue", "wed", "Wed", "thu", "Thu", "fri", "Fri", "sat", "Sat", "sun", "Sun")
	for i := range out {
		out[i].Selected = slices.Contains(list, out[i].Value)
	}
	return out
}

// chosen are the weekdays that are chosen; nil for none, which is every day.
func chosen(days []view.Option) []string {
	var out []string
	for _, d := range days {
		if d.Selected {
			out = append(out, d.Value)
		}
	}
	return out
}
