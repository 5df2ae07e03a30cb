package app

import (
	"plimsoll/server/mdm"
	"plimsoll/server/metrics"
)

// counts are the counters of the Macs' side, for /metrics.
func counts(c *mdm.Counters) []metrics.Count {
	const (
		messages   = "MDM messages of Macs: all, and of those refused (400 and other 4xx), too large (413), too many (429), failed (5xx)."
		profiles   = "Requests for the enrolment profile: given, refused, and answered with a version to install first (asked)."
		identities = "Requests for a device identity (SCEP): issued, refused."
		pushes     = "Notifications to APNs: sent, failed."
		queries    = "Queries that were queued for Macs."
	)
	all := []metrics.Count{
		{
			Name:   "mdm_skewed_total",
			Help:   "MDM messages that were signed by a clock which is wrong by ten minutes or more.",
			Result: "taken",
			Of:     &c.Skewed,
		},
		{
			Name:   "mdm_unawaited_answers_total",
			Help:   "Answers of Macs to commands that were not awaited.",
			Result: "odd",
			Of:     &c.Unawaited,
		},
		{Name: "mdm_messages_total", Help: messages, Result: "all", Of: &c.Messages},
		{Name: "mdm_messages_total", Help: messages, Result: "refused", Of: &c.Refused},
		{Name: "mdm_messages_total", Help: messages, Result: "too_large", Of: &c.TooLarge},
		{Name: "mdm_messages_total", Help: messages, Result: "too_many", Of: &c.TooMany},
		{Name: "mdm_messages_total", Help: messages, Result: "failed", Of: &c.Failed},
		{Name: "enrolment_profiles_total", Help: profiles, Result: "given", Of: &c.Profiles},
		{Name: "enrolment_profiles_total", Help: profiles, Result: "refused", Of: &c.ProfilesRefused},
		{Name: "enrolment_profiles_total", Help: profiles, Result: "asked", Of: &c.UpdatesAsked},
		{
			Name: "machineinfo_unverified_total",
			Help: "Macs that wanted to enrol and whose MachineInfo had no good signature; they were let through.",
			Of:   &c.Unverified,
		},
		{Name: "identities_total", Help: identities, Result: "issued", Of: &c.Identities},
		{Name: "identities_total", Help: identities, Result: "refused", Of: &c.IdentitiesRefused},
		{Name: "apns_notifications_total", Help: pushes, Result: "sent", Of: &c.PushesSent},
		{Name: "apns_notifications_total", Help: pushes, Result: "failed", Of: &c.PushesFailed},
		{Name: "queries_total", Help: queries, Result: "queued", Of: &c.Asks},
	}
	for i, cause := range mdm.Causes {
		all = append(all, metrics.Count{
			Name: "mdm_refusals_total", Help: "MDM messages that were refused, by cause.", Result: cause, Of: &c.ByCause[i],
		})
	}
	return all
}
