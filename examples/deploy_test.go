package examples_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestDockerfile(t *testing.T) {
	text := string(read(t, "../Dockerfile"))
	froms := regexp.MustCompile(`(?m)^FROM (?:--\S+ )?(\S+)`).FindAllStringSubmatch(text, -1)
	if len(froms) != 2 {
		t.Fatalf("%d stages, want two", len(froms))
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(read(t, "../go.mod")))[1]
	if want := "golang:" + goVersion; froms[0][1] != want {
		t.Errorf("built in %s, want %s as in go.mod", froms[0][1], want)
	}
	if !strings.HasPrefix(froms[1][1], "gcr.io/distroless/static-") || !strings.HasSuffix(froms[1][1], ":nonroot") {
		t.Errorf("runs in %s", froms[1][1])
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-X main.version=", "\nVOLUME /data\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q", want)
		}
	}
	for directive, want := range map[string][]string{"HEALTHCHECK": {"/plimsoll", "healthcheck"}, "ENTRYPOINT": {"/plimsoll"}} {
		// There is no shell: only the form of a JSON array works.
		var got []string
		found := regexp.MustCompile(`(?m)^` + directive + `\b.*?(\[.*\])$`).FindStringSubmatch(text)
		if found == nil || json.Unmarshal([]byte(found[1]), &got) != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", directive, found, want)
		}
	}
	set := map[string]string{}
	for _, m := range regexp.MustCompile(`(PLIMSOLL_\w+)=(\S+)`).FindAllStringSubmatch(text, -1) {
		set[m[1]] = m[2]
	}
	checkEnvironment(t, "Dockerfile", set)
	if set["PLIMSOLL_STORE"] != "bolt:/data/plimsoll.db" {
		t.Errorf("the store is not on the volume: %s", set["PLIMSOLL_STORE"])
	}
}

func TestCompose(t *testing.T) {
	type service struct {
		Image  string `yaml:"image"`
		Build  string `yaml:"build"`
		Deploy struct {
			Replicas int `yaml:"replicas"`
		} `yaml:"deploy"`
		Environment map[string]string `yaml:"environment"`
		Command     []string          `yaml:"command"`
		Networks    []string          `yaml:"networks"`
		Ports       []string          `yaml:"ports"`
		Volumes     []string          `yaml:"volumes"`
		Rest        map[string]any    `yaml:",inline"`
	}
	c := document[struct {
		Name     string                    `yaml:"name"`
		Services map[string]service        `yaml:"services"`
		Networks map[string]map[string]any `yaml:"networks"`
		Volumes  map[string]map[string]any `yaml:"volumes"`
	}](t, "compose.yaml", true)
	for name, s := range c.Services {
		if s.Image == "" {
			t.Errorf("%s has no image", name)
		}
		for _, n := range s.Networks {
			if _, ok := c.Networks[n]; !ok {
				t.Errorf("%s is in the network %s, which is not there", name, n)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			_, declared := c.Volumes[source]
			if _, err := os.Stat(source); !declared && (err != nil || !strings.HasPrefix(source, "./")) {
				t.Errorf("%s mounts %s, which is not there", name, source)
			}
		}
		if name != "proxy" && len(s.Ports) > 0 {
			t.Errorf("%s can be reached past the proxy: %v", name, s.Ports)
		}
	}

	server := c.Services["plimsoll"]
	checkEnvironment(t, "compose.yaml", server.Environment)
	if _, err := os.Stat(filepath.Join(server.Build, "Dockerfile")); err != nil || server.Deploy.Replicas != 3 {
		t.Errorf("built in %q (%v), %d replicas", server.Build, err, server.Deploy.Replicas)
	}
	if !strings.HasPrefix(server.Environment["PLIMSOLL_URL"], "https://") {
		t.Errorf("url %q", server.Environment["PLIMSOLL_URL"])
	}
	store, err := url.Parse(server.Environment["PLIMSOLL_STORE"])
	if err != nil || store.Scheme != "redis" || !strings.HasPrefix(c.Services[store.Hostname()].Image, "redis:") {
		t.Errorf("store %s (%v)", store, err)
	}
	checkDurable(t, "compose.yaml", c.Services["redis"].Command)

	caddy := string(read(t, "compose/Caddyfile"))
	_, port, _ := strings.Cut(server.Environment["PLIMSOLL_LISTEN"], ":")
	for _, want := range []string{"name plimsoll\n", "port " + port + "\n", "{$PLIMSOLL_DOMAIN} {\n"} {
		if !strings.Contains(caddy, want) {
			t.Errorf("the proxy's configuration has no %q", want)
		}
	}
	if strings.Count(caddy, "{") != strings.Count(caddy, "}") {
		t.Error("the braces of the proxy's configuration do not match")
	}
}

// checkDurable holds the arguments of redis-server to what the store needs to keep what it acknowledged.
func checkDurable(t *testing.T, where string, args []string) {
	t.Helper()
	for _, want := range [][2]string{{"--appendonly", "yes"}, {"--appendfsync", "always"}, {"--maxmemory-policy", "noeviction"}} {
		if i := slices.Index(args, want[0]); i < 0 || i+1 >= len(args) || args[i+1] != want[1] {
			t.Errorf("%s: redis-server runs without %s %s: %q", where, want[0], want[1], args)
		}
	}
}

// object is a Kubernetes object, as far as it is looked at here.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Replicas int       `yaml:"replicas"`
		Selector yamlLabel `yaml:"selector"`
		Template struct {
			Metadata struct {
				Labels map[string]string `yaml:"labels"`
			} `yaml:"metadata"`
			Spec struct {
				SecurityContext map[string]any `yaml:"securityContext"`
				Containers      []container    `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
		Ports []struct {
			TargetPort string `yaml:"targetPort"`
		} `yaml:"ports"`
		Rules []struct {
			HTTP struct {
				Paths []struct {
					Backend struct {
						Service struct {
							Name string `yaml:"name"`
						} `yaml:"service"`
					} `yaml:"backend"`
				} `yaml:"paths"`
			} `yaml:"http"`
		} `yaml:"rules"`
	} `yaml:"spec"`
}

// yamlLabel is the selector of a Service, or within matchLabels that of others.
type yamlLabel struct {
	Name        string            `yaml:"app.kubernetes.io/name"`
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type container struct {
	Image           string   `yaml:"image"`
	Args            []string `yaml:"args"`
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct {
			Drop []string `yaml:"drop"`
		} `yaml:"capabilities"`
	} `yaml:"securityContext"`
	Ports []struct {
		Name string `yaml:"name"`
	} `yaml:"ports"`
	Env []struct {
		Name string `yaml:"name"`
	} `yaml:"env"`
	StartupProbe   probe `yaml:"startupProbe"`
	LivenessProbe  probe `yaml:"livenessProbe"`
	ReadinessProbe probe `yaml:"readinessProbe"`
}

type probe struct {
	HTTPGet struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

func TestKubernetes(t *testing.T) {
	k := document[struct {
		APIVersion         string   `yaml:"apiVersion"`
		Kind               string   `yaml:"kind"`
		Namespace          string   `yaml:"namespace"`
		Resources          []string `yaml:"resources"`
		ConfigMapGenerator []struct {
			Name     string   `yaml:"name"`
			Literals []string `yaml:"literals"`
		} `yaml:"configMapGenerator"`
		Labels []any `yaml:"labels"`
		Images []any `yaml:"images"`
	}](t, "kubernetes/kustomization.yaml", true)
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) != len(k.Resources)+1 {
		t.Errorf("%d files (%v) and %d resources", len(files), err, len(k.Resources))
	}
	objects := map[string]object{}
	for _, name := range k.Resources {
		for _, o := range documents[object](t, filepath.Join("kubernetes", name), false) {
			objects[o.Kind+"/"+o.Metadata.Name] = o
		}
	}
	for _, want := range []string{"Deployment/plimsoll", "PodDisruptionBudget/plimsoll", "Service/plimsoll", "Service/plimsoll-replicas", "Ingress/plimsoll", "StatefulSet/redis", "Service/redis", "NetworkPolicy/redis"} {
		if objects[want].APIVersion == "" {
			t.Errorf("there is no %s", want)
		}
	}

	server, redis := objects["Deployment/plimsoll"], objects["StatefulSet/redis"]
	if server.Spec.Replicas != 3 {
		t.Errorf("%d replicas", server.Spec.Replicas)
	}
	pods := map[string]container{}
	for _, o := range []object{server, redis} {
		if o.Spec.Template.Spec.SecurityContext["runAsNonRoot"] != true || len(o.Spec.Template.Spec.Containers) != 1 {
			t.Fatalf("%s: %+v", o.Metadata.Name, o.Spec.Template.Spec)
		}
		c := o.Spec.Template.Spec.Containers[0]
		if s := c.SecurityContext; s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s has more rights than it needs: %+v", o.Metadata.Name, s)
		}
		label := o.Spec.Template.Metadata.Labels["app.kubernetes.io/name"]
		if o.Spec.Selector.MatchLabels["app.kubernetes.io/name"] != label {
			t.Errorf("%s does not select its pods", o.Metadata.Name)
		}
		pods[label] = c
	}
	for name, o := range objects {
		if o.Kind == "Service" {
			c, ok := pods[o.Spec.Selector.Name]
			if !ok || len(o.Spec.Ports) != 1 || len(c.Ports) != 1 || o.Spec.Ports[0].TargetPort != c.Ports[0].Name {
				t.Errorf("%s leads nowhere: %+v", name, o.Spec)
			}
		}
	}
	for _, r := range objects["Ingress/plimsoll"].Spec.Rules {
		for _, p := range r.HTTP.Paths {
			if to := "Service/" + p.Backend.Service.Name; objects[to].Kind == "" {
				t.Errorf("the Ingress leads to %s, which is not there", to)
			}
		}
	}

	h := serve(t)
	for got, want := range map[probe]string{pods["plimsoll"].StartupProbe: "/healthz", pods["plimsoll"].LivenessProbe: "/healthz", pods["plimsoll"].ReadinessProbe: "/readyz"} {
		if got.HTTPGet.Path != want || got.HTTPGet.Port != "http" {
			t.Errorf("probe %+v, want %s", got, want)
		}
		ask(t, h, "GET", want, "", 200)
	}
	set := map[string]string{}
	for _, l := range k.ConfigMapGenerator[0].Literals {
		name, value, _ := strings.Cut(l, "=")
		set[name] = value
	}
	for _, e := range pods["plimsoll"].Env {
		set[e.Name] = "from the secret"
	}
	checkEnvironment(t, "kubernetes", set)
	store, err := url.Parse(set["PLIMSOLL_STORE"])
	if err != nil || store.Scheme != "redis" || objects["Service/"+store.Hostname()].Kind == "" {
		t.Errorf("store %s (%v)", store, err)
	}
	checkDurable(t, "kubernetes", pods["redis"].Args)
	tool(t, "kubectl", "kustomize", "kubernetes")
}

func TestSystemd(t *testing.T) {
	text := string(read(t, "systemd/plimsoll.service"))
	unit, section := map[string][]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || section == "" {
				t.Errorf("not a setting: %q", line)
			}
			unit[section+"."+key] = append(unit[section+"."+key], value)
		}
	}
	for key, want := range map[string]string{
		"Service.ExecStart": "/usr/local/bin/plimsoll serve", "Service.EnvironmentFile": "-/etc/plimsoll/plimsoll.env",
		"Service.DynamicUser": "yes", "Service.StateDirectory": "plimsoll", "Service.WorkingDirectory": "%S/plimsoll",
		"Service.ProtectSystem": "strict", "Service.NoNewPrivileges": "yes", "Service.Restart": "on-failure", "Install.WantedBy": "multi-user.target",
	} {
		if !slices.Equal(unit[key], []string{want}) {
			t.Errorf("%s is %q, want %q", key, unit[key], want)
		}
	}
	set := map[string]string{}
	for line := range strings.Lines(string(read(t, "systemd/plimsoll.env"))) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "#"), "="); ok && strings.HasPrefix(name, "PLIMSOLL_") {
			set[name] = value
		}
	}
	checkEnvironment(t, "plimsoll.env", set)
	if store := set["PLIMSOLL_STORE"]; store != "bolt:plimsoll.db" { // within StateDirectory, the only folder that it may write
		t.Errorf("store %s", store)
	}

	// The program of the unit must exist for the check.
	installed := filepath.Join(t.TempDir(), "plimsoll.service")
	text = strings.Replace(text, "/usr/local/bin/plimsoll serve", "/bin/true", 1)
	if err := os.WriteFile(installed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "systemd-analyze", "verify", installed)
}
