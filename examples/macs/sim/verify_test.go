package sim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
)

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		name, has, build string
		target, tbuild   string
		wantText         string
		wantRules        []string
	}{
		{"older", "15.7.7", "24G720", "15.7", "", "target OS version (15.7) is older than current version (15.7.7)", []string{"downgrade"}},
		{"same", "26.6.2", "25G83", "26.6.2", "", "target OS version (26.6.2) is the same as current version (26.6.2)", []string{"downgrade"}},
		{"not a version", "26.3.1", "25D2128", "26.3.1 (a)", "", "target OS version (26.3.1 (a)) has an invalid format", []string{"enforcement"}},
		{"no such release", "26.5", "25F71", "26.5.9", "", "", []string{"target"}},
		{"a build of another board", "26.0", "25A354", "26.0.1", "25A8364", "", []string{"target"}},
		{"newer than anything known", "26.5", "25F71", "26.9", "", "", nil},
		{"good", "26.5", "25F71", "26.6.2", "", "", nil},
		{"BSI", "26.3.1", "25D2128", "26.3.1", "25D771280a", "", nil},
		{"BSI without its base", "26.3", "25D125", "26.3.1", "25D771280a", "", []string{"target"}},
		{"BSI of another board", "26.3.2", "25D2140", "26.3.2", "25D771400a", "", []string{"target"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := synced(t, macSpec(tc.has, tc.build), Faults{}, everyItem, enforce(t, tc.target, tc.tbuild, "2026-12-01T12:00:00"))
			confs, _ := item(b.last(), "management.declarations.configurations").([]any)
			var entry map[string]any
			for _, c := range confs {
				if m := c.(map[string]any); strings.HasPrefix(m["identifier"].(string), "plimsoll.os-update") || m["identifier"] == "plimsoll.bsi" {
					entry = m
				}
			}
			text, _ := json.Marshal(entry)
			if entry["active"] != true {
				t.Fatalf("entry %s", text)
			}
			if tc.wantText == "" && entry["valid"] != "valid" || tc.wantText != "" && (entry["valid"] != "invalid" ||
				!strings.Contains(string(text), `"code":"Error.ConfigurationCannotBeApplied"`) ||
				!strings.Contains(string(text), "[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: "+tc.wantText)) {
				t.Errorf("entry %s, want %q", text, tc.wantText)
			}
			if got := b.rules(); !slices.Equal(got, tc.wantRules) {
				t.Errorf("violations %q, want %q", got, tc.wantRules)
			}
		})
	}
}

func TestServerFaultsAreNoticed(t *testing.T) {
	d := enforce(t, "26.6.2", "", "2026-12-01T12:00:00")
	answer := func(w http.ResponseWriter, ct, body string) bool {
		w.Header().Set("Content-Type", ct)
		_, _ = w.Write([]byte(body))
		return true
	}
	isDecl := func(endpoint string) bool { return endpoint == "declaration/configuration/plimsoll.os-update" }
	for _, tc := range []struct {
		name string
		hook func(w http.ResponseWriter, endpoint string, c *client) bool
		want string
	}{
		{"404 for what is in the manifest", func(w http.ResponseWriter, e string, _ *client) bool {
			if isDecl(e) {
				http.Error(w, "gone", http.StatusNotFound)
				return true
			}
			return false
		}, "missing"},
		{"another content under the promised token", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "application/json", strings.Replace(string(d.Body), "26.6.2", "26.6.1", 1))
		}, "token"},
		{"another token than promised", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "application/json", string(enforce(t, "26.6.1", "", "2026-12-01T12:00:00").Body))
		}, "token"},
		{"a deadline with a zone", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "application/json", strings.Replace(string(d.Body), "12:00:00", "12:00:00Z", 1))
		}, "enforcement"},
		{"not application/json", func(w http.ResponseWriter, e string, _ *client) bool {
			return isDecl(e) && answer(w, "text/plain", string(d.Body))
		}, "content-type"},
		{"null in place of an array", func(w http.ResponseWriter, e string, _ *client) bool {
			return e == "declaration-items" && answer(w, "application/json",
				`{"Declarations":{"Activations":[],"Configurations":[],"Assets":null,"Management":[]},"DeclarationsToken":"`+declarations.DeclarationsToken(nil, 0)+`"}`)
		}, "items"},
		{"a token that is no hash of the items", func(w http.ResponseWriter, e string, c *client) bool {
			return e == "declaration-items" && answer(w, "application/json", string(declarations.ItemsJSON(declarations.ItemsOf(c.decls), "other")))
		}, "items"},
		{"tokens and items disagree", func(w http.ResponseWriter, e string, c *client) bool {
			return e == "declaration-items" && answer(w, "application/json", string(declarations.ItemsJSON(nil, declarations.DeclarationsToken(nil, 0))))
		}, "agree"},
		{"an activation without its configuration", func(w http.ResponseWriter, e string, c *client) bool {
			if e == "declaration-items" {
				c.decls = []declarations.Declaration{declarations.Activation(d)}
			}
			return false
		}, "activation"},
		{"two enforcements", func(_ http.ResponseWriter, e string, c *client) bool {
			if e == "declaration-items" {
				l, err := declarations.ParseLocal("2026-12-01T12:00:00")
				if err != nil {
					t.Fatal(err)
				}
				two := declarations.Enforcement("two", "26.6.1", "", l, "")
				c.decls = append(c.decls, two, declarations.Activation(two))
				declarations.SortDeclarations(c.decls)
				c.stamp = c.stamp.Add(time.Second)
			}
			return false
		}, "enforcement"},
		{"status answered 204", func(w http.ResponseWriter, e string, _ *client) bool {
			if e == "status" {
				w.WriteHeader(http.StatusNoContent)
			}
			return e == "status"
		}, "204"},
		{"status answered with a body", func(w http.ResponseWriter, e string, _ *client) bool {
			return e == "status" && answer(w, "application/json", `{}`)
		}, "status"},
		{"a timestamp with a fraction", func(w http.ResponseWriter, e string, _ *client) bool {
			return e == "tokens" && answer(w, "application/json", `{"SyncTokens":{"DeclarationsToken":"x","Timestamp":"2026-11-23T09:00:00.5Z"}}`)
		}, "tokens"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, macSpec("26.5", "25F71"), Faults{})
			b.must(b.Enrol(t.Context()))
			b.set(b.Spec().UDID, b.now, false, everyItem, d)
			b.hook = tc.hook
			_ = b.Poll(t.Context()) // some of these end in an error, all in a violation
			b.hook = nil
			_ = b.Poll(t.Context())
			if got := b.rules(); !slices.Contains(got, tc.want) {
				t.Errorf("violations %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTimestampsAreMonotonic(t *testing.T) {
	for _, tc := range []struct {
		name  string
		after time.Duration
		want  []string
	}{
		{"later", time.Second, nil},
		{"the same, with another token", 0, []string{"timestamp"}},
		{"earlier", -time.Second, []string{"timestamp"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := synced(t, macSpec("26.5", "25F71"), Faults{}, everyItem)
			b.set(b.Spec().UDID, b.now.Add(tc.after), false, everyItem, enforce(t, "26.6.2", "", "2026-12-01T12:00:00"))
			b.must(b.Poll(t.Context()))
			if got := b.rules(); !slices.Equal(got, tc.want) {
				t.Errorf("violations %q, want %q", got, tc.want)
			}
		})
	}
}

func TestUserChannel(t *testing.T) {
	for _, tc := range []struct {
		name  string
		items []declarations.Item
		want  []string
	}{
		{"empty, as it must be", nil, nil},
		{"with a declaration", []declarations.Item{{Kind: declarations.KindManagement, Identifier: "a", ServerToken: "b"}}, []string{"user-channel"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := macSpec("26.5", "25F71")
			spec.User = "ada"
			b := newBench(t, spec, Faults{})
			b.must(b.Enrol(t.Context()))
			cmd := commandPlist{CommandUUID: "u1"}
			cmd.Command.RequestType = "DeclarativeManagement"
			b.mu.Lock()
			b.clients[spec.UDID].userQueue, b.clients[spec.UDID].userItems = []commandPlist{cmd}, tc.items
			b.mu.Unlock()
			b.must(b.Poll(t.Context()))
			if c := b.client(spec.UDID); c.users != 1 || c.userReports != 1 || len(c.userQueue) != 0 {
				t.Errorf("%d logins, %d reports, %d commands left", c.users, c.userReports, len(c.userQueue))
			}
			if got := b.rules(); !slices.Equal(got, tc.want) {
				t.Errorf("violations %q, want %q", got, tc.want)
			}
		})
	}
}
