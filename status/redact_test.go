package status

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing to remove", ` { "a" : [ 1 , {} ] } `, ` { "a" : [ 1 , {} ] } `},
		{"alone", `{"push-token":"s"}`, `{}`},
		{"alone, with spaces", `{ "push-token" : "s" }`, `{ }`},
		{"first", `{"push-magic":"s","a":1}`, `{"a":1}`},
		{"in the middle", `{"a":1, "push-token":"s", "b":2}`, `{"a":1, "b":2}`},
		{"last", `{"a":1, "push-token":"s" }`, `{"a":1 }`},
		{"all", `{"push-token":"s","push-magic":"s","unlock-token":"s"}`, `{}`},
		{"the last two", `{"a":{"push-token":"s","b":1},"push-token":"s","push-magic":{"x":[1]}}`, `{"a":{"b":1}}`},
		{"first and last", `{"push-token":"s","a":1,"push-magic":"s"}`, `{"a":1}`},
		{"deep", `[[{"x":[{"y":{"PushToken":"s"}}]}]]`, `[[{"x":[{"y":{}}]}]]`},
		{"whatever the spelling", `{"PushMagic":"s","unlock_token":"s","mdm.push-token":"s","bootstrapToken":"s","AppleCare-Token":"s","a":1}`, `{"a":1}`},
		{"an escaped name", `{"push\u002dtoke\u006e":"s","a":1}`, `{"a":1}`},
		{"keys and passwords", `{"personal-recovery-key":"s","Password":"s","PrivateKey":"s","client-secret":"s","push-tokens":["s"],"magic":"s"}`, `{}`},
		{"no secrets", `{"server-token":"t","ServerToken":"t","DeclarationsToken":"t","passcode":{"is-present":true},"status-items":["mdm.push-token"],"tokenised":1}`, `{"server-token":"t","ServerToken":"t","DeclarationsToken":"t","passcode":{"is-present":true},"status-items":["mdm.push-token"],"tokenised":1}`},
		{"no JSON", `{"push-token":"s"`, ``},
		{"nothing", ``, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := []byte(tt.in)
			got := Redact(in)
			if string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if string(in) != tt.in {
				t.Errorf("the body was changed: %s", in)
			}
			if len(got) > 0 && !json.Valid(got) {
				t.Error("not JSON any more")
			}
		})
	}
}

func TestRedactSamples(t *testing.T) {
	for _, name := range sampleNames(t) {
		body := sample(t, name)
		got := Redact(body)
		if strings.HasPrefix(name, "kmfddm-iphone") {
			if bytes.Contains(got, []byte("bwyw7bcw")) || !json.Valid(got) || len(got) < len(body)-100 {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if !bytes.Equal(got, body) {
			t.Errorf("%s was changed: %s", name, got)
		}
	}
}

// TestNoItemIsASecret: what we know to be public must not be taken for a secret by its name.
func TestNoItemIsASecret(t *testing.T) {
	var look func(sh *shape)
	look = func(sh *shape) {
		for name, m := range sh.members {
			if isSecret([]byte(name)) {
				t.Errorf("member %s is taken for a secret", name)
			}
			look(m)
		}
		if sh.elem != nil {
			look(sh.elem)
		}
	}
	for name, sh := range known {
		for part := range strings.SplitSeq(name, ".") {
			if isSecret([]byte(part)) {
				t.Errorf("%s of %s is taken for a secret", part, name)
			}
		}
		look(sh)
	}
	for _, name := range []string{"mdm.push-token", "mdm.push-magic", "enhanced-logging.applecare-token", "management.push-token"} {
		if known[name] != nil || !isSecret([]byte(name)) || !isSecret([]byte(name[strings.IndexByte(name, '.')+1:])) {
			t.Errorf("%s is not taken for a secret", name)
		}
	}
}

func TestSecretsAreNeverItems(t *testing.T) {
	r := parsed(t, `{"StatusItems":{"mdm":{"push-token":"hush","push-magic":"hush","enrollment-type":"device"},"mdm.push-token":"hush",
		"device":{"unlock":{"token":"hush"}},"security":{"certificate":{"list":[{"identifier":"a","private-key":"hush"}]}}},
		"Errors":[{"StatusItem":"mdm.push-token","Reasons":[{"Code":"E","Details":{"PushToken":"hush"}}]}]}`)
	m := Merge(nil, r)
	all, err := json.Marshal([]any{m, r})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(all, []byte("hush")) || bytes.Contains(r.Raw, []byte("hush")) {
		t.Errorf("a secret was kept: %s", all)
	}
	if got, want := string(m.Encode()), `{"mdm.enrollment-type":"device","security.certificate.list":[{"identifier":"a"}]}`; got != want {
		t.Errorf("items %s, want %s", got, want)
	}
}
