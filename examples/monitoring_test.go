package examples_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"plimsoll/status/patching"
)

// labels are the values that were seen for each label of a metric.
type labels map[string]map[string]bool

var (
	sample  = regexp.MustCompile(`(?m)^([a-z]\w*)(?:\{(.*)\})? \S+$`)
	pair    = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	metric  = regexp.MustCompile(`\b((?:plimsoll|go|process)_\w+)(?:\{([^}]*)\})?`)
	matcher = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouped = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// enumerated are the labels whose values are fixed by the program.
var enumerated = []string{"state", "flag", "days", "result", "endpoint", "quantile", "profile"}

// exported reads the metrics that a server gives, by the name under which Prometheus stores each.
func exported(t *testing.T) map[string]labels {
	t.Helper()
	found := map[string]labels{}
	server := serve(t)
	// Of gates there are metrics only when a policy has one. It governs no Mac.
	ask(t, server, "POST", "/v1/policies", `{"name":"ringed","priority":1,"assign":{"groups":["none"]},"updates":{"mode":"automatic",`+
		`"within_days":14},"rings":[{"name":"first","percent":10,"within_days":5},{"name":"last"}],"gate":{}}`, 201)
	for _, m := range sample.FindAllStringSubmatch(ask(t, server, "GET", "/metrics", "", 200), -1) {
		if found[m[1]] == nil {
			found[m[1]] = labels{}
		}
		for _, p := range pair.FindAllStringSubmatch(m[2], -1) {
			if found[m[1]][p[1]] == nil {
				found[m[1]][p[1]] = map[string]bool{}
			}
			found[m[1]][p[1]][p[2]] = true
		}
	}
	// Those of patch reports come with the first closed day, and with Macs that missed a release.
	found["plimsoll_patch_days"] = labels{"quantile": {"0.5": true, "0.9": true, "0.95": true}, "release": {"26.4": true}}
	found["plimsoll_sla_open"] = labels{"profile": {}}
	for _, p := range patching.Profiles {
		found["plimsoll_sla_open"]["profile"][p.Profile] = true
	}
	// That of what Macs send is the process's own, which counts it in front of the API.
	found["plimsoll_mdm_messages_total"] = labels{"result": {"all": true, "refused": true}}
	if len(found) < 40 {
		t.Fatalf("the server gives %d metrics: %v", len(found), slices.Sorted(maps.Keys(found)))
	}
	return found
}

// faults says what an expression asks for that does not exist.
func faults(expr string, known map[string]labels) []string {
	var all []string
	used := metric.FindAllStringSubmatch(expr, -1)
	given := map[string]bool{"job": true, "instance": true} // Prometheus adds them
	for _, m := range used {
		have, ok := known[m[1]]
		if !ok {
			all = append(all, "there is no metric "+m[1])
			continue
		}
		for name := range have {
			given[name] = true
		}
		for _, f := range matcher.FindAllStringSubmatch(m[2], -1) {
			name, op, value := f[1], f[2], f[3]
			switch {
			case name == "job" || name == "instance":
			case have[name] == nil:
				all = append(all, fmt.Sprintf("%s has no label %s", m[1], name))
			case slices.Contains(enumerated, name) && op == "=" && !have[name][value]:
				all = append(all, fmt.Sprintf("%s is never %s of %s", value, name, m[1]))
			}
		}
		if fleetWide[m[1]] && !overReplicas.MatchString(expr) {
			all = append(all, m[1]+" is the same on every replica: take its max")
		}
	}
	for _, g := range grouped.FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(g[1], ",") {
			if name = strings.TrimSpace(name); !given[name] {
				all = append(all, "none of the metrics has the label "+name)
			}
		}
	}
	return all
}

// fleetWide are the gauges of the whole fleet, which every replica gives: their sum counts each Mac once for each replica.
var (
	fleetWide = map[string]bool{
		"plimsoll_devices": true, "plimsoll_flagged": true, "plimsoll_policy_devices": true, "plimsoll_gate_halted": true, "plimsoll_ring_devices": true, "plimsoll_exempt_devices": true, "plimsoll_identities_expiring": true, "plimsoll_due_within_days": true,
		"plimsoll_outstanding_devices": true, "plimsoll_catalogue_stale": true, "plimsoll_catalogue_source": true, "plimsoll_catalogue_left_out": true, "plimsoll_catalogue_age_seconds": true, "plimsoll_catalogue_revision": true,
		"plimsoll_patch_days": true, "plimsoll_sla_open": true,
	}
	overReplicas = regexp.MustCompile(`\bmax( by \([^)]*\) )?\s*\(`)
)

func TestFaults(t *testing.T) {
	known := map[string]labels{
		"plimsoll_devices":       {"state": {"overdue": true, "compliant": true}},
		"plimsoll_reports_total": {"result": {"odd": true}},
	}
	for _, c := range []struct {
		name, expr string
		want       []string
	}{
		{"right", `max by (state) (plimsoll_devices{state="overdue",job="plimsoll"})`, nil},
		{"no such metric", `rate(plimsoll_report_total[5m])`, []string{"there is no metric plimsoll_report_total"}},
		{"no such label", `plimsoll_reports_total{kind="odd"}`, []string{"plimsoll_reports_total has no label kind"}},
		{"no such value", `plimsoll_reports_total{result="strange"}`, []string{"strange is never result of plimsoll_reports_total"}},
		{"no such label to group by", `sum by (kind) (plimsoll_reports_total)`, []string{"none of the metrics has the label kind"}},
		{"added up over replicas", `sum(plimsoll_devices)`, []string{"plimsoll_devices is the same on every replica: take its max"}},
	} {
		if got := faults(c.expr, known); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPrometheus(t *testing.T) {
	config := document[struct {
		Global        map[string]string `yaml:"global"`
		RuleFiles     []string          `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string            `yaml:"job_name"`
			MetricsPath   string            `yaml:"metrics_path"`
			Authorization map[string]string `yaml:"authorization"`
			StaticConfigs []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}](t, "prometheus/prometheus.yml", true)
	if !slices.Equal(config.RuleFiles, []string{"alerts.yml"}) {
		t.Errorf("rule files: %v", config.RuleFiles)
	}
	if len(config.ScrapeConfigs) != 1 || config.ScrapeConfigs[0].JobName != "plimsoll" || config.ScrapeConfigs[0].MetricsPath != "" ||
		config.ScrapeConfigs[0].Authorization["credentials_file"] == "" || len(config.ScrapeConfigs[0].StaticConfigs) != 1 {
		t.Errorf("scrape configurations: %+v", config.ScrapeConfigs)
	}

	rules := document[struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}](t, "prometheus/alerts.yml", true)
	known, seen := exported(t), map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			for _, f := range faults(r.Expr, known) {
				t.Errorf("%s: %s", r.Alert, f)
			}
			if !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || seen[r.Alert] {
				t.Errorf("%s has no severity, no summary, or comes twice: %v %v", r.Alert, r.Labels, r.Annotations)
			}
			seen[r.Alert] = true
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d alerts", len(seen))
	}
	if tool(t, "promtool", "check", "config", "--syntax-only", "prometheus/prometheus.yml") {
		tool(t, "promtool", "check", "rules", "prometheus/alerts.yml")
		tool(t, "promtool", "test", "rules", "testdata/alerts_test.yml")
	}
}

func TestGrafana(t *testing.T) {
	type target struct {
		Expr string `json:"expr"`
	}
	var board struct {
		Title  string `json:"title"`
		UID    string `json:"uid"`
		Panels []struct {
			ID      int            `json:"id"`
			Title   string         `json:"title"`
			Type    string         `json:"type"`
			GridPos map[string]int `json:"gridPos"`
			Targets []target       `json:"targets"`
		} `json:"panels"`
		Templating struct {
			List []struct {
				Name       string `json:"name"`
				Type       string `json:"type"`
				Definition string `json:"definition"`
			} `json:"list"`
		} `json:"templating"`
	}
	decode(t, "grafana/plimsoll.json", &board)
	if board.Title != "Plimsoll" || board.UID == "" {
		t.Errorf("title %q, uid %q", board.Title, board.UID)
	}
	known, ids := exported(t), map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.GridPos["w"] < 1 || p.GridPos["x"]+p.GridPos["w"] > 24 {
			t.Errorf("panel %q has the id of another, or no place: %d %v", p.Title, p.ID, p.GridPos)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			for _, f := range faults(q.Expr, known) {
				t.Errorf("panel %q: %s", p.Title, f)
			}
		}
	}
	if len(ids) < 15 {
		t.Errorf("%d panels", len(ids))
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			if name, ok := strings.CutPrefix(v.Definition, "label_values(plimsoll_policy_devices, "); !ok || known["plimsoll_policy_devices"][strings.TrimSuffix(name, ")")] == nil {
				t.Errorf("variable %s: %s", v.Name, v.Definition)
			}
		}
	}
}
