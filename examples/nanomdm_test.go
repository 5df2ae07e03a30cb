package examples_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// The files of NanoMDM with Plimsoll beside it: both ends know the same secrets, and the two of them differ.
func TestNanoMDM(t *testing.T) {
	c := document[struct {
		Name     string `yaml:"name"`
		Services map[string]struct {
			Command     []string          `yaml:"command"`
			Environment map[string]string `yaml:"environment"`
			Rest        map[string]any    `yaml:",inline"`
		} `yaml:"services"`
		Networks map[string]any `yaml:"networks"`
		Volumes  map[string]any `yaml:"volumes"`
	}](t, "nanomdm/compose.yaml", true)
	env := c.Services["plimsoll"].Environment
	checkEnvironment(t, "nanomdm/compose.yaml", env)
	passwords := map[string]string{}
	for _, arg := range c.Services["nanomdm"].Command {
		if m := regexp.MustCompile(`^-(dm|webhook-url)=http://plimsoll:\$\{(\w+)[:?}].*@plimsoll:8081/(dm/|webhook)$`).FindStringSubmatch(arg); m != nil {
			passwords[m[1]] = m[2]
		}
	}
	if passwords["dm"] != "PLIMSOLL_DM_SECRET" || passwords["webhook-url"] != "PLIMSOLL_MDM_WEBHOOK_SECRET" {
		t.Errorf("NanoMDM sends the passwords %v", passwords)
	}
	if !strings.HasSuffix(env["PLIMSOLL_DM_LISTEN"], ":8081") {
		t.Errorf("the second listener is %s", env["PLIMSOLL_DM_LISTEN"])
	}

	set := map[string]string{}
	for line := range strings.Lines(string(read(t, "nanomdm/nanomdm.env"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			set[name] = value
		}
	}
	known := variables()
	for name := range set {
		if strings.HasPrefix(name, "PLIMSOLL_") && !known[name] {
			t.Errorf("nanomdm.env sets %s, which the program does not read", name)
		}
	}
	for flag, secret := range map[string]string{"NANOMDM_DM": "PLIMSOLL_DM_SECRET", "NANOMDM_WEBHOOK_URL": "PLIMSOLL_MDM_WEBHOOK_SECRET"} {
		u, err := url.Parse(set[flag])
		if err != nil {
			t.Fatal(err)
		}
		if password, _ := u.User.Password(); password != set[secret] || len(password) < 32 {
			t.Errorf("%s has the password %q, %s is %q", flag, password, secret, set[secret])
		}
	}
	if set["PLIMSOLL_DM_SECRET"] == set["PLIMSOLL_MDM_WEBHOOK_SECRET"] || set["NANOMDM_API"] != set["PLIMSOLL_MDM_KEY"] {
		t.Error("the secrets are the same, or the keys are not")
	}
}
