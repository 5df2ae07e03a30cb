package access

import (
	"errors"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet/answer"
)

// A code is checked before it is made, counts its uses, and ends with its last use, its time or its deletion.
func TestCodes(t *testing.T) {
	ctx := t.Context()
	now := testDay
	a := replica(t, open(t))
	a.o.Now = func() time.Time { return now }
	tomorrow, past := now.AddDate(0, 0, 1), now
	for name, c := range map[string]struct {
		label   string
		expires *time.Time
		uses    int
		field   string
	}{
		"long label":    {strings.Repeat("x", 201), nil, 0, "label"},
		"negative uses": {"", nil, -1, "uses"},
		"over already":  {"", &past, 0, "expires_at"},
	} {
		var e *answer.Error
		if _, err := a.CreateCode(ctx, answer.Origin{Actor: "admin"}, c.label, c.expires, c.uses); !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := must(a.CreateCode(ctx, answer.Origin{Actor: "admin"}, "lab", nil, 2))(t)
	short := must(a.CreateCode(ctx, answer.Origin{Actor: "admin"}, "", &tomorrow, 0))(t)
	if twice.UsesLeft == nil || *twice.UsesLeft != 2 || short.UsesLeft != nil || !short.ExpiresAt.Equal(tomorrow) {
		t.Errorf("made %+v and %+v", twice, short)
	}
	for n, want := range []error{nil, nil, answer.ErrForbidden} {
		if err := a.UseCode(ctx, twice.Code); !errors.Is(err, want) {
			t.Errorf("use %d: %v", n+1, err)
		}
	}
	page := must(a.ListCodes(ctx, 0, ""))(t)
	for _, c := range page.Items {
		if c.Code == twice.Code && *c.UsesLeft != 0 {
			t.Errorf("used up, and listed as %+v", c)
		}
	}
	if len(page.Items) != 2 {
		t.Errorf("%d codes are listed", len(page.Items))
	}
	if err := a.UseCode(ctx, short.Code); err != nil {
		t.Error(err)
	}
	now = tomorrow
	if err := a.UseCode(ctx, short.Code); !errors.Is(err, answer.ErrForbidden) {
		t.Errorf("after its time: %v", err)
	}
	if err := a.DeleteCode(ctx, short.ID, answer.Origin{Actor: "admin-token"}); err != nil {
		t.Error(err)
	}
	if err := a.DeleteCode(ctx, short.ID, answer.Origin{Actor: "admin-token"}); !errors.Is(err, answer.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

// A challenge is good for the first request that uses it, as often as that is repeated, and for an hour.
func TestChallenges(t *testing.T) {
	ctx := t.Context()
	now := testDay
	a := replica(t, open(t))
	a.o.Now = func() time.Time { return now }
	secret := must(a.Challenge(ctx))(t)
	first := must(a.RedeemChallenge(ctx, secret, "request 1", "CA 1"))(t)
	now = now.Add(time.Minute)
	if again := must(a.RedeemChallenge(ctx, secret, "request 1", "CA 2"))(t); !again.At.Equal(first.At) || again.CA != "CA 1" {
		t.Errorf("first used at %v, and then at %v", first, again)
	}
	if _, err := a.RedeemChallenge(ctx, secret, "request 2", "CA 1"); !errors.Is(err, answer.ErrForbidden) {
		t.Errorf("another request with the same challenge: %v", err)
	}
	late := must(a.Challenge(ctx))(t)
	now = now.Add(challengeTime)
	if _, err := a.RedeemChallenge(ctx, late, "request 3", "CA 1"); !errors.Is(err, answer.ErrForbidden) {
		t.Errorf("after an hour: %v", err)
	}
}
