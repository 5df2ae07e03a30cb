// Package access says who may do what: API tokens and their scopes, enrolment codes, SCEP challenges, and the links of
// Macs' own pages.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/server/fleet/each"
	"plimsoll/storage"
)

// Scope is what an API token may do.
type Scope string

// The scopes (docs/api.md 3). Admin includes all others, and operator includes read.
const (
	ScopeAdmin    Scope = "admin"
	ScopeRead     Scope = "read"
	ScopeOperator Scope = "operator"
	ScopeMetrics  Scope = "metrics"
	ScopeMDM      Scope = "mdm"
	ScopeBackup   Scope = "backup"
)

// Scopes are all scopes.
var Scopes = []Scope{ScopeAdmin, ScopeRead, ScopeOperator, ScopeMetrics, ScopeMDM, ScopeBackup}

// Principal is who makes a request.
type Principal struct {
	Name   string // of the token; "admin-token" for --admin-token
	Scopes []Scope
	// OfCommandLine: the token is that of the command line, and not one of the same name.
	OfCommandLine bool
}

// Actor is the principal as the audit names it, and whoever made something (docs/api.md 5.2).
func (p Principal) Actor() string {
	if p.OfCommandLine {
		return adminToken
	}
	return "token:" + p.Name
}

// adminToken is the name of the token of the command line.
const adminToken = "admin-token"

// May tells whether one of the principal's scopes includes want.
func (p Principal) May(want Scope) bool {
	return slices.ContainsFunc(p.Scopes, func(s Scope) bool {
		return s == ScopeAdmin || s == want || s == ScopeOperator && want == ScopeRead
	})
}

// TokenInfo is an API token without its secret.
type TokenInfo struct {
	Name      string     `json:"name"`
	Scope     Scope      `json:"scope,omitempty"` // while there is one only
	Scopes    []Scope    `json:"scopes"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // null: never
	By        string     `json:"by"`
}

// Expired tells whether the token has expired at a moment.
func (t TokenInfo) Expired(now time.Time) bool {
	return t.ExpiresAt != nil && !now.Before(*t.ExpiresAt)
}

// TokenWish is a token that is to be made.
type TokenWish struct {
	Name      string
	Scopes    []Scope
	ExpiresAt *time.Time // nil: never
}

// NewToken is an API token with its secret, shown once.
type NewToken struct {
	TokenInfo
	Token string `json:"token"`
}

// Options are what Access is made of.
type Options struct {
	Store *storage.Store
	Audit *audit.Chain
	// AdminToken is an admin token that is valid while the process runs; empty: none.
	AdminToken string
	// Alone: no other process can have the store open, so that a token that is not known here is known nowhere.
	Alone bool
	Now   func() time.Time // UTC, whole seconds
}

// Access knows tokens, codes and challenges. Safe for concurrent use; ReloadTokens must come before anything else.
type Access struct {
	o     Options
	store *storage.Store

	mu     sync.RWMutex
	auth   storage.Auth // tokens and codes as they stood at one revision
	byHash map[string]storage.Token

	look each.Look
}

// New makes an Access.
func New(o Options) *Access { return &Access{o: o, store: o.Store} }

func (a *Access) known(hash string) (storage.Token, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	t, ok := a.byHash[hash]
	return t, ok
}

// TokensRevision is that of the tokens which are in force here.
func (a *Access) TokensRevision() uint64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.auth.Revision
}

// ReloadTokens reads tokens and codes and puts them in force, unless newer ones already are.
func (a *Access) ReloadTokens(ctx context.Context) error {
	auth, err := a.store.Auth(ctx)
	if err != nil {
		return err
	}
	byHash := make(map[string]storage.Token, len(auth.Tokens))
	for _, t := range auth.Tokens {
		byHash[t.Hash] = t
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if auth.Revision >= a.auth.Revision {
		a.auth, a.byHash = auth, byHash
	}
	return nil
}

// lookForTokens reads the tokens again if they changed.
func (a *Access) lookForTokens(ctx context.Context) error {
	return a.look.Take(ctx, func(ctx context.Context) error {
		revs, err := a.store.Revisions(ctx, storage.AuthPartition)
		if err == nil && revs[0] != a.TokensRevision() {
			err = a.ReloadTokens(ctx)
		}
		return err
	})
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// newSecret is 32 random bytes as text.
func newSecret() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// IsAdminToken tells whether a secret is the token of the command line, without asking the store.
func (a *Access) IsAdminToken(secret string) bool {
	return a.o.AdminToken != "" && subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(hashSecret(a.o.AdminToken))) == 1
}

// Identify tells whose token a secret is; answer.ErrForbidden when nobody's, which the store is asked for first: another
// replica may have made it just now. Secrets are looked up by their hash, the one of the command line is compared in
// constant time.
func (a *Access) Identify(ctx context.Context, secret string) (Principal, error) {
	if p, err := a.Recognize(secret); err == nil || a.o.Alone {
		return p, err
	}
	if err := a.lookForTokens(ctx); err != nil {
		return Principal{}, fmt.Errorf("look for a token: %w", err)
	}
	return a.Recognize(secret)
}

// Recognize is Identify without a look at the store: a token that another replica has just made is not known yet.
func (a *Access) Recognize(secret string) (Principal, error) {
	if a.IsAdminToken(secret) {
		return Principal{Name: adminToken, Scopes: []Scope{ScopeAdmin}, OfCommandLine: true}, nil
	}
	t, ok := a.known(hashSecret(secret))
	if !ok || tokenInfo(t).Expired(a.o.Now()) {
		return Principal{}, fmt.Errorf("the token is not known: %w", answer.ErrForbidden)
	}
	return Principal{Name: t.Name, Scopes: tokenInfo(t).Scopes}, nil
}

// FirstToken makes an admin token when there is neither one on the command line nor any other; empty when there is.
func (a *Access) FirstToken(ctx context.Context) (string, error) {
	if a.o.AdminToken != "" {
		return "", nil
	}
	secret, err := newSecret()
	if err != nil {
		return "", err
	}
	t := storage.Token{
		Name: "first", Scope: string(ScopeAdmin), Hash: hashSecret(secret), CreatedAt: a.o.Now(), By: answer.Program.Actor,
	}
	kept := false
	err = a.update(ctx, answer.Program, func(tx *storage.AuthTx) (audit.Act, error) {
		one, err := tx.AnyToken()
		if kept = err == nil && !one; !kept {
			return audit.Act{}, err
		}
		return tokenAct("token.create", nil, &t), tx.PutToken(t)
	})
	if err != nil || !kept {
		return "", err
	}
	return secret, a.ReloadTokens(ctx)
}

// update changes tokens and codes with the entry of the audit in the same commit. The zero Act is none.
func (a *Access) update(ctx context.Context, by answer.Origin, fn func(*storage.AuthTx) (audit.Act, error)) error {
	noting := a.o.Audit.Begin(ctx, storage.AuthPartition)
	err := a.store.UpdateAuth(ctx, func(tx *storage.AuthTx) error {
		act, err := fn(tx)
		if err != nil || act.Action == "" {
			return err
		}
		notes, err := noting.Notes(by, act)
		if err == nil {
			tx.Note(notes)
		}
		return err
	})
	if err == nil {
		noting.Chained(ctx)
	}
	return err
}

// tokenAct is an act on a token; of its secret the audit holds nothing.
func tokenAct(action string, before, after *storage.Token) audit.Act {
	act := audit.Act{Action: action}
	if before != nil {
		act.Object, act.Before = "token/"+before.Name, tokenState(*before)
	}
	if after != nil {
		act.Object, act.After = "token/"+after.Name, tokenState(*after)
	}
	return act
}

func tokenState(t storage.Token) any {
	info := tokenInfo(t)
	return map[string]any{"scopes": info.Scopes, "expires_at": info.ExpiresAt}
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

// CreateToken makes an API token; its secret is returned once and never kept.
func (a *Access) CreateToken(ctx context.Context, by answer.Origin, w TokenWish) (NewToken, error) {
	var faults []policy.FieldError
	if !tokenName.MatchString(w.Name) {
		faults = append(faults, policy.FieldError{
			Field:  "name",
			Reason: "must be 1 to 63 letters, digits, '.', '_', '@' and '-', beginning with a letter or digit",
		})
	}
	unknown := func(s Scope) bool { return !slices.Contains(Scopes, s) }
	if len(w.Scopes) == 0 || len(w.Scopes) > len(Scopes) || slices.ContainsFunc(w.Scopes, unknown) {
		faults = append(faults, policy.FieldError{
			Field:  "scopes",
			Reason: "must be one or several of admin, read, operator, metrics, mdm and backup",
		})
	}
	if w.ExpiresAt != nil && !a.o.Now().Before(*w.ExpiresAt) {
		faults = append(faults, policy.FieldError{Field: "expires_at", Reason: "must lie ahead"})
	}
	if len(faults) > 0 {
		return NewToken{}, answer.Invalid("the token is not valid", faults...)
	}
	secret, err := newSecret()
	if err != nil {
		return NewToken{}, err
	}
	t := storage.Token{Name: w.Name, Scope: string(w.Scopes[0]), Hash: hashSecret(secret), CreatedAt: a.o.Now(), By: by.Actor}
	if scopes := slices.Compact(slices.Sorted(slices.Values(w.Scopes))); len(scopes) > 1 {
		for _, s := range scopes {
			t.Scopes = append(t.Scopes, string(s))
		}
		t.Scope = "" // a replica of an older version takes the token for one that may do nothing
	}
	if w.ExpiresAt != nil {
		t.ExpiresAt = w.ExpiresAt.UTC()
	}
	if err := a.update(ctx, by, func(tx *storage.AuthTx) (audit.Act, error) {
		before, err := tx.Token(t.Name)
		if err == nil && before != nil {
			err = answer.Conflict("exists", fmt.Sprintf("a token named %q exists", t.Name))
		}
		if err != nil {
			return audit.Act{}, err
		}
		return tokenAct("token.create", nil, &t), tx.PutToken(t)
	}); err != nil {
		return NewToken{}, err
	}
	return NewToken{TokenInfo: tokenInfo(t), Token: secret}, a.ReloadTokens(ctx)
}

func tokenInfo(t storage.Token) TokenInfo {
	info := TokenInfo{Name: t.Name, Scope: Scope(t.Scope), CreatedAt: t.CreatedAt, By: t.By}
	if !t.ExpiresAt.IsZero() {
		info.ExpiresAt = &t.ExpiresAt
	}
	for _, s := range t.Scopes {
		info.Scopes = append(info.Scopes, Scope(s))
	}
	if len(info.Scopes) == 0 {
		info.Scopes = []Scope{info.Scope}
	}
	return info
}

// ListTokens lists the API tokens by name, without their secrets.
func (a *Access) ListTokens(_ context.Context, limit int, cursor string) (answer.Page[TokenInfo], error) {
	a.mu.RLock()
	all := a.auth.Tokens
	a.mu.RUnlock()
	return answer.List("tokens", limit, cursor, len(all), func(i int) string { return all[i].Name },
		func(i int) TokenInfo { return tokenInfo(all[i]) })
}

// DeleteToken takes a token out of force.
func (a *Access) DeleteToken(ctx context.Context, name string, by answer.Origin) error {
	if err := a.update(ctx, by, func(tx *storage.AuthTx) (audit.Act, error) {
		before, err := tx.Token(name)
		if err == nil && before == nil {
			err = answer.NotFound(fmt.Sprintf("there is no token named %q", name))
		}
		if err != nil {
			return audit.Act{}, err
		}
		tx.DeleteToken(name)
		return tokenAct("token.delete", before, nil), nil
	}); err != nil {
		return err
	}
	return a.ReloadTokens(ctx)
}
