package access

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet/answer"
)

// Tokens and codes that are made or withdrawn are entries of the audit, which names them and holds no secret.
func TestAudited(t *testing.T) {
	a := New(options(open(t), func() time.Time { return testDay }))
	ctx := t.Context()
	by := answer.Origin{Actor: "token:ada", Via: answer.ViaAPI}
	first := must(New(func() Options { o := a.o; o.AdminToken = ""; return o }()).FirstToken(ctx))(t)
	made := must(a.CreateToken(ctx, by, TokenWish{Name: "ci", Scopes: []Scope{ScopeRead}}))(t)
	if _, err := a.CreateToken(ctx, by, TokenWish{Name: "ci", Scopes: []Scope{ScopeRead}}); err == nil {
		t.Error("a second token of that name")
	}
	labelled := must(a.CreateCode(ctx, by, "office", nil, 5))(t)
	bare := must(a.CreateCode(ctx, by, "", nil, 0))(t)
	for _, err := range []error{a.DeleteCode(ctx, labelled.ID, by), a.DeleteToken(ctx, "ci", by)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.DeleteCode(ctx, bare.Code, by); err == nil {
		t.Error("a code was deleted by itself, not by its id")
	}
	entries, err := a.o.Audit.After(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Actor+" "+e.Action+" "+e.Object)
	}
	want := []string{
		"program token.create token/first", "token:ada token.create token/ci", "token:ada code.create code/office",
		"token:ada code.create code/" + bare.ID, "token:ada code.delete code/office", "token:ada token.delete token/ci",
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("entered: %q", got)
	}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{first, made.Token, labelled.Code, bare.Code} {
		if secret == "" || strings.Contains(string(text), secret) || strings.Contains(string(text), hashSecret(secret)) {
			t.Errorf("the audit holds a secret: %s", text)
		}
	}
	if made.By != "token:ada" || labelled.By != "token:ada" {
		t.Errorf("made by %q and %q", made.By, labelled.By)
	}
}

// A principal's name in the audit says whether its token is that of the command line.
func TestActor(t *testing.T) {
	for want, p := range map[string]Principal{
		"token:ci": {Name: "ci"}, "admin-token": {Name: "admin-token", OfCommandLine: true}, "token:admin-token": {Name: "admin-token"},
	} {
		if got := p.Actor(); got != want {
			t.Errorf("%+v is %q", p, got)
		}
	}
}
