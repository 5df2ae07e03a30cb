package evidence

import (
	"context"
	"fmt"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/status/patching"
)

// Question is what is asked of the patch reports, as it came; empty: left out.
type Question struct {
	Release  string // a version, or a version and a letter: "26.3.1 (a)"
	From, To string // postings, days in UTC; left out: the last 365 days
	Policy   string
	Group    string // not with Policy
	SLA      string
	AsOf     string // a closed day, or "now"
}

func notClosed(text string) error {
	return &answer.Error{Kind: answer.ErrNotFound, Code: "not_closed", Text: text}
}

const reportDays = 365

func fault(field, reason string) error {
	return answer.Invalid("the report cannot be made", policy.FieldError{Field: field, Reason: reason})
}

// Patching answers a question from the closed days; with `now` it counts the courses as they stand.
func (r *Reports) Patching(ctx context.Context, q Question) (*patching.Patching, error) {
	ask, err := r.read(ctx, &q)
	if err != nil {
		return nil, err
	}
	scope := patching.Scope{Policy: q.Policy, Group: q.Group}
	var counts map[patching.Key]*patching.Count
	if ask.Closed {
		if counts, err = r.closed(ctx, ask.AsOf, scope); err != nil {
			return nil, err
		}
	} else {
		counted, err := r.countNow(ctx, ask.AsOf)
		if err != nil {
			return nil, err
		}
		counts = counted[scope]
	}
	if ask.Release != nil && counts[*ask.Release] == nil && !r.knows(*ask.Release) {
		return nil, answer.NotFound("there is no release " + q.Release)
	}
	if err := r.knowsScope(q, counts); err != nil {
		return nil, err
	}
	p := patching.Report(counts, ask)
	return &p, nil
}

// closed are the counts of a closed day; nil when the scope had no Macs.
func (r *Reports) closed(ctx context.Context, day release.Day, scope patching.Scope) (map[patching.Key]*patching.Count, error) {
	b, closed, err := r.o.Store.Closed(ctx, day, scopeName(scope))
	switch {
	case err != nil:
		return nil, err
	case !closed:
		return nil, notClosed(day.String() + " is not closed, or not kept any more")
	}
	return decode(b)
}

// read checks the question.
func (r *Reports) read(ctx context.Context, q *Question) (patching.Question, error) {
	var ask patching.Question
	if q.Policy != "" && q.Group != "" {
		return ask, fault("group", "policy and group cannot be asked for together")
	}
	st, err := r.o.Store.PatchingState(ctx)
	if err != nil {
		return ask, err
	}
	today := release.DayOf(r.o.Now())
	ask.CompleteFrom = st.CompleteFrom
	if ask.CompleteFrom == 0 {
		ask.CompleteFrom = today
	}
	switch q.AsOf {
	case "":
		if ask.AsOf, ask.Closed = st.Closed, true; st.Closed == 0 {
			return ask, notClosed("no day is closed yet; the first one is within a minute of the start")
		}
	case "now":
		ask.AsOf = today
	default:
		ask.Closed = true
		if ask.AsOf, err = day("as_of", q.AsOf, today); err != nil {
			return ask, err
		}
	}
	ask.From, ask.To = ask.AsOf-reportDays, ask.AsOf
	if q.From != "" {
		if ask.From, err = day("from", q.From, today); err != nil {
			return ask, err
		}
	}
	if q.To != "" {
		if ask.To, err = day("to", q.To, today); err != nil {
			return ask, err
		}
	}
	if ask.From > ask.To {
		return ask, fault("from", fmt.Sprintf("%s is after %s", ask.From, ask.To))
	}
	if q.SLA != "" {
		sla, err := patching.ParseSLA(q.SLA)
		if err != nil {
			return ask, fault("sla", err.Error())
		}
		ask.SLA = &sla
	}
	if q.Release != "" {
		if ask.Release, err = patching.ParseKey(q.Release); err != nil {
			return ask, fault("release", err.Error())
		}
	}
	return ask, nil
}

// day reads a day that is not in the future.
func day(field, s string, today release.Day) (release.Day, error) {
	d, err := release.ParseDay(s)
	switch {
	case err != nil:
		return 0, fault(field, err.Error())
	case d > today:
		return 0, fault(field, s+" is in the future")
	}
	return d, nil
}

func (r *Reports) knows(k patching.Key) bool {
	for _, known := range r.o.Releases() {
		if known.Version == k.Version && known.Letter == k.Letter {
			return true
		}
	}
	return false
}

// knowsScope: a policy or group that there is not, and of which nothing was counted, is not found.
func (r *Reports) knowsScope(q Question, counts map[patching.Key]*patching.Count) error {
	switch {
	case counts != nil:
	case q.Policy != "" && !r.o.KnowsPolicy(q.Policy):
		return answer.NotFound("there is no policy " + q.Policy)
	case q.Group != "" && !r.o.KnowsGroup(q.Group):
		return answer.NotFound("there is no group " + q.Group)
	}
	return nil
}
