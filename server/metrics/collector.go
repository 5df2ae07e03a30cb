package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"plimsoll/server/fleet"
	"plimsoll/status/compliance"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("plimsoll_"+name, help, labels, nil)
}

var (
	descDevices     = desc("devices", "Enrolled Macs by state.", "state")
	descFlagged     = desc("flagged", "Enrolled Macs that have the flag.", "flag")
	descPolicies    = desc("policy_devices", "Enrolled Macs that the policy governs, by state.", "policy", "state")
	descHalted      = desc("gate_halted", "Releases that the gate of the policy halts.", "policy")
	descRings       = desc("ring_devices", "Enrolled Macs of a ring of the policy, by state.", "policy", "ring", "state")
	descDue         = desc("due_within_days", "Macs whose deadline lies within so many days from now.", "days")
	descOutstanding = desc("outstanding_devices", "Macs that were told to sync and have not synced yet.")
	descExempt      = desc("exempt_devices", "Macs with an exemption that lasts.")
	descExpiring    = desc("identities_expiring", "Enrolled Macs whose certificate ends within 30 days.")
	descLeader      = desc("leader", "1 on the replica that sweeps and fetches; the others have 0.")
	descAge         = desc("catalogue_age_seconds", "Time since the last response of the feed that was accepted.")
	descRevision    = desc("catalogue_revision", "Counts the contents of the feed that were accepted.")
	descStale       = desc("catalogue_stale", "1 while the catalogue is stale.")
	descSource      = desc("catalogue_source", "1 while there is a source to fetch releases from; 0 with --catalog none.")
	descLeftOut     = desc(
		"catalogue_left_out",
		"Entries of the response in force that made no sense and were left out; above 20 it stays at 21.",
	)
	descPatchDays = desc(
		"patch_days",
		"Days from the posting of a release until a share of the Macs that missed it had it, as of the last closed day; "+
			"the five newest releases, and only shares that were reached.",
		"quantile", "release",
	)
	descSLAOpen = desc(
		"sla_open",
		"Macs that miss a release for longer than the profile allows, once for each release, as of the last closed day.",
		"profile",
	)
	descReports = desc(
		"reports_total",
		"Status reports: accepted, odd (accepted, with parts that were ignored or cut), refused.",
		"result",
	)
	descIngest  = desc("report_ingest_seconds", "Time to take in a status report.")
	descFetches = desc("catalogue_fetches_total", "Fetches of the feed: all, failed, refused for their content.", "result")
	descPushes  = desc("pushes_total", "Pushes through APNs: sent, failed.", "result")
	descServed  = desc("ddm_served_total", "Answers to Macs by endpoint.", "endpoint")
)

// counter is a count of the fleet's under a name of its own.
type counter struct {
	desc *prometheus.Desc
	of   func(*fleet.Counters) *atomic.Int64
}

var counters = []counter{
	{
		desc("commands_total", "DeclarativeManagement commands that were queued."),
		func(c *fleet.Counters) *atomic.Int64 { return &c.Commands },
	},
	{
		desc("update_commands_total", "Update commands that were queued for Macs below macOS 14."),
		func(c *fleet.Counters) *atomic.Int64 { return &c.UpdateCommands },
	},
	{
		desc("odd_update_answers_total", "Answers to update commands that no command waits for."),
		func(c *fleet.Counters) *atomic.Int64 { return &c.OddAnswers },
	},
	{desc("sweeps_total", "Sweeps over the fleet."), func(c *fleet.Counters) *atomic.Int64 { return &c.Sweeps }},
	{desc("swept_devices_total", "Macs that sweeps looked at."), func(c *fleet.Counters) *atomic.Int64 { return &c.SweptMacs }},
	{
		desc("manifests_kept_total", "Manifests that were kept because they differ from the one before."),
		func(c *fleet.Counters) *atomic.Int64 { return &c.ManifestsKept },
	},
	{
		desc("resyncs_total", "Times that a Mac was made to sync again although nothing changed."),
		func(c *fleet.Counters) *atomic.Int64 { return &c.ResyncsRaised },
	},
	{
		desc("device_errors_total", "Requests of Macs that ended with a fault on our side."),
		func(c *fleet.Counters) *atomic.Int64 { return &c.MacErrors },
	},
	{
		desc("stale_writes_total", "Advertisements that were not kept because a newer one was there."),
		func(c *fleet.Counters) *atomic.Int64 { return &c.Stale },
	},
}

// fleetCollector asks the fleet for its numbers whenever the metrics are read.
type fleetCollector struct {
	stats func() fleet.Stats
}

// Describe names all metrics.
func (*fleetCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descDevices, descFlagged, descPolicies, descHalted, descRings, descDue, descOutstanding, descExempt, descExpiring, descLeader,
		descAge, descRevision, descStale, descSource, descLeftOut,
		descPatchDays, descSLAOpen, descReports, descIngest, descFetches, descPushes, descServed,
	} {
		ch <- d
	}
	for _, c := range counters {
		ch <- c.desc
	}
}

// Collect sends all numbers.
func (f *fleetCollector) Collect(ch chan<- prometheus.Metric) {
	s := f.stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, state := range compliance.States {
		gauge(descDevices, float64(s.Compliance.States[string(state)]), string(state))
	}
	for _, flag := range compliance.FlagNames {
		gauge(descFlagged, float64(s.Compliance.Flags[flag]), flag)
	}
	for _, p := range s.Compliance.Policies {
		for _, state := range compliance.States {
			gauge(descPolicies, float64(p.States[string(state)]), p.Name, string(state))
		}
	}
	for policy, halts := range s.Rings.Halted {
		gauge(descHalted, float64(halts), policy)
	}
	for _, ring := range s.Rings.Rings {
		for _, state := range compliance.States {
			gauge(descRings, float64(ring.States[state]), ring.Policy, ring.Ring, string(state))
		}
	}
	for _, within := range []struct {
		days  int
		label string
	}{{1, "1"}, {7, "7"}, {30, "30"}} {
		gauge(descDue, float64(s.DueWithin[within.days]), within.label)
	}
	gauge(descOutstanding, float64(s.Outstanding))
	gauge(descExempt, float64(s.Exempt))
	gauge(descExpiring, float64(s.Compliance.Flags["identity_expiring"]))
	leader := 0.0
	if s.Leading {
		leader = 1
	}
	gauge(descLeader, leader)
	gauge(descAge, s.CatalogueAge.Seconds())
	gauge(descRevision, float64(s.Compliance.Catalogue.Revision))
	stale := 0.0
	if s.Compliance.Catalogue.Stale {
		stale = 1
	}
	gauge(descStale, stale)
	source := 0.0
	if s.CatalogueSource {
		source = 1
	}
	gauge(descSource, source)
	gauge(descLeftOut, float64(s.LeftOut))
	collectPace(gauge, s.Pace)
	collectCounters(ch, s.Counters)
}

func collectPace(gauge func(*prometheus.Desc, float64, ...string), pace *fleet.Pace) {
	if pace == nil {
		return
	}
	for i := range pace.Releases {
		r := &pace.Releases[i]
		for _, q := range []struct {
			quantile string
			days     *int
		}{{"0.5", r.Median}, {"0.9", r.P90}, {"0.95", r.P95}} {
			if q.days != nil {
				gauge(descPatchDays, float64(*q.days), q.quantile, r.Name())
			}
		}
	}
	for profile, n := range pace.Open {
		gauge(descSLAOpen, float64(n), profile)
	}
}

func collectCounters(ch chan<- prometheus.Metric, c *fleet.Counters) {
	count := func(d *prometheus.Desc, n *atomic.Int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n.Load()), labels...)
	}
	count(descReports, &c.ReportsAccepted, "accepted")
	count(descReports, &c.ReportsOdd, "odd")
	count(descReports, &c.ReportsRefused, "refused")
	taken := c.ReportsAccepted.Load()
	ch <- prometheus.MustNewConstSummary(descIngest, uint64(max(taken, 0)), time.Duration(c.IngestNanos.Load()).Seconds(), nil)
	count(descFetches, &c.Fetches, "all")
	count(descFetches, &c.FetchesFailed, "failed")
	count(descFetches, &c.FetchesRefused, "refused")
	count(descPushes, &c.Pushes, "sent")
	count(descPushes, &c.PushesFailed, "failed")
	count(descServed, &c.TokensServed, "tokens")
	count(descServed, &c.ItemsServed, "declaration-items")
	count(descServed, &c.DeclarationsServed, "declaration")
	for _, k := range counters {
		count(k.desc, k.of(c))
	}
}
