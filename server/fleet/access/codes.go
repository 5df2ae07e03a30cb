package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"strings"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// challengeTime is how long a SCEP challenge is valid (docs/api.md 2).
const challengeTime = time.Hour

// CodeInfo is an enrolment code. The code itself is shown: it is meant to be handed out.
type CodeInfo struct {
	ID        string     `json:"id"` // names the code where its secret must not stand
	Code      string     `json:"code"`
	Label     string     `json:"label"`
	ExpiresAt *time.Time `json:"expires_at"`
	Uses      int        `json:"uses"`      // allowed; 0: any number
	UsesLeft  *int       `json:"uses_left"` // null: any number
	CreatedAt time.Time  `json:"created_at"`
	By        string     `json:"by"`
}

// codeID names a code and does not give it away: a code has 128 random bits.
func codeID(code string) string { return hashSecret("code " + code)[:12] }

func codeAct(action string, before, after *storage.Code) audit.Act {
	act := audit.Act{Action: action}
	state := func(c *storage.Code) any {
		info := codeInfo(*c)
		act.Object = "code/" + cmp.Or(info.Label, info.ID)
		return map[string]any{"id": info.ID, "label": info.Label, "uses": info.Uses, "expires_at": info.ExpiresAt}
	}
	if before != nil {
		act.Before = state(before)
	}
	if after != nil {
		act.After = state(after)
	}
	return act
}

func codeInfo(c storage.Code) CodeInfo {
	info := CodeInfo{ID: codeID(c.Code), Code: c.Code, Label: c.Label, Uses: c.Uses, CreatedAt: c.CreatedAt, By: c.By}
	if !c.ExpiresAt.IsZero() {
		info.ExpiresAt = &c.ExpiresAt
	}
	if c.Uses > 0 {
		left := max(0, c.Uses-c.Used)
		info.UsesLeft = &left
	}
	return info
}

// CheckCode tells what is wrong with an enrolment code that is to be made; nil when nothing is.
func (a *Access) CheckCode(label string, expires *time.Time, uses int) error {
	var faults []policy.FieldError
	if len(label) > 200 {
		faults = append(faults, policy.FieldError{Field: "label", Reason: "must be at most 200 bytes"})
	}
	if uses < 0 {
		faults = append(faults, policy.FieldError{Field: "uses", Reason: "must not be negative; 0 means any number"})
	}
	if expires != nil && !a.o.Now().Before(expires.UTC().Truncate(time.Second)) {
		faults = append(faults, policy.FieldError{Field: "expires_at", Reason: "must lie in the future"})
	}
	if len(faults) > 0 {
		return answer.Invalid("the enrolment code is not valid", faults...)
	}
	return nil
}

// CreateCode makes an enrolment code. expires nil: never; uses 0: any number.
func (a *Access) CreateCode(ctx context.Context, by answer.Origin, label string, expires *time.Time, uses int) (CodeInfo, error) {
	if err := a.CheckCode(label, expires, uses); err != nil {
		return CodeInfo{}, err
	}
	c := storage.Code{Code: strings.ToLower(rand.Text()), Label: label, Uses: uses, CreatedAt: a.o.Now(), By: by.Actor}
	if expires != nil {
		c.ExpiresAt = expires.UTC().Truncate(time.Second)
	}
	if err := a.update(ctx, by, func(tx *storage.AuthTx) (audit.Act, error) {
		return codeAct("code.create", nil, &c), tx.PutCode(c)
	}); err != nil {
		return CodeInfo{}, err
	}
	return codeInfo(c), a.ReloadTokens(ctx)
}

// CodeUses is how many Macs a code enrols, and codeLasts for how long, when its request says neither.
const (
	CodeUses  = 50
	codeLasts = 30 * 24 * time.Hour
)

// CodeEnd is when a code ends that is made now by a request that does not say.
func (a *Access) CodeEnd() time.Time { return a.o.Now().Add(codeLasts).UTC() }

// ListCodes lists the enrolment codes.
func (a *Access) ListCodes(ctx context.Context, limit int, cursor string) (answer.Page[CodeInfo], error) {
	auth, err := a.store.Auth(ctx)
	if err != nil {
		return answer.Page[CodeInfo]{}, err
	}
	return answer.List("codes", limit, cursor, len(auth.Codes), func(i int) string { return auth.Codes[i].Code },
		func(i int) CodeInfo { return codeInfo(auth.Codes[i]) })
}

// DeleteCode takes the enrolment code with that id out of force.
func (a *Access) DeleteCode(ctx context.Context, id string, by answer.Origin) error {
	return a.update(ctx, by, func(tx *storage.AuthTx) (audit.Act, error) {
		codes, err := tx.Codes()
		if err != nil {
			return audit.Act{}, err
		}
		for i := range codes {
			if codeID(codes[i].Code) == id {
				tx.DeleteCode(codes[i].Code)
				return codeAct("code.delete", &codes[i], nil), nil
			}
		}
		return audit.Act{}, answer.NotFound("there is no such enrolment code")
	})
}

// UseCode counts one use of an enrolment code; answer.ErrForbidden when it is unknown, expired or used up.
func (a *Access) UseCode(ctx context.Context, code string) error {
	return a.store.UseCode(ctx, code, a.o.Now())
}

// Challenge makes a SCEP challenge that is valid for an hour.
func (a *Access) Challenge(ctx context.Context) (string, error) {
	secret, err := newSecret()
	if err != nil {
		return "", err
	}
	return secret, a.store.AddChallenge(ctx, hashSecret(secret), a.o.Now().Add(challengeTime))
}

// RedeemChallenge binds a challenge to the first request that uses it, given as a hash, and to the CA that issues then; both are
// returned. The same request may repeat what it got no answer to; answer.ErrForbidden for another one, and for a challenge that
// is unknown or has expired.
func (a *Access) RedeemChallenge(ctx context.Context, challenge, by, ca string) (storage.Issued, error) {
	return a.store.RedeemChallenge(ctx, hashSecret(challenge), by, ca, a.o.Now())
}

// NoteIssued notes the identity that was issued for a challenge.
func (a *Access) NoteIssued(ctx context.Context, challenge, identity string) error {
	return a.store.NoteIssued(ctx, hashSecret(challenge), identity)
}
