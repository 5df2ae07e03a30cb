package compliance

import "plimsoll/declarations/command"

// Code documents one code of a reason. Text and Advice are patterns: {key} stands for a piece of evidence, and a part in
// square brackets is left out when a piece of evidence in it is missing.
type Code struct {
	Code     string
	Text     string
	Advice   string
	Evidence []string // the keys that the evidence may have
}

// The codes that this package itself hands out.
const (
	NeverContacted        = "never_contacted"
	NeverSynced           = "never_synced"
	NotSyncedYet          = "not_synced"
	NotFetched            = "not_fetched"
	NotActive             = "not_active"
	DeclarationRejected   = "rejected"
	AlreadyNewer          = "already_newer"
	TargetWithdrawn       = "target_withdrawn"
	NotOfferedForBoard    = "not_offered_for_board"
	BaseMissing           = "base_missing"
	DownloadingLong       = "downloading_long"
	OtherPhase            = "other_phase"
	NoBootstrapToken      = "bootstrap_token_missing"
	InstallFailed         = "install_failed"
	FailureBattery        = "failure_battery"
	FailureDisk           = "failure_disk"
	DeadlinePassedOffline = "deadline_passed_offline"
	DeadlinePassed        = "deadline_passed"
	DeadlineAhead         = "deadline_ahead"
	Returned              = "returned"
	DelayedByUser         = "delayed"
	NewerHeld             = "newer_held"
	PushFailed            = "push_failed"
	SilentMac             = "silent"
	StaleReport           = "report_stale"
	StaleCatalogue        = "catalogue_stale"
	MacOSTooOld           = "macos_too_old"
	EnforcementNotListed  = "enforcement_not_listed"
	NotSupervised         = "not_supervised"
	NeedsInstaller        = "upgrade_needs_installer"
	NotAMac               = "not_a_mac"
	RefusedMac            = "refused"
	CommandFailed         = "command_failed"
	Contradicted          = "report_contradicts"
	Conflict              = "conflict"
	IdentityEnding        = "identity_expiring"

	codeNotGoverned       = "not_governed"
	codePaused            = "paused"
	codeNothingManaged    = "nothing_managed"
	codeVersionUnknown    = "version_unknown"
	codeBoardUnknown      = "board_unknown"
	codeAssignmentUnknown = "assignment_unknown"
	codeUnsupported       = "unsupported"
	codeHeld              = "held"
	codeExempt            = "exempt"
)

const notFetchingAdvice = "Wait until it has been told and is online. If it is in contact and still does not fetch, request a sync, and restart the Mac if that does not help."

// Codes are all codes with their meaning, the most decisive first: that is the order of the reasons of a Mac.
// Those that come from the plan (not_governed to held, above_track, ...) keep the plan's own sentence when it has one.
var Codes = []Code{
	{
		codeNotGoverned,
		"No policy applies to this Mac.",
		"Put the Mac into a group that a policy is assigned to, or widen a policy's assignment.",
		nil,
	},
	{
		codePaused,
		"Enforcement is paused[ since {since_at}][: {reason}].",
		"Resume enforcement when the cause is gone.",
		[]string{"since_at", "reason", "by"},
	},
	{
		codeNothingManaged,
		"The policy[ {policy}] that governs this Mac manages nothing.",
		"Let the policy manage updates, Background Security Improvements or settings.",
		[]string{"policy"},
	},
	{
		NotAMac,
		"This device is no Mac[ but an {family}][ ({model})]; only Macs are managed here.",
		"Remove its enrolment, or leave it: it is asked for nothing and takes no part in the counts.",
		[]string{"family", "model", "macos"},
	},
	{
		codeVersionUnknown,
		"The Mac has not told which macOS it runs.",
		"Wait for its first status report; if none comes, request a sync and look at its last contact.",
		[]string{"last_seen_at", "last_report_at"},
	},
	{
		codeBoardUnknown,
		"The board id of the Mac[ ({model})] is not known, so no release can be chosen for it.",
		"macOS 15 and later report it; before that the Mac answers a query made at enrolment. Request a sync, or enrol it again.",
		[]string{"model", "macos"},
	},
	{
		codeAssignmentUnknown,
		"A fact that decides which policy governs this Mac is not known yet.",
		"Wait for its first status report, or assign the policy by group.",
		[]string{"policy", "fault"},
	},
	{
		"not_in_catalogue",
		"The catalogue has no release for this Mac[ (board {board}, macOS {macos})].",
		"Refresh the catalogue. Apple may no longer release anything for this model or major version.",
		[]string{"board", "macos"},
	},
	{
		NotOfferedForBoard,
		"Apple offers what the policy names[ (macOS {named_version})], but not for this Mac[ (board {board})].",
		"Name a version that Apple offers for this model, or assign another policy to it.",
		[]string{"named_version", "board", "model"},
	},
	{
		TargetWithdrawn,
		"Apple does not list the target[ macOS {withdrawn_version}][ (build {withdrawn_build})] any more[, missing since {lacked_at}][; the target is now macOS {version}].",
		"Nothing, if there is another target; otherwise name a version that Apple offers.",
		[]string{"withdrawn_version", "withdrawn_build", "lacked_at", "version", "letter"},
	},
	{
		codeUnsupported,
		"No release that satisfies the policy[ {policy}] exists for this Mac.",
		"Lower what the policy asks for, assign another policy to this model, or replace the Mac.",
		[]string{"policy", "version", "board", "macos"},
	},
	{
		codeHeld,
		"Only a hold keeps this Mac from an update[: macOS {version}][ is held because of {reason}].",
		"Release the hold when the release may be installed.",
		[]string{"version", "build", "reason", "subject", "until"},
	},
	{
		codeExempt,
		"The Mac is exempt from updates[ until {until}][: {reason}].",
		"Wait until the exemption ends, or end it.",
		[]string{"until", "reason", "by", "version", "letter", "build"},
	},
	{
		MacOSTooOld,
		"macOS[ {macos}] is too old for enforcement by declaration, which came with macOS 14[; this Mac needs {mechanism}].",
		"Update the Mac to macOS 14 or later once by the mechanism named; from then on it is enforced.",
		[]string{"macos", "needs", "mechanism", "version", "letter", "build"},
	},
	{
		NotSupervised,
		"The Mac is not supervised, which Apple demands for enforcing updates.",
		"Enrol the Mac by Automated Device Enrolment, or have its user approve its enrolment, so that it is supervised.",
		[]string{"macos", "version", "letter", "build"},
	},
	{
		EnforcementNotListed,
		"The Mac[ on macOS {macos}] does not list the enforcement of updates among what it supports.",
		"Make sure that the Mac is supervised and enrolled by device, then request a sync.",
		[]string{"macos", "version", "letter", "build"},
	},
	{
		NeedsInstaller,
		"An Intel Mac on macOS 12 cannot be told to upgrade[ to macOS {version}]: it needs the macOS installer.",
		"Run the macOS installer on the Mac, or replace it.",
		[]string{"macos", "needs", "mechanism", "version", "build"},
	},

	{
		DeclarationRejected,
		"The Mac rejected the declaration[ {identifier}][: {code}][: {description}].",
		"Read Apple's words in the evidence. Correct what the policy asks for, or take away what else manages updates on the Mac. It tries again when the declaration changes (another deadline, say) or when it enrols again.",
		[]string{"identifier", "server_token", "code", "description", "reasons", "version", "letter", "build"},
	},
	{
		FailureBattery,
		"Installing macOS {version} failed because of the battery or power[; attempts that failed: {count}].",
		"Have the Mac plugged in and left on; macOS tries again by itself.",
		[]string{"version", "letter", "build", "count", "failed_at", "reason"},
	},
	{
		FailureDisk,
		"Installing macOS {version} failed for lack of disk space[; attempts that failed: {count}].",
		"Free disk space on the Mac; macOS tries again by itself.",
		[]string{"version", "letter", "build", "count", "failed_at", "reason"},
	},
	{
		InstallFailed,
		"Installing macOS {version} failed[, the last time at {failed_at}][ (attempts: {count})][: {reason}].",
		"macOS tries again by itself. If it keeps failing, restart the Mac and look at the text in the evidence.",
		[]string{"version", "letter", "build", "count", "failed_at", "reason", "install_state"},
	},

	{
		RefusedMac,
		"A message in this Mac's name was refused[ at {refused_at}][: {why}].",
		"Look at the cause[. {advice}].",
		[]string{"cause", "refused_at", "why", "advice", "last_seen_at"},
	},
	{
		Conflict,
		"The Mac names a declaration of another server as the cause of its update[: {identifier}].",
		"Find who publishes that declaration and take it away there: of two servers that enforce updates neither keeps its promise.",
		[]string{"identifier"},
	},
	{
		Contradicted,
		"The Mac reports another serial number or UDID than it enrolled with; that is not taken.",
		"Look at its last reports: either its hardware was exchanged (then enrol it again), or something on it writes its reports.",
		[]string{"serial"},
	},
	{
		CommandFailed,
		"The Mac answered a command[ ({request_type})] with an error[: {error}].",
		"Read Apple's words in the evidence. Macs on macOS 12 and older refuse declarative management; else request a sync, or enrol the Mac again if it keeps refusing.",
		[]string{"request_type", "uuid", "status", "error", "errors", "failed_at"},
	},
	{
		NeverContacted,
		"The Mac has never contacted this server[ since it enrolled at {enrolled_at}].",
		"Check that it is switched on, online and still has its enrolment profile.",
		[]string{"enrolled_at"},
	},
	{
		DeadlinePassedOffline,
		"The deadline[ {deadline_local}] passed while the Mac was offline[; its last contact was at {last_seen_at}].",
		"Have it switched on: macOS enforces the update about an hour after that.",
		[]string{"version", "letter", "build", "deadline_local", "overdue_at", "last_seen_at"},
	},
	{
		SilentMac,
		"The Mac has not been in contact for over 7 days[; its last contact was at {last_seen_at}].",
		"Find the Mac and have it switched on and online; if it was retired, remove it.",
		[]string{"last_seen_at"},
	},
	{
		PushFailed,
		"The Mac could not be told to sync[: {push_error}].",
		"Check the push certificate and that the Mac and this server reach Apple's push service. The Mac still syncs when it checks in by itself.",
		[]string{"push_error"},
	},
	{
		NeverSynced,
		"The Mac has never fetched its declarations[; it was told to at {told_at}][; its last contact was at {last_seen_at}].",
		notFetchingAdvice,
		[]string{"enrolled_at", "told_at", "last_seen_at"},
	},
	{
		NotSyncedYet,
		"The Mac has not yet fetched what it is told now[; it was told to at {told_at}][; it last fetched at {synced_at}].",
		notFetchingAdvice,
		[]string{"told_at", "synced_at", "last_seen_at"},
	},
	{
		StaleReport,
		"The Mac has not reported its status for over 3 days[; its last report came at {last_report_at}].",
		"What is shown may be old. A sync is requested by itself; if that does not help, restart the Mac.",
		[]string{"last_seen_at", "last_report_at"},
	},
	{
		NotFetched,
		"The Mac was served the update's declaration[ at {served_at}] but has not reported having it[; its last report came at {last_report_at}].",
		"Wait for its next report; if none comes or it still lacks the declaration, request a sync.",
		[]string{"identifier", "server_token", "served_at", "last_report_at"},
	},
	{
		NotActive,
		"The Mac has the update's declaration but has not activated it[: {code}][: {description}].",
		"Read Apple's words in the evidence, then request a sync.",
		[]string{"identifier", "server_token", "code", "description", "reasons"},
	},
	{
		DownloadingLong,
		"macOS {version} has been downloading for more than a day[, since {phase_at}].",
		"Check the Mac's connection, its free disk space, and whether a proxy or content filter slows Apple's servers down.",
		[]string{"version", "letter", "build", "phase_at"},
	},
	{
		"installing",
		"macOS {version} is being installed[, since {phase_at}].",
		"Nothing: wait for the Mac to come back and report.",
		[]string{"version", "letter", "build", "phase_at"},
	},
	{
		"prepared",
		"macOS {version} is downloaded and prepared[ since {phase_at}]; macOS installs it at the deadline[ {deadline_local}] or when the user agrees.",
		"Nothing before the deadline, or ask the user to install it now. After it, have the Mac on, online and plugged in: macOS enforces within about an hour.",
		[]string{"version", "letter", "build", "phase_at", "deadline_local"},
	},
	{
		"downloading",
		"macOS {version} is being downloaded[, since {phase_at}].",
		"Nothing: wait for the download.",
		[]string{"version", "letter", "build", "phase_at"},
	},
	{
		"waiting",
		"The Mac waits to begin with macOS {version}[, since {phase_at}].",
		"Nothing: macOS chooses the moment; it helps when the Mac is on, online and plugged in.",
		[]string{"version", "letter", "build", "phase_at"},
	},
	{
		OtherPhase,
		"The Mac reports the state {install_state} for macOS {version}, which this server does not know.",
		"Look at the Mac's status; Apple may have added a state.",
		[]string{"install_state", "version", "letter", "build", "phase_at"},
	},
	{
		command.UserMustAuthorize,
		"A user must authorise the installation with their password: the Mac's bootstrap token may not do it[ ({allowed})].",
		"Let a bootstrap token authorise updates (Automated Device Enrolment does), or ask the user to install the update.",
		[]string{"allowed", "version", "build"},
	},
	{
		command.UserCanDecline,
		"The user can still stop the upgrade: Apple has no command that forces one.",
		"Ask the user to let it happen. From macOS 14 on upgrades are enforced.",
		[]string{"version", "build"},
	},
	{
		NoBootstrapToken,
		"The Mac has not escrowed a bootstrap token, so a user may have to authorise the installation.",
		"Have a user with a secure token log in once while the Mac is online, then check again.",
		[]string{"version", "letter", "build"},
	},
	{
		DelayedByUser,
		"The user delayed the update[ by {hours} h][; the deadline is now {deadline_local}].",
		"Nothing: the delay ends by itself.",
		[]string{"hours", "deadline_local", "version", "letter", "build"},
	},
	{
		Returned,
		"The Mac came back[ {back_at}] after more than 7 days of silence.",
		"Nothing: give it time until its deadline.",
		[]string{"back_at", "deadline_local"},
	},
	{
		command.ByCommand,
		"The Mac is told by MDM command[, in turn {action}], because enforcement by declaration came with macOS 14.",
		"Nothing: the commands follow each other by themselves. See docs/old-macs.md.",
		[]string{"lane", "action", "version", "build", "deadline_local"},
	},
	{
		DeadlinePassed,
		"The deadline[ {deadline_local}] for macOS {version} has passed, and the Mac has not reported that it installed it.",
		"Have the user restart the Mac while it is plugged in and online; macOS enforces about an hour later.",
		[]string{"version", "letter", "build", "deadline_local", "overdue_at", "last_seen_at"},
	},
	{
		DeadlineAhead,
		"macOS {version} is asked for by {deadline_local} (the Mac's own time), which lies ahead.",
		"Nothing: macOS informs the user and enforces the update at the deadline.",
		[]string{"version", "letter", "build", "deadline_local", "due_local", "overdue_at"},
	},

	{
		AlreadyNewer,
		"The Mac says that it already runs macOS {version} or something newer.",
		"Nothing: it is asked for its version.",
		[]string{"version", "letter", "build", "macos", "code", "description", "reasons"},
	},
	{
		"above_track",
		"The Mac runs a newer major version[ (macOS {macos})] than its policy asks for.",
		"Nothing, or raise the policy's track.",
		[]string{"macos", "policy"},
	},
	{
		"other_build",
		"The Mac runs the version asked for, but another build[ ({macos_build})].",
		"Nothing: another build of the version satisfies the policy.",
		[]string{"macos", "macos_build", "build"},
	},
	{
		"upgrade_not_enforced",
		"What the policy asks for needs an upgrade that it does not enforce.",
		"Let the policy enforce the upgrade, or offer it to the user on the Mac's own page.",
		[]string{"policy", "version", "macos"},
	},
	{
		"soaking",
		"A newer release[, macOS {version},] is younger than the policy allows[ ({min_age_days} days)][ and becomes a target on {from}].",
		"Nothing, or lower the smallest age of releases in the policy.",
		[]string{"version", "build", "min_age_days", "from"},
	},
	{
		"ring_closed",
		"A newer release[, macOS {version},] is not open for the Mac's ring[ {ring}] yet[; it opens on {from} at the latest].",
		"Wait for the rings before it, or open the release for the ring by hand.",
		[]string{"version", "build", "ring", "from", "opens_at", "halted"},
	},
	{
		"deadline_in_freeze",
		"The deadline passed before a freeze[, {freeze} ({first} to {last})][, so it is {deadline_local} now].",
		"Nothing: the Mac is not restarted in the freeze.",
		[]string{"freeze", "first", "last", "reason", "deadline_local"},
	},
	{
		"swap_refused",
		"A newer release[, macOS {newer},] came too close to the deadline to become the target.",
		"Nothing: it becomes the target 72 hours after the deadline.",
		[]string{"newer", "version"},
	},
	{
		BaseMissing,
		"A Background Security Improvement[, {bsi_version} ({bsi_letter}),] is for another macOS build[ ({prerequisite_build})] than the Mac runs[ ({macos_build})].",
		"Update the Mac to the base version first.",
		[]string{"bsi_version", "bsi_letter", "bsi_build", "prerequisite_build", "macos", "macos_build"},
	},
	{
		NewerHeld,
		"A newer release[, macOS {held_version} ({held_build}),] would be the target if it were not held.",
		"Release the hold when the release may be installed.",
		[]string{"held_version", "held_build"},
	},
	{
		"settings_not_supported",
		"The settings of the policy are left out: they need macOS 15 and a Mac that lists them among what it supports[ (it runs macOS {macos})].",
		"Nothing: they are sent once the Mac supports them.",
		[]string{"macos"},
	},
	{
		"beta_not_supported",
		"The Beta settings of the policy are left out: they need macOS 15.4[ (the Mac runs macOS {macos})].",
		"Nothing: they are sent once the Mac is updated.",
		[]string{"macos"},
	},
	{
		"subscriptions_not_supported",
		"The status subscriptions are left out: they need macOS 13[ (the Mac runs macOS {macos})].",
		"Update the Mac; until then it is known by its check-ins only.",
		[]string{"macos"},
	},
	{
		"self_page_missing",
		"The address of the Mac's own page is left out of the update's declaration: there is none.",
		"Give the server an https address (--url).",
		nil,
	},
	{
		"policy_part_left_out",
		"A part of the policy[ {policy}] does not resolve[: {part}].",
		"Put the policy again with that part corrected.",
		[]string{"policy", "part"},
	},
	{
		IdentityEnding,
		"The certificate of the Mac expires soon[, at {identity_ends}]; after that it is refused.",
		"Enrol the Mac again, or renew the certificate, before that.",
		[]string{"identity_ends", "last_seen_at"},
	},
	{
		StaleCatalogue,
		"The catalogue of Apple's releases is old, so newer releases may be missing from what is asked.",
		"Check that this server reaches Apple's feed, and refresh the catalogue.",
		nil,
	},
}

// otherReleases are the codes whose evidence names another version than the target's.
var otherReleases = []string{
	codeUnsupported,
	codeHeld,
	"upgrade_not_enforced",
	"other_build",
	"soaking",
	"ring_closed",
	"swap_refused",
	codeExempt,
	NeedsInstaller,
}

var ranks = func() map[string]int {
	m := make(map[string]int, len(Codes))
	for i := range Codes {
		m[Codes[i].Code] = i
	}
	return m
}()

// rankOf orders codes by decisiveness; a code that is not documented here comes last.
func rankOf(code string) int {
	if r, ok := ranks[code]; ok {
		return r
	}
	return len(Codes)
}
