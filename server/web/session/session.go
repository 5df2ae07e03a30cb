// Package session lets people sign in with a token, and says for each request who is signed in and what they may do.
package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

const (
	plainCookie = "plimsoll_session"
	// secureCookie is its name when it is Secure: no other host and no plain http can set one of that name.
	secureCookie = "__Host-" + plainCookie
	lifetime     = 12 * time.Hour
	slot         = "session" // in echo's context
	keySize      = 32        // of the key that signs cookies, in bytes
)

// Session is what the cookie says: which token it was opened with, not the token itself. Whether that token is still in force,
// and what it may do, is looked up for every request.
type Session struct {
	Name    string `json:"n"`
	Created int64  `json:"c,omitempty"` // when the token was made, so that a later one of the same name does not take its place
	// Mark stands for the token of the command line: a keyed hash of it. Empty for tokens that are kept.
	Mark    string `json:"m,omitempty"`
	Expires int64  `json:"e"`
	ID      string `json:"i"` // random

	scopes []fleet.Scope
}

// sessions signs cookies, and reads what it signed.
type sessions struct {
	key        []byte
	adminToken string
	secure     bool

	mu    sync.Mutex
	ended map[string]int64 // ids of sessions that were signed out, until they would have expired
}

// end takes a session out of force, on this replica.
func (s *sessions) end(v *Session, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, expires := range s.ended {
		if now.Unix() >= expires {
			delete(s.ended, id)
		}
	}
	if s.ended == nil {
		s.ended = map[string]int64{}
	}
	s.ended[v.ID] = v.Expires
}

func (s *sessions) hasEnded(v *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.ended[v.ID]
	return ended
}

func (s *sessions) name() string {
	if s.secure {
		return secureCookie
	}
	return plainCookie
}

func (s *sessions) sum(purpose, text string) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(purpose + "\x00" + text))
	return mac.Sum(nil)
}

func (s *sessions) mark() string {
	return base64.RawURLEncoding.EncodeToString(s.sum("admin-token", s.adminToken))
}

// isAdminToken tells whether a secret is the token of the command line.
func (s *sessions) isAdminToken(secret string) bool {
	if s.adminToken == "" {
		return false
	}
	given, want := s.sum("compare", secret), s.sum("compare", s.adminToken)
	return subtle.ConstantTimeCompare(given, want) == 1
}

func (s *sessions) encode(v *Session) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode the session: %w", err)
	}
	body := base64.RawURLEncoding.EncodeToString(b)
	return body + "." + base64.RawURLEncoding.EncodeToString(s.sum("session", body)), nil
}

// decode reads a cookie; nil for one that was forged, has expired, or was signed out.
func (s *sessions) decode(cookie string, now time.Time) *Session {
	body, sum, ok := strings.Cut(cookie, ".")
	if !ok {
		return nil
	}
	given, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(given, s.sum("session", body)) {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return nil
	}
	var v Session
	if json.Unmarshal(b, &v) != nil || now.Unix() >= v.Expires || s.hasEnded(&v) {
		return nil
	}
	return &v
}

func (s *sessions) cookie(value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: s.name(), Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteStrictMode,
	}
}

// Options are the things that signing in needs.
type Options struct {
	Fleet *fleet.Fleet
	// AdminToken is the token of the command line; empty: none. A session that was opened with it lasts as long as it is given.
	AdminToken string
	// Secure is for a server that browsers reach by https: they send its cookie to no other host, and never in the clear.
	Secure bool
	// Identify tells whose token a secret is that somebody at an address shows, or how long to wait because too many logins failed
	// there.
	Identify func(ctx context.Context, ip, secret string) (p fleet.Principal, wait time.Duration, err error)
	// Show is the page on which people sign in: next is the page of ours that follows, fault why the last attempt failed.
	Show func(c echo.Context, status int, next, fault string) error
	Now  func() time.Time
}

// Room lets people sign in and out. Safe for concurrent use.
type Room struct {
	o        Options
	sessions sessions
	refusals refusals
}

// New reads the key that signs cookies, or makes it: all replicas have the same.
func New(ctx context.Context, o Options) (*Room, error) {
	key, err := o.Fleet.Secret(ctx, "session", func() ([]byte, error) {
		b := make([]byte, keySize)
		_, err := rand.Read(b)
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the session key: %w", err)
	}
	return &Room{o: o, sessions: sessions{key: key, adminToken: o.AdminToken, secure: o.Secure}}, nil
}

// Routes adds the room's routes.
func (r *Room) Routes(e *echo.Echo) {
	e.Match([]string{http.MethodGet, http.MethodHead}, "/login", r.loginPage)
	e.POST("/login", r.login)
	e.POST("/logout", r.SignedIn(r.logout))
	e.Match([]string{http.MethodGet, http.MethodHead}, "/session", r.SignedIn(func(c echo.Context) error {
		return c.NoContent(http.StatusNoContent)
	}))
}

// open makes a session for a principal that showed its secret.
func (r *Room) open(ctx context.Context, p fleet.Principal, secret string) (*Session, error) {
	s := &Session{Name: p.Name, Expires: r.o.Now().Add(lifetime).Unix(), ID: rand.Text(), scopes: p.Scopes}
	if r.sessions.isAdminToken(secret) {
		s.Mark = r.sessions.mark()
		return s, nil
	}
	t, err := r.token(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	s.Created = t.CreatedAt.Unix()
	return s, nil
}

// token finds a token by name; ErrForbidden when there is none.
func (r *Room) token(ctx context.Context, name string) (fleet.TokenInfo, error) {
	for cursor := ""; ; {
		page, err := r.o.Fleet.ListTokens(ctx, 1000, cursor)
		if err != nil {
			return fleet.TokenInfo{}, err
		}
		for _, t := range page.Items {
			if t.Name == name {
				return t, nil
			}
		}
		if page.Next == "" {
			return fleet.TokenInfo{}, fmt.Errorf("the token %q is not in force: %w", name, fleet.ErrForbidden)
		}
		cursor = page.Next
	}
}

// alive tells whether the token of a session is still in force, and fills in what it may do now.
func (r *Room) alive(ctx context.Context, s *Session) bool {
	if s.Mark != "" {
		s.scopes = []fleet.Scope{fleet.ScopeAdmin}
		return r.sessions.adminToken != "" && subtle.ConstantTimeCompare([]byte(s.Mark), []byte(r.sessions.mark())) == 1
	}
	t, err := r.token(ctx, s.Name)
	s.scopes = t.Scopes
	return err == nil && t.CreatedAt.Unix() == s.Created && !t.Expired(r.o.Now())
}

// Current is the session of a request; nil when nobody is signed in.
func (r *Room) Current(c echo.Context) *Session {
	cookie, err := c.Cookie(r.sessions.name())
	if err != nil {
		return nil
	}
	s := r.sessions.decode(cookie.Value, r.o.Now())
	if s == nil || !r.alive(c.Request().Context(), s) {
		return nil
	}
	return s
}

// Of is the session that SignedIn found; nil outside of it.
func Of(c echo.Context) *Session {
	s, _ := c.Get(slot).(*Session)
	return s
}

// Recall looks for the session of a request that came to no route, so that Of knows it.
func (r *Room) Recall(c echo.Context) {
	if s := r.Current(c); s != nil {
		c.Set(slot, s)
	}
}

// Who is the name of the token that the session was opened with.
func Who(c echo.Context) string { return Of(c).Name }

// By says for the audit who makes a request, and from where.
func By(c echo.Context) fleet.Origin {
	o := from(c)
	o.Actor = Of(c).principal().Actor()
	return o
}

// from is where a request comes from.
func from(c echo.Context) fleet.Origin { return fleet.Origin{Via: fleet.ViaPage, Address: c.RealIP()} }

func (s *Session) principal() fleet.Principal {
	return fleet.Principal{Name: s.Name, Scopes: s.scopes, OfCommandLine: !s.Kept()}
}

// SignedIn lets only signed-in people through, and reads the form of a write. Writes that another site caused must have been
// refused before.
func (r *Room) SignedIn(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		s := r.Current(c)
		asked := c.Request()
		read := asked.Method == http.MethodGet || asked.Method == http.MethodHead
		switch {
		case s != nil:
		case asked.URL.Path == "/session", asked.URL.Path == "/stream":
			return c.NoContent(http.StatusUnauthorized)
		case read:
			return c.Redirect(http.StatusSeeOther, loginAddress(asked.URL.RequestURI()))
		default:
			return c.Redirect(http.StatusSeeOther, loginAddress(""))
		}
		c.Set(slot, s)
		if !read {
			if err := view.ParseForm(asked); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// MayWrite lets only admin tokens through.
func MayWrite(next echo.HandlerFunc) echo.HandlerFunc { return needs(fleet.ScopeAdmin, next) }

// MayOperate lets admins and operators through: for acts on single Macs.
func MayOperate(next echo.HandlerFunc) echo.HandlerFunc { return needs(fleet.ScopeOperator, next) }

func needs(scope fleet.Scope, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		s := Of(c)
		if s.May(scope) {
			return next(c)
		}
		text := "the token " + s.Name + " may look at everything and change nothing"
		if s.May(fleet.ScopeOperator) {
			text = "the token " + s.Name + " may act on single Macs and change nothing else"
		}
		return &fleet.Error{Kind: fleet.ErrForbidden, Code: "scope", Text: text}
	}
}

// Kept tells whether the session was opened with a token that is kept under its name, not with that of the command line.
func (s *Session) Kept() bool { return s.Mark == "" }

// May tells whether the session's token gives a scope.
func (s *Session) May(want fleet.Scope) bool {
	return s.principal().May(want)
}
