package compliance

// EventTypes are all types of events with what each says and what its data may have.
var EventTypes = []struct {
	Type, Means string
	Data        []string
}{
	{EventEnrolled, "the Mac enrolled", nil},
	{EventReEnrolled, "the Mac enrolled again: a new life, of which nothing was known", nil},
	{EventRemoved, "the Mac checked out", nil},
	{EventPolicyChanged, "another policy governs the Mac, or none", []string{"from", "to"}},
	{
		EventTargetSet,
		"a release became what is asked of the Mac",
		[]string{"kind", "version", "letter", "build", "due_local", "deadline_local", "from"},
	},
	{
		EventTargetCleared,
		"nothing is asked of the Mac any more, although it did not get the release",
		[]string{"kind", "version", "letter", "build"},
	},
	{EventDeadlineChanged, "the same release is asked for by another deadline", []string{"from", "to"}},
	{EventManifestServed, "the Mac fetched the list of its declarations", []string{"token", "from"}},
	{
		EventDeclarationActive,
		"the Mac activated the declaration that enforces the release",
		[]string{"kind", "version", "letter", "build"},
	},
	{
		EventDeclarationRejected,
		"the Mac rejected one of our declarations",
		[]string{"identifier", "server_token", "code", "description", "reasons", "version", "letter", "build"},
	},
	{EventPhase, "the update came to another phase", []string{"from", "to"}},
	{
		EventFailed,
		"an attempt to install the release failed",
		[]string{"count", "reason", "failed_at", "version", "letter", "build", "install_state"},
	},
	{
		EventUpdated,
		"the Mac runs a newer version or build",
		[]string{"from", "to", "from_build", "to_build", "reached_target", "seconds_since_target", "seconds_since_served"},
	},
	{
		EventReverted,
		"the Mac runs an older version, or lost a Background Security Improvement",
		[]string{"from", "to", "from_build", "to_build"},
	},
	{EventState, "the Mac came to a state without an event of its own", []string{"from", "to", "reasons"}},
	{
		EventOverdue,
		"the deadline passed while the release was missing",
		[]string{"kind", "version", "letter", "build", "deadline_local", "overdue_at"},
	},
	{EventCompliant, "nothing is asked of the Mac (any more)", []string{"from"}},
	{EventSilent, "the Mac was not in contact for 7 days", []string{"last_seen_at"}},
	{
		EventIdentityChanged,
		"the device showed another certificate than before: it enrolled again, its certificate was renewed, or another took its place",
		[]string{"from", "to", "expires_at"},
	},
	{
		EventRefused,
		"a message in the Mac's name, or under its certificate, was refused; at most one a day and cause",
		[]string{"cause", "fingerprint"},
	},
	{EventContradicted, "the Mac reported another serial number or UDID than it enrolled with", []string{"odd"}},
	{EventConflict, "the Mac named a declaration that is not this server's as the cause of its update", []string{"identifier"}},
	{
		EventUpdateCommand,
		"a command that downloads, announces or installs the release was queued for a Mac below macOS 14",
		[]string{"action", "uuid", "version", "build", "deadline_local"},
	},
	{EventCommandFailed, "the Mac answered a command with an error", []string{"uuid", "request_type", "status", "errors"}},
	{
		EventExempted,
		"an admin exempted the Mac, or changed the end or the reason of its exemption",
		[]string{"until", "since", "reason", "by"},
	},
	{EventExemptionEnded, "the exemption of the Mac ended, by itself or before its time", []string{"until", "since", "by"}},
	{
		EventUpdateNow,
		"an admin has the Mac install the release at once, or took that back",
		[]string{"version", "build", "until", "reason", "by", "taken_back"},
	},
	{
		EventRingOpened,
		"a release was opened for a ring of a policy and those before it, by the gate or by hand",
		[]string{"policy", "build", "version", "ring", "why", "reason", "by", "asked", "done", "bad"},
	},
	{
		EventGateHalted,
		"the gate of a policy keeps a release from the rings that are closed for it: on too many Macs it fails",
		[]string{"policy", "build", "version", "asked", "done", "bad"},
	},
	{EventGateResumed, "the gate halts it no longer", []string{"policy", "build", "version", "since_at", "asked", "done", "bad"}},
	{EventAdminAction, "an entry of the audit, by its number n", []string{"n", "actor", "action", "object", "reason"}},
	{EventBack, "the Mac came back from more than 7 days of silence", []string{"silent_since", "silent_seconds"}},
	{
		EventEnrolment,
		"a Mac in Setup Assistant was asked to install a version before it enrols, or let through",
		[]string{"serial", "version", "build", "asked", "why"},
	},
}
