package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations/release"
)

// Spec is who a Mac is. All of it may be set freely; Specs makes realistic ones.
type Spec struct {
	Serial   string   `json:"serial"`
	UDID     string   `json:"udid"`
	Name     string   `json:"name"`
	Hardware Hardware `json:"hardware"`
	OS       OS       `json:"os"` // what it runs when it enrols first
	// Zone is the offset of its wall clock from UTC.
	Zone time.Duration `json:"zone"`
	// NoBSI is what it reports as supplemental items while no BSI is installed, which Apple does not document.
	NoBSI Absence `json:"no_bsi"`
	// Eager Macs have users who install at once; the others wait for a time of their own, or for the deadline.
	Eager bool `json:"eager"`
	// Recheck makes macOS judge a declaration again after it was fulfilled, and reject it then.
	Recheck bool `json:"recheck"`
	// User is the short name of a managed user, who has a channel of their own; empty: there is none.
	User string `json:"user,omitempty"`
	// Seed makes the Mac's own choices repeatable.
	Seed uint64 `json:"seed"`
}

// Absence is a way to say that there is nothing.
type Absence int

// The three ways that supplemental items could look without a BSI.
const (
	AbsentItems Absence = iota // not reported at all
	EmptyItems                 // reported as ""
	BaseItems                  // build-version repeats the base build, extra-version is ""
)

// mix is what the fleet runs: first one of each, so that a small fleet has every kind, then by weight.
var mix = []struct {
	version string
	build   string
	weight  int
	intel   bool // prefer an Intel T2 model where the release has one
}{
	{"26.6.1", "25G76", 18, false},
	{"26.6.2", "25G83", 18, false},
	{"15.7.9", "24G830", 8, false},
	{"26.5", "25F71", 10, false},
	{"14.8.9", "23J631", 4, true},
	{"15.7.7", "24G720", 9, true},
	{"26.0.1", "25A8364", 2, false}, // J704AP only
	{"26.3.2", "25D2140", 2, false}, // J700AP only
	{"26.6.2", "25G83", 3, true},
	{"14.8.7", "23J520", 5, false},
	{"26.3.1", "25D2128", 5, false}, // the base of a BSI
	{"13.7.8", "22H730", 4, true},
	{"26.6", "25G72", 6, false},
	{"12.7.6", "21H1320", 2, true},
	{"26.2", "25C56", 4, false},
}

var zones = []time.Duration{
	0,
	time.Hour,
	-8 * time.Hour,
	-5 * time.Hour,
	9 * time.Hour,
	5*time.Hour + 30*time.Minute,
	2 * time.Hour,
	10 * time.Hour,
}

var people = []string{
	"Ada",
	"Grace",
	"Linus",
	"Edsger",
	"Barbara",
	"Donald",
	"Radia",
	"Ken",
	"Margaret",
	"Niklaus",
	"Frances",
	"Alan",
	"Katherine",
	"John",
	"Joan",
	"Dennis",
}

// Specs makes the first n Macs of the fleet that belongs to a seed: the same ones whatever n is.
// eager is the share of Macs (0 to 1) whose users install at once.
func Specs(n int, seed uint64, w *World, eager float64) []Spec {
	specs := make([]Spec, n)
	for i := range specs {
		specs[i] = newSpec(i, seed, w, eager)
	}
	return specs
}

func newSpec(i int, seed uint64, w *World, eager float64) Spec {
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	kind := mix[0]
	if i < len(mix) {
		kind = mix[i]
	} else {
		total := 0
		for _, k := range mix {
			total += k.weight
		}
		pick := rng.IntN(total)
		for _, k := range mix {
			if pick -= k.weight; pick < 0 {
				kind = k
				break
			}
		}
	}
	hw := w.pickHardware(rng, release.Version(kind.version), kind.build, kind.intel)
	s := Spec{
		Serial:   serial(rng),
		Hardware: hw,
		OS:       OS{Version: release.Version(kind.version), Build: kind.build},
		Zone:     zones[rng.IntN(len(zones))],
		NoBSI:    Absence(rng.IntN(3)),
		Eager:    rng.Float64() < eager,
		Recheck:  rng.IntN(2) == 0,
		Seed:     rng.Uint64(),
	}
	s.UDID = udid(rng, hw.AppleSilicon)
	person := people[rng.IntN(len(people))]
	s.Name = fmt.Sprintf("%s-%04d", person, i+1)
	if i%3 == 2 {
		s.User = strings.ToLower(person)
	}
	return s
}

// pickHardware chooses a model that a release supports; one-model releases leave no choice.
func (w *World) pickHardware(rng *rand.Rand, v release.Version, build string, intel bool) Hardware {
	var can, prefer []Hardware
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, r := range w.releases {
		if r.Kind != release.KindOS || r.Version != v || r.Build != build {
			continue
		}
		for _, h := range w.hardware {
			if slices.Contains(r.Devices, h.Board) {
				can = append(can, h)
				if h.AppleSilicon != intel {
					prefer = append(prefer, h)
				}
			}
		}
	}
	if len(prefer) > 0 {
		can = prefer
	}
	return can[rng.IntN(len(can))]
}

func serial(rng *rand.Rand) string {
	const letters = "CDFGHJKLMNPQRTVWXY0123456789"
	b := make([]byte, 10)
	for i := range b {
		b[i] = letters[rng.IntN(len(letters))]
	}
	b[0] = letters[rng.IntN(18)] // Apple's begin with a letter
	return string(b)
}

// udid has the two forms that Macs have: chip and ECID on Apple silicon, a UUID on Intel.
func udid(rng *rand.Rand, appleSilicon bool) string {
	a, b := rng.Uint64(), rng.Uint64()
	if appleSilicon {
		return fmt.Sprintf("0000%04X-%016X", 0x6000+a%0x100, b>>8)
	}
	return fmt.Sprintf("%08X-%04X-%04X-%04X-%012X", a>>32, a>>16&0xffff, 0x5000|a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}
