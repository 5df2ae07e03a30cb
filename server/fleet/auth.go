package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/storage"
)

// challengeTime is how long a SCEP challenge is valid (api.md 2).
const challengeTime = time.Hour

// How often a token that is not known may have the store looked at: guessing must not be an attack on it.
const (
	lookEvery = 250 * time.Millisecond
	lookTime  = 2 * time.Second // at most for one look: strangers wait for it
)

// authHolder holds tokens and codes as they stood at one revision.
type authHolder struct {
	mu     sync.RWMutex
	auth   storage.Auth
	byHash map[string]storage.Token

	looking sync.Mutex // one look at a time
	looked  time.Time  // when the last look began, or failed; under looking
	failed  error      // why the last look failed, under looking
}

func (a *authHolder) known(hash string) (storage.Token, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	t, ok := a.byHash[hash]
	return t, ok
}

func (a *authHolder) revision() uint64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.auth.Revision
}

func (f *Fleet) reloadAuth(ctx context.Context) error {
	auth, err := f.store.Auth(ctx)
	if err != nil {
		return err
	}
	byHash := make(map[string]storage.Token, len(auth.Tokens))
	for _, t := range auth.Tokens {
		byHash[t.Hash] = t
	}
	f.auth.mu.Lock()
	defer f.auth.mu.Unlock()
	if auth.Revision >= f.auth.auth.Revision {
		f.auth.auth, f.auth.byHash = auth, byHash
	}
	return nil
}

// lookForTokens reads the tokens again if they changed. It returns once a look is over that began after the call: all who wait share it.
func (f *Fleet) lookForTokens(ctx context.Context) error {
	a := &f.auth
	came := time.Now()
	a.looking.Lock()
	defer a.looking.Unlock()
	if a.looked.After(came) {
		return a.failed
	}
	if wait := lookEvery - time.Since(a.looked); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.looked = time.Now()
	// Others wait for it too: it does not end with the one who began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	revs, err := f.store.Revisions(ctx, storage.AuthPartition)
	if err == nil && revs[0] != a.revision() {
		err = f.reloadAuth(ctx)
	}
	if a.failed = err; err != nil {
		a.looked = time.Now() // a store that is away is not waited for once more by those who came meanwhile
	}
	return err
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
func (f *Fleet) IsAdminToken(secret string) bool {
	return f.o.AdminToken != "" && subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(hashSecret(f.o.AdminToken))) == 1
}

// Identify tells whose token a secret is; ErrForbidden when nobody's, which the store is asked for first: another replica may have made it just now.
// Secrets are looked up by their hash, the one of the command line is compared in constant time.
func (f *Fleet) Identify(ctx context.Context, secret string) (Principal, error) {
	if f.IsAdminToken(secret) {
		return Principal{Name: "admin-token", Scope: ScopeAdmin}, nil
	}
	hash := hashSecret(secret)
	t, ok := f.auth.known(hash)
	if !ok && !f.o.Alone {
		if err := f.lookForTokens(ctx); err != nil {
			return Principal{}, fmt.Errorf("look for a token: %w", err)
		}
		t, ok = f.auth.known(hash)
	}
	if !ok {
		return Principal{}, fmt.Errorf("the token is not known: %w", ErrForbidden)
	}
	return Principal{Name: t.Name, Scope: Scope(t.Scope)}, nil
}

// FirstToken makes an admin token when there is neither one on the command line nor any other; empty when there is.
func (f *Fleet) FirstToken(ctx context.Context) (string, error) {
	if f.o.AdminToken != "" {
		return "", nil
	}
	secret, err := newSecret()
	if err != nil {
		return "", err
	}
	kept, err := f.store.FirstToken(ctx, storage.Token{Name: "first", Scope: string(ScopeAdmin), Hash: hashSecret(secret), CreatedAt: f.now(), By: "plimsoll"})
	if err != nil || !kept {
		return "", err
	}
	return secret, f.reloadAuth(ctx)
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

// CreateToken makes an API token; its secret is returned once and never kept.
func (f *Fleet) CreateToken(ctx context.Context, by, name string, scope Scope) (NewToken, error) {
	var faults []policy.FieldError
	if !tokenName.MatchString(name) {
		faults = append(faults, policy.FieldError{Field: "name", Reason: "must be 1 to 63 letters, digits, '.', '_', '@' and '-', beginning with a letter or digit"})
	}
	if scope != ScopeAdmin && scope != ScopeRead && scope != ScopeMetrics {
		faults = append(faults, policy.FieldError{Field: "scope", Reason: "must be admin, read or metrics"})
	}
	if len(faults) > 0 {
		return NewToken{}, invalid("the token is not valid", faults...)
	}
	secret, err := newSecret()
	if err != nil {
		return NewToken{}, err
	}
	t := storage.Token{Name: name, Scope: string(scope), Hash: hashSecret(secret), CreatedAt: f.now(), By: by}
	if err := f.store.AddToken(ctx, t); err != nil {
		if errors.Is(err, ErrConflict) {
			return NewToken{}, conflict("exists", fmt.Sprintf("a token named %q exists", name))
		}
		return NewToken{}, err
	}
	return NewToken{TokenInfo: tokenInfo(t), Token: secret}, f.reloadAuth(ctx)
}

func tokenInfo(t storage.Token) TokenInfo {
	return TokenInfo{Name: t.Name, Scope: Scope(t.Scope), CreatedAt: t.CreatedAt, By: t.By}
}

// ListTokens lists the API tokens by name, without their secrets.
func (f *Fleet) ListTokens(_ context.Context, limit int, cursor string) (Page[TokenInfo], error) {
	f.auth.mu.RLock()
	all := f.auth.auth.Tokens
	f.auth.mu.RUnlock()
	return page("tokens", limit, cursor, len(all), func(i int) string { return all[i].Name }, func(i int) TokenInfo { return tokenInfo(all[i]) })
}

// DeleteToken takes a token out of force.
func (f *Fleet) DeleteToken(ctx context.Context, name string) error {
	if err := f.store.DeleteToken(ctx, name); err != nil {
		if errors.Is(err, ErrNotFound) {
			return notFound(fmt.Sprintf("there is no token named %q", name))
		}
		return err
	}
	return f.reloadAuth(ctx)
}

func codeInfo(c storage.Code) CodeInfo {
	info := CodeInfo{Code: c.Code, Label: c.Label, Uses: c.Uses, CreatedAt: c.CreatedAt, By: c.By}
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
func (f *Fleet) CheckCode(label string, expires *time.Time, uses int) error {
	var faults []policy.FieldError
	if len(label) > 200 {
		faults = append(faults, policy.FieldError{Field: "label", Reason: "must be at most 200 bytes"})
	}
	if uses < 0 {
		faults = append(faults, policy.FieldError{Field: "uses", Reason: "must not be negative; 0 means any number"})
	}
	if expires != nil && !f.now().Before(expires.UTC().Truncate(time.Second)) {
		faults = append(faults, policy.FieldError{Field: "expires_at", Reason: "must lie in the future"})
	}
	if len(faults) > 0 {
		return invalid("the enrolment code is not valid", faults...)
	}
	return nil
}

// CreateCode makes an enrolment code. expires nil: never; uses 0: any number.
func (f *Fleet) CreateCode(ctx context.Context, by, label string, expires *time.Time, uses int) (CodeInfo, error) {
	if err := f.CheckCode(label, expires, uses); err != nil {
		return CodeInfo{}, err
	}
	c := storage.Code{Code: strings.ToLower(rand.Text()), Label: label, Uses: uses, CreatedAt: f.now(), By: by}
	if expires != nil {
		c.ExpiresAt = expires.UTC().Truncate(time.Second)
	}
	if err := f.store.PutCode(ctx, c); err != nil {
		return CodeInfo{}, err
	}
	return codeInfo(c), f.reloadAuth(ctx)
}

// ListCodes lists the enrolment codes.
func (f *Fleet) ListCodes(ctx context.Context, limit int, cursor string) (Page[CodeInfo], error) {
	auth, err := f.store.Auth(ctx)
	if err != nil {
		return Page[CodeInfo]{}, err
	}
	return page("codes", limit, cursor, len(auth.Codes), func(i int) string { return auth.Codes[i].Code }, func(i int) CodeInfo { return codeInfo(auth.Codes[i]) })
}

// DeleteCode takes an enrolment code out of force.
func (f *Fleet) DeleteCode(ctx context.Context, code string) error {
	err := f.store.DeleteCode(ctx, code)
	if errors.Is(err, ErrNotFound) {
		return notFound("there is no such enrolment code")
	}
	return err
}

// UseCode counts one use of an enrolment code; ErrForbidden when it is unknown, expired or used up.
func (f *Fleet) UseCode(ctx context.Context, code string) error {
	return f.store.UseCode(ctx, code, f.now())
}

// Challenge makes a SCEP challenge that is valid for an hour.
func (f *Fleet) Challenge(ctx context.Context) (string, error) {
	secret, err := newSecret()
	if err != nil {
		return "", err
	}
	return secret, f.store.AddChallenge(ctx, hashSecret(secret), f.now().Add(challengeTime))
}

// RedeemChallenge binds a challenge to the first request that uses it, given as a hash, and returns when that was. The same request
// may repeat what it got no answer to; ErrForbidden for another one, and for a challenge that is unknown or has expired.
func (f *Fleet) RedeemChallenge(ctx context.Context, challenge, by string) (time.Time, error) {
	return f.store.RedeemChallenge(ctx, hashSecret(challenge), by, f.now())
}
