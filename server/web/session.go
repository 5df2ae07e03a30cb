package web

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
	sessionCookie = "plimsoll_session"
	// secureCookie is its name when it is Secure: no other host and no plain http can set one of that name.
	secureCookie = "__Host-" + sessionCookie
	sessionTime  = 12 * time.Hour
	sessionSlot  = "session" // in echo's context
)

// session is what the cookie says: which token it was opened with, not the token itself. Whether that token is still in force,
// and what it may do, is looked up for every request.
type session struct {
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
func (s *sessions) end(v *session, now time.Time) {
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

func (s *sessions) hasEnded(v *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.ended[v.ID]
	return ended
}

func (s *sessions) name() string {
	if s.secure {
		return secureCookie
	}
	return sessionCookie
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

func (s *sessions) encode(v *session) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode the session: %w", err)
	}
	body := base64.RawURLEncoding.EncodeToString(b)
	return body + "." + base64.RawURLEncoding.EncodeToString(s.sum("session", body)), nil
}

// decode reads a cookie; nil for one that was forged, has expired, or was signed out.
func (s *sessions) decode(cookie string, now time.Time) *session {
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
	var v session
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

// open makes a session for a principal that showed its secret.
func (w *Web) open(ctx context.Context, p fleet.Principal, secret string) (*session, error) {
	s := &session{Name: p.Name, Expires: w.now().Add(sessionTime).Unix(), ID: rand.Text(), scopes: p.Scopes}
	if w.sessions.isAdminToken(secret) {
		s.Mark = w.sessions.mark()
		return s, nil
	}
	t, err := w.token(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	s.Created = t.CreatedAt.Unix()
	return s, nil
}

// token finds a token by name; ErrForbidden when there is none.
func (w *Web) token(ctx context.Context, name string) (fleet.TokenInfo, error) {
	for cursor := ""; ; {
		page, err := w.fleet.ListTokens(ctx, 1000, cursor)
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
func (w *Web) alive(ctx context.Context, s *session) bool {
	if s.Mark != "" {
		s.scopes = []fleet.Scope{fleet.ScopeAdmin}
		return w.sessions.adminToken != "" && subtle.ConstantTimeCompare([]byte(s.Mark), []byte(w.sessions.mark())) == 1
	}
	t, err := w.token(ctx, s.Name)
	s.scopes = t.Scopes
	return err == nil && t.CreatedAt.Unix() == s.Created && !t.Expired(w.now())
}

// current is the session of a request; nil when nobody is signed in.
func (w *Web) current(c echo.Context) *session {
	cookie, err := c.Cookie(w.sessions.name())
	if err != nil {
		return nil
	}
	s := w.sessions.decode(cookie.Value, w.now())
	if s == nil || !w.alive(c.Request().Context(), s) {
		return nil
	}
	return s
}

func sessionOf(c echo.Context) *session {
	s, _ := c.Get(sessionSlot).(*session)
	return s
}

// who is the name that writes are noted under.
func who(c echo.Context) string { return sessionOf(c).Name }

// signedIn lets only signed-in people through. guardRequest has already refused writes that another site caused.
func (w *Web) signedIn(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		s := w.current(c)
		r := c.Request()
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case s != nil:
		case r.URL.Path == "/session", r.URL.Path == "/stream":
			return c.NoContent(http.StatusUnauthorized)
		case read:
			return c.Redirect(http.StatusSeeOther, loginAddress(r.URL.RequestURI()))
		default:
			return c.Redirect(http.StatusSeeOther, loginAddress(""))
		}
		c.Set(sessionSlot, s)
		if !read {
			if err := view.ParseForm(r); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// mayWrite lets only admin tokens through.
func (w *Web) mayWrite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s := sessionOf(c); !s.may(fleet.ScopeAdmin) {
			return &fleet.Error{
				Kind: fleet.ErrForbidden, Code: "scope", Text: "the token " + s.Name + " may look at everything and change nothing",
			}
		}
		return next(c)
	}
}

func (s *session) may(want fleet.Scope) bool {
	return fleet.Principal{Name: s.Name, Scopes: s.scopes}.May(want)
}
