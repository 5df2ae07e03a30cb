package inventory

import (
	"math"
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/status/compliance"
)

// firstCode is the code of the most decisive reason of a Mac; empty when it has none. The one that was worked out last is
// good until time alone can change it.
func firstCode(r *row, now time.Time, stale bool) string {
	if now.Unix() < r.codeUntil && r.codeStale == stale {
		return r.code
	}
	code, _ := workOutCode(r, now, stale)
	return code
}

// workOutCode works out the code of the most decisive reason, and until when it is that.
func workOutCode(r *row, now time.Time, stale bool) (code string, until time.Time) {
	rec := r.record()
	if at := time.Unix(r.contact, 0); at.After(rec.Facts.LastContactAt) {
		rec.Facts.LastContactAt = at
	}
	if reasons := compliance.ReasonsAt(rec.Summary, &rec.Facts, now, stale); len(reasons) > 0 {
		code = reasons[0].Code
	}
	return code, rec.Summary.NextChange(now, &rec.Facts)
}

// learnCode works out the code of the most decisive reason of a Mac, and keeps it in its row for as long as it is good.
func (x *Index) learnCode(r *row, now time.Time, stale bool) string {
	code, until := workOutCode(r, now, stale)
	kept := int64(math.MaxInt64)
	if !until.IsZero() {
		kept = until.Unix()
	}
	x.keepCode(r, code, stale, kept)
	return code
}

// watchedCodes are the codes that concern an admin beside the most decisive reason: somebody may speak in the Mac's name, or to
// it.
func watchedCodes(r *row, now time.Time, stale bool) (codes []string) {
	rec := r.record()
	for i, reason := range compliance.ReasonsAt(rec.Summary, &rec.Facts, now, stale) {
		decisive := i == 0 && !r.compliant // it is counted as such
		if !decisive && slices.Contains(watched, reason.Code) {
			codes = append(codes, reason.Code)
		}
	}
	return codes
}

var watched = []string{compliance.RefusedMac, compliance.Contradicted, compliance.Conflict}

// Outlook is what lies ahead of the enrolled Macs, and what is wrong with them.
type Outlook struct {
	// Due counts the pending Macs by the day of their deadline, on the wall, as YYYY-MM-DD.
	Due map[string]int
	// Codes counts the Macs that are not compliant, or whose identity is in doubt, by the code of their most decisive reason.
	Codes map[string]int
}

// Outlook looks at all Macs. stale: the catalogue is older than it should be.
func (x *Index) Outlook(now time.Time, stale bool) Outlook {
	o := Outlook{Due: map[string]int{}, Codes: map[string]int{}}
	var watched []row
	var rest []row // those whose most decisive reason has to be worked out
	x.scan(func(r *row) {
		if !r.enrolled || r.foreign {
			return
		}
		if r.watched {
			watched = append(watched, *r)
		}
		if r.pending && r.deadline != 0 && compliance.States[r.moments.State(now.Unix())] == compliance.Pending {
			o.Due[declarations.Local(r.deadline).String()[:len(time.DateOnly)]]++
		}
		switch {
		case r.compliant:
		case now.Unix() < r.codeUntil && r.codeStale == stale:
			o.Codes[r.code]++
		default:
			rest = append(rest, *r)
		}
	})
	for i := range rest {
		o.Codes[x.learnCode(&rest[i], now, stale)]++
	}
	for i := range watched {
		for _, code := range watchedCodes(&watched[i], now, stale) {
			o.Codes[code]++
		}
	}
	delete(o.Codes, "") // no reason at all
	return o
}
