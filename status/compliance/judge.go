package compliance

import (
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// judge is one judgement in the making.
type judge struct {
	in  Input
	p   *plan.Plan
	f   *status.Facts
	now time.Time // UTC, whole seconds

	progress
	reported []status.DeclarationStatus // of the manifest's declarations
	// refused are those of our other declarations that the Mac rejected.
	refused []*status.DeclarationStatus

	s Summary
}

// Judge tells where a Mac stands, since when, and what is in the way (rules 8). It is pure; whatever a Mac reported, it answers.
func Judge(in Input) Verdict {
	j := newJudge(in)
	switch {
	case !j.p.Enforced():
	case j.byCommand():
		j.progress = commanded(in.Commands.Course)
	default:
		j.progress = progressOf(j.p, in.Manifest, in.Status, j.reported)
	}
	j.refused = j.refusedOthers()
	j.summarise()
	fixed := j.why()
	t := notifier{&j.s, j.f}
	// Arranged without time first: what is kept must not depend on when it was judged.
	for _, r := range arrange(&j.s, false, fixed, nil) {
		if len(j.s.Codes) < keptCodes && !slices.Contains(j.s.Codes, r.Code) {
			j.s.Codes = append(j.s.Codes, r.Code)
		}
	}
	v := Verdict{Reasons: t.all(fixed, j.now, in.CatalogueStale)}
	v.NextAt = j.s.next(j.now, j.f)
	if at := j.p.NextAt; at.After(j.now) && (v.NextAt.IsZero() || at.Before(v.NextAt)) {
		v.NextAt = at
	}
	v.AskVersion = j.already && !slices.Contains(in.Before.Codes, AlreadyNewer)
	v.Summary = j.s
	return v
}

func newJudge(in Input) *judge {
	j := &judge{in: in, p: in.Plan, now: in.Now.UTC().Truncate(time.Second)}
	if j.p == nil {
		j.p = &plan.Plan{Outcome: plan.Unknown}
	}
	if in.Mac == nil {
		j.in.Mac = &plan.Mac{}
	}
	if in.Zone == nil {
		j.in.Zone = time.UTC
	}
	j.f = &j.in.Mac.Facts
	if in.Manifest != nil {
		j.reported = reportedOf(in.Manifest, in.Status)
	}
	return j
}

// byCommand tells whether the target is told by command.
func (j *judge) byCommand() bool { return j.p.Enforced() && j.p.Mechanism == plan.ByCommand }

// refusedOthers finds what the Mac rejected of our declarations besides the target's: as planned, and under the token that it
// was served.
func (j *judge) refusedOthers() []*status.DeclarationStatus {
	var out []*status.DeclarationStatus
	for i := range j.reported {
		d := &j.reported[i]
		if d.Valid != "invalid" || isEnforcement(d.Identifier) {
			continue
		}
		token, ok := servedToken(j.p, j.in.Manifest, declarations.Kind(d.Kind), d.Identifier)
		if ok && token == d.ServerToken {
			out = append(out, d)
		}
	}
	return out
}

// isEnforcement tells whether an identifier belongs to the enforcement of a release, activations included.
func isEnforcement(id string) bool {
	switch id {
	case declarations.IDOSUpdate, declarations.IDOSUpdate + declarations.ActivationSuffix,
		declarations.IDBSI, declarations.IDBSI + declarations.ActivationSuffix:
		return true
	}
	return false
}

// state is the first state of the table of rules 8 that matches, time not looked at.
func (j *judge) state() State {
	switch j.p.Outcome {
	case plan.Unmanaged:
		return Unmanaged
	case plan.Unsupported:
		return Unsupported
	case plan.Held:
		return Held
	case plan.Exempt:
		return Exempt
	case plan.Targeted, plan.Satisfied:
	default:
		return Unknown
	}
	missing := j.p.Enforced() && !j.already
	switch {
	case j.p.Gated != "":
		return Incompatible
	case len(j.refused) > 0:
		return Failing
	case missing && !j.p.Optional && (j.phase == Failed || j.phase == Rejected):
		return Failing
	case missing:
		return Pending
	}
	return Compliant
}

func (j *judge) summarise() {
	before, s := &j.in.Before, &j.s
	s.State = j.state()
	s.Phase = j.phase
	s.Fails = j.fails
	if j.p.Policy != nil {
		s.Policy = j.p.Policy.Name
	}
	same := false
	if t := j.p.Target; t != nil {
		s.Kind, s.Version, s.Letter, s.Build = t.Kind, t.Version, t.Letter, t.Build
		s.Due, s.Deadline = j.p.Due, j.p.Deadline
		same = before.Kind == s.Kind && before.Build == s.Build
		s.TargetAt = j.now
		if same && !before.TargetAt.IsZero() {
			s.TargetAt = before.TargetAt
		}
		if !j.servedAt.IsZero() {
			s.ServedAt = j.servedAt.UTC().Truncate(time.Second)
		}
		if same && !before.ServedAt.IsZero() {
			s.ServedAt = before.ServedAt
		}
		j.deadline()
	}
	if s.StateAt = j.now; before.State == s.State && !before.StateAt.IsZero() {
		s.StateAt = before.StateAt
	}
	if s.Phase != "" {
		if s.PhaseAt = j.now; same && before.Phase == s.Phase && !before.PhaseAt.IsZero() {
			s.PhaseAt = before.PhaseAt
		}
	}
	s.Flags = j.flags()
	s.Withdrawn = j.withdrawn()
}

// deadline reads the deadline in the server's zone.
func (j *judge) deadline() {
	if j.p.Deadline == 0 || j.already {
		return
	}
	zone := j.in.Zone
	if j.p.Zone != nil {
		zone = j.p.Zone // macOS does not read this deadline: the server acts on it
	}
	at := j.p.Deadline.In(zone).UTC()
	if l := j.lane(); l != nil && l.Now && j.in.Mac.UpdateNow != nil {
		at = j.in.Mac.UpdateNow.At.Add(plan.PendingAfterNow).UTC().Truncate(time.Second)
	}
	if j.p.Optional || j.p.Gated != "" {
		j.s.PastAt = at
		return
	}
	j.s.OverdueAt = at
}

// flags are those that do not depend on time.
func (j *judge) flags() Flags {
	var flags Flags
	// Nothing to serve to a Mac that takes no declarations is in sync with having served nothing.
	synced := j.in.Manifest != nil && j.in.Manifest.DeclarationsToken == j.p.Token ||
		j.in.Manifest == nil && len(j.p.Declarations) == 0 && !declares(j.f)
	if !synced {
		flags |= NotSynced
	}
	if j.in.Index != nil && j.in.Index.Prerelease(j.f.Version, j.f.Build) {
		flags |= Prerelease
	}
	if j.f.Enrolled && !j.f.BootstrapToken && !j.f.TokenUnknown && appleSilicon(j.f) {
		flags |= BootstrapTokenMissing
	}
	if j.p.MissingBSI != nil {
		flags |= BSIPending
	}
	return flags
}

// withdrawn is the build that the Mac was told to install and that Apple offers no more, as long as that explains something:
// until the Mac has what is asked, or has fetched what is asked instead.
func (j *judge) withdrawn() string {
	if j.in.Index == nil || j.s.State == Compliant || j.s.State == Unmanaged {
		return ""
	}
	build := j.in.Before.Build
	if build == "" || build == j.s.Build {
		build = j.in.Before.Withdrawn
		if j.s.Kind != "" && j.s.Flags&NotSynced == 0 {
			build = ""
		}
	}
	if build == "" || build == j.s.Build {
		return ""
	}
	if r := j.in.Index.Build(build); r != nil && r.Available {
		return ""
	}
	return build
}

// lane is the plan of the lane that the target comes from, nil if there is none.
func (j *judge) lane() *plan.LanePlan {
	for i := range j.p.Lanes {
		if l := &j.p.Lanes[i]; l.Lane == j.p.Lane {
			return l
		}
	}
	return nil
}

// releaseOf is a release of the catalogue by its build, nil if it is not known.
func (j *judge) releaseOf(build string) *release.Release {
	if j.in.Index == nil {
		return nil
	}
	return j.in.Index.Build(build)
}
