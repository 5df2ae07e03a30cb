package compliance

import (
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// backFor is for how long a return from silence explains anything.
const backFor = 7 * 24 * time.Hour

// keptReasons bounds how many of a Mac's reasons for a rejection become evidence; real ones have one or two.
const keptReasons = 16

// why collects the reasons that do not come with the passing of time: first what made the state, then the others by their order.
func (j *judge) why() []policy.Reason {
	w := &why{judge: j, t: notifier{&j.s, j.f}}
	switch j.s.State {
	case Unmanaged:
		w.plan(j.unmanaged())
	case Unknown:
		w.plan(j.unknown())
	case Unsupported:
		w.catalogue()
		w.plan(codeUnsupported)
	case Held:
		w.heldTarget()
	case Exempt:
		w.plan(codeExempt)
	case Incompatible:
		w.gate()
	case Failing:
		w.failing()
	case Compliant:
		if w.already {
			w.add(AlreadyNewer, said(w.declared))
		}
		w.plan("")
	default:
		w.plan("")
	}
	lead := len(w.out)
	w.rest()
	slices.SortStableFunc(w.out[lead:], func(a, b policy.Reason) int { return rankOf(a.Code) - rankOf(b.Code) })
	return w.out
}

// why is the list of reasons in the making.
type why struct {
	*judge
	t   notifier
	out []policy.Reason
}

func (w *why) add(code string, extra map[string]any) {
	if !w.has(code) {
		w.out = append(w.out, w.t.reason(code, extra))
	}
}

func (w *why) has(code string) bool {
	return slices.ContainsFunc(w.out, func(r policy.Reason) bool { return r.Code == code })
}

// adopt takes reasons of the plan that are not told yet.
func (w *why) adopt(reasons []policy.Reason) {
	for _, r := range reasons {
		if !w.has(r.Code) {
			w.out = append(w.out, w.t.adopt(r))
		}
	}
}

// plan takes the plan's own reasons; without any it gives the one with the code.
func (w *why) plan(code string) {
	n := len(w.out)
	w.adopt(w.p.Reasons)
	if len(w.out) == n && code != "" {
		w.add(code, w.paused())
	}
}

func (j *judge) unmanaged() string {
	switch {
	case j.p.Paused != nil:
		return codePaused
	case j.p.Policy == nil:
		return codeNotGoverned
	}
	return codeNothingManaged
}

func (j *judge) paused() map[string]any {
	if j.p.Paused == nil {
		return nil
	}
	return map[string]any{"since_at": j.p.Paused.Since, "reason": j.p.Paused.Reason, "by": j.p.Paused.By}
}

func (j *judge) unknown() string {
	switch {
	case j.f.Version == "":
		return codeVersionUnknown
	case j.f.Board == "":
		return codeBoardUnknown
	}
	return codeAssignmentUnknown
}

// catalogue tells whether the version that the policy names exists for others only, or no more.
func (w *why) catalogue() {
	if w.in.Index == nil || w.p.Policy == nil || w.p.Policy.Updates == nil {
		return
	}
	u := w.p.Policy.Updates
	named := append([]release.Version{u.Version}, u.Versions...)
	for _, reason := range w.p.Reasons {
		if v, ok := reason.Evidence["version"].(release.Version); ok && reason.Code == codeUnsupported {
			named = []release.Version{v} // the one that counts for this Mac
		}
	}
	for _, v := range named {
		builds := w.in.Index.Version(v)
		if v == "" || len(builds) == 0 {
			continue
		}
		mine := func(r *release.Release) bool { return slices.Contains(r.Devices, w.f.Board) }
		offered := func(r *release.Release) bool { return r.Available }
		switch i := slices.IndexFunc(builds, mine); {
		case i >= 0 && !builds[i].Available:
			w.withdrawal(builds[i])
		case i < 0 && slices.ContainsFunc(builds, offered):
			w.add(NotOfferedForBoard, map[string]any{"named_version": v})
		}
	}
}

func (w *why) withdrawal(r *release.Release) {
	w.add(
		TargetWithdrawn,
		map[string]any{"withdrawn_version": r.Version, "withdrawn_build": r.Build, "lacked_at": r.LackedAt, "version": nil},
	)
}

func (w *why) heldTarget() {
	extra := map[string]any{}
	if len(w.p.Reasons) == 0 {
		for i := range w.p.Lanes {
			if r := w.p.Lanes[i].Held; r != nil {
				extra["version"], extra["build"] = r.Version, r.Build
			}
		}
	}
	w.adopt(w.p.Reasons)
	w.add(codeHeld, extra)
}

// gate tells why enforcement cannot be declared, in the plan's words if it has some, and names the mechanism that the Mac needs
// instead.
func (w *why) gate() {
	for _, reasons := range [][]policy.Reason{w.p.Reasons, w.p.LeftOut} {
		for _, r := range reasons {
			if r.Code == w.p.Gated && !w.has(r.Code) {
				w.adopt([]policy.Reason{r})
			}
		}
	}
	extra := map[string]any{}
	if w.p.Gated == MacOSTooOld {
		extra["needs"], extra["mechanism"] = mechanism(w.f.Version)
	}
	w.add(w.p.Gated, extra)
	w.adopt(w.p.Reasons)
}

// mechanism is how a Mac that is too old for enforcement by declaration is updated: a word for it, and a phrase.
func mechanism(v release.Version) (needs, phrase string) {
	if v == "" {
		return "", ""
	}
	return "installer", "the macOS installer"
}

// failing tells what failed: rejections, then the installation.
func (w *why) failing() {
	w.rejections()
	w.trouble()
	w.adopt(w.p.Reasons)
}

// rejections tells of each of our other declarations that the Mac rejected.
func (w *why) rejections() {
	for _, d := range w.refused {
		w.out = append(w.out, w.t.reason(DeclarationRejected, said(d)))
	}
}

// trouble tells what is wrong with the target itself.
func (w *why) trouble() {
	if w.phase == Rejected {
		w.out = append(w.out, w.t.reason(DeclarationRejected, said(w.declared)))
	}
	if w.phase != Failed {
		return
	}
	extra := map[string]any{"count": w.fails, "reason": w.failText, "failed_at": w.failedAt, "install_state": w.installState}
	if w.failCode != "" {
		w.add(w.failCode, extra)
	}
	for _, code := range causes(w.failText) {
		w.add(code, extra)
	}
	w.add(InstallFailed, extra)
}

// said is what a Mac says of a declaration, Apple's words whole.
func said(d *status.DeclarationStatus) map[string]any {
	extra := map[string]any{"identifier": d.Identifier, "server_token": d.ServerToken}
	if len(d.Reasons) > 0 {
		extra["code"], extra["description"] = d.Reasons[0].Code, d.Reasons[0].Text()
		extra["reasons"] = d.Reasons[:min(len(d.Reasons), keptReasons)]
	}
	return extra
}

// rest adds everything else that is worth telling about a Mac in its state.
func (w *why) rest() {
	switch w.s.State {
	case Pending:
		w.trouble()
		w.underway()
	case Failing:
		w.underway()
	case Unsupported, Held, Exempt, Incompatible:
		w.rejections()
	}
	if w.s.State != Compliant {
		w.sync()
		w.withdrawals()
	}
	if w.f.Contradicted {
		w.add(Contradicted, nil)
	}
	if w.f.Conflict {
		w.add(Conflict, map[string]any{"identifier": ForeignCause(w.in.Status, w.in.Manifest)})
	}
	if f := w.in.Failure; f != nil {
		w.add(CommandFailed, map[string]any{
			"request_type": f.RequestType, "uuid": f.UUID, "status": f.Status, "error": f.Text(), "errors": f.Errors, "failed_at": f.At,
		})
	}
	w.base()
	w.adopt(w.p.LeftOut)
}

// underway tells where a target that is declared stands, and what stands in its way.
func (w *why) underway() {
	switch w.phase {
	case Waiting, Downloading, Prepared, Installing:
		w.add(string(w.phase), nil)
	case Served:
		if w.byCommand() {
			break
		}
		if d := w.declared; d != nil {
			w.add(NotActive, said(d))
		} else {
			id := identifierOf(w.p.Target.Kind)
			item, _ := w.in.Manifest.Find(declarations.KindConfiguration, id)
			w.add(NotFetched, map[string]any{"identifier": id, "server_token": item.ServerToken, "served_at": w.servedAt})
		}
	default:
		if !w.phase.known() {
			w.add(OtherPhase, map[string]any{"install_state": w.installState})
		}
	}
	w.commands()
	if w.s.Flags&BootstrapTokenMissing != 0 {
		w.add(NoBootstrapToken, nil)
	}
	mac := w.in.Mac
	if l := w.lane(); l != nil {
		if l.Delayed {
			extra := map[string]any{}
			if mac.Delayed != nil {
				extra["hours"] = mac.Delayed.Hours
			}
			w.add(DelayedByUser, extra)
		}
		if l.Held != nil {
			w.add(NewerHeld, map[string]any{"held_version": l.Held.Version, "held_build": l.Held.Build})
		}
	}
	if !mac.BackAt.IsZero() && w.now.Sub(mac.BackAt) < backFor {
		w.add(Returned, map[string]any{"back_at": mac.BackAt})
	}
}

// commands tells that the target is told by command, and what the user has to do with it.
func (w *why) commands() {
	if !w.byCommand() {
		return
	}
	if c := w.in.Commands.Course; c != nil {
		for _, r := range c.Reasons(w.in.Commands.Token) {
			extra := map[string]any{}
			for key, v := range r.Evidence {
				extra[key] = v
			}
			w.add(r.Code, extra)
		}
	}
	w.add(command.ByCommand, map[string]any{"lane": w.p.Lane.String()})
}

// sync tells why a Mac may not know yet what is asked of it.
func (w *why) sync() {
	if w.s.Flags&NotSynced == 0 {
		return
	}
	if w.in.Push != "" {
		w.add(PushFailed, map[string]any{"push_error": w.in.Push})
	}
	extra := map[string]any{"told_at": w.in.ToldAt}
	if w.in.Manifest == nil {
		w.add(NeverSynced, extra)
		return
	}
	extra["synced_at"] = w.in.Manifest.ServedAt
	w.add(NotSyncedYet, extra)
}

// withdrawals tells of a target that Apple took back, or that the last fetch of the feed lacked.
func (w *why) withdrawals() {
	if w.s.Withdrawn != "" {
		extra := map[string]any{"withdrawn_build": w.s.Withdrawn}
		if r := w.releaseOf(w.s.Withdrawn); r != nil {
			extra["withdrawn_version"], extra["lacked_at"] = r.Version, r.LackedAt
		}
		w.add(TargetWithdrawn, extra)
		return
	}
	if t := w.p.Target; t != nil && !t.LackedAt.IsZero() {
		w.withdrawal(t)
	}
}

// base tells of a Background Security Improvement that the policy asks for but that the Mac cannot take, because it runs
// another build than the one that it improves.
func (w *why) base() {
	p := w.p.Policy
	if p == nil || p.BackgroundSecurity == nil || p.BackgroundSecurity.Mode != "automatic" || w.in.Index == nil ||
		w.f.Version == "" ||
		w.f.Build == "" {
		return
	}
	if w.s.State == Unmanaged || w.p.Target != nil && w.p.Target.Kind == release.KindBSI {
		return
	}
	board := w.in.Index.Board(w.f.Board)
	if board == nil {
		return
	}
	major := w.f.Version.Major()
	of := func(r *release.Release) bool { return r.Available && r.Version.Major() == major }
	i, newest := slices.IndexFunc(board.BSI, of), slices.IndexFunc(board.OS, of)
	if i < 0 {
		return
	}
	// Apple never takes a BSI back when its base is superseded: one for an older base concerns nobody.
	bsi := board.BSI[i]
	if newest >= 0 && board.OS[newest].Version.Compare(bsi.Version) > 0 || bsi.Version.Compare(w.f.Version) < 0 ||
		bsi.PrerequisiteBuild == w.f.Build {
		return
	}
	w.add(BaseMissing, map[string]any{
		"bsi_version": bsi.Version, "bsi_letter": bsi.Letter, "bsi_build": bsi.Build, "prerequisite_build": bsi.PrerequisiteBuild,
	})
}
