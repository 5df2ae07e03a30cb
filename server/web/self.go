package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
)

// selfModel is the page of one Mac for the one who uses it.
type selfModel struct {
	Path      string
	Mac       string // its name
	Model     string
	Runs      string // "macOS 26.5"
	Headline  string
	Tone      string // "fine", "asked", "late" or "plain": how the headline is shown
	Install   string // what will be installed; empty: nothing
	BSI       bool
	Why       []string
	Deadline  string
	Overdue   bool
	Delayed   bool
	Happens   []string // what happens at the deadline
	Progress  string
	Notes     []string
	Offered   string
	CanDelay  bool
	Left      int
	MaxHours  int
	DelayFrom string
	Offsets   []option
	Fault     string
}

func (w *Web) self(c echo.Context) error {
	link, wantsJSON := strings.CutSuffix(param(c, "link"), ".json")
	s, err := w.fleet.Self(c.Request().Context(), link)
	if err != nil {
		return selfError(err)
	}
	if wantsJSON {
		return c.JSON(http.StatusOK, s)
	}
	return w.showSelf(c, http.StatusOK, link, s, "")
}

// selfError keeps what a dead link says apart from everything else.
func selfError(err error) error {
	if errors.Is(err, fleet.ErrNotFound) {
		return &fleet.Error{Kind: fleet.ErrNotFound, Code: "not_found", Text: "this link is not valid, or not any more; ask the people who manage this Mac for its page"}
	}
	return err
}

func (w *Web) showSelf(c echo.Context, status int, link string, s fleet.Self, fault string) error {
	m := selfModelOf(&s)
	m.Path, m.Fault = "/self/"+url.PathEscape(link), fault
	if m.CanDelay {
		m.Offsets = offsets(w.now(), w.zone)
	}
	body, err := w.view.execute("self", frame{Title: "Updates for this Mac", Page: m})
	if err != nil {
		return err
	}
	c.Response().Header().Set("X-Robots-Tag", "noindex")
	return c.HTMLBlob(status, body)
}

func (w *Web) selfDelay(c echo.Context) error {
	if err := parseForm(c.Request()); err != nil {
		return selfError(err)
	}
	now, err := userNow(c.FormValue("now"), c.FormValue("offset"), w.now())
	if err != nil {
		return err
	}
	return w.selfAct(c, func(link string) (fleet.Self, error) { return w.fleet.SelfDelay(c.Request().Context(), link, now) })
}

func (w *Web) selfUpgrade(c echo.Context) error {
	return w.selfAct(c, func(link string) (fleet.Self, error) { return w.fleet.SelfUpgrade(c.Request().Context(), link) })
}

// selfAct carries an action of the user out and leads back to the page, which says at once when it was not possible.
func (w *Web) selfAct(c echo.Context, act func(link string) (fleet.Self, error)) error {
	link := param(c, "link")
	_, err := act(link)
	var fe *fleet.Error
	switch {
	case err == nil:
		return c.Redirect(http.StatusSeeOther, "/self/"+url.PathEscape(link))
	case errors.Is(err, fleet.ErrConflict) && errors.As(err, &fe) && strings.Contains(c.Request().Header.Get("Accept"), "text/html"):
		s, again := w.fleet.Self(c.Request().Context(), link)
		if again != nil {
			return selfError(again)
		}
		return w.showSelf(c, http.StatusConflict, link, s, sentence(fe.Text))
	}
	return selfError(err)
}

// The offsets of all the world's wall clocks, in minutes.
const (
	firstOffset = int(declarations.FirstZone / time.Minute)
	lastOffset  = int(declarations.LastZone / time.Minute)
)

// userNow is what the user's wall clock shows (whether any clock can is for the use case to say): as the page's script sent it, or from the offset that was chosen without a script. With
// neither it is taken to be as late as it can be anywhere (UTC+14), so that a deadline never comes earlier than the user was told.
func userNow(local, offset string, now time.Time) (declarations.Local, error) {
	invalid := func(field, reason string) error {
		return &fleet.Error{Kind: fleet.ErrInvalid, Code: "invalid", Text: "the time is not valid", Fields: []policy.FieldError{{Field: field, Reason: reason}}}
	}
	switch {
	case local != "":
		l, err := localOf(local)
		if err != nil {
			return 0, invalid("now", "must be a wall-clock time such as 2026-12-01T12:00:00")
		}
		return l, nil
	case offset != "":
		n, err := strconv.Atoi(offset)
		if err != nil || n < lastOffset || n > firstOffset {
			return 0, invalid("offset", "must be minutes from UTC, between "+strconv.Itoa(lastOffset)+" and "+strconv.Itoa(firstOffset))
		}
		return declarations.LocalAt(now, time.Duration(n)*time.Minute), nil
	}
	return declarations.LocalAt(now, declarations.FirstZone), nil
}

// offsets are the choices of a user without JavaScript: what the clock shows tells the zone. The server's zone is chosen first.
func offsets(now time.Time, zone *time.Location) []option {
	_, own := now.In(zone).Zone()
	own /= 60
	minutes := make([]int, 0, 32)
	for m := lastOffset; m <= firstOffset; m += 60 {
		minutes = append(minutes, m)
		switch m { // the half and quarter hours in use
		case -4 * 60, 3 * 60, 4 * 60, 5 * 60, 6 * 60, 9 * 60, 10 * 60:
			minutes = append(minutes, m+30)
		}
		if m == -240 {
			minutes[len(minutes)-1] = -210
		}
	}
	out := make([]option, 0, len(minutes))
	for _, m := range minutes {
		l := declarations.LocalAt(now, time.Duration(m)*time.Minute)
		out = append(out, option{Value: strconv.Itoa(m), Label: l.At(0).Format("Mon 15:04") + " (" + offsetWords(m) + ")", Selected: m == own})
	}
	return out
}

func offsetWords(minutes int) string {
	sign := "+"
	if minutes < 0 {
		sign, minutes = "−", -minutes
	}
	s := "UTC" + sign + strconv.Itoa(minutes/60)
	if minutes%60 != 0 {
		s += ":" + strconv.Itoa(minutes%60)
	}
	return s
}

// selfModelOf puts what is required of a user into plain words.
func selfModelOf(s *fleet.Self) selfModel {
	m := selfModel{
		Mac: s.Name, Model: s.ModelName, Runs: "macOS " + osWords(s.CurrentVersion, s.CurrentLetter), Overdue: s.Overdue,
		CanDelay: s.CanDelay, Left: s.DelaysLeft, MaxHours: s.MaxHours, DelayFrom: wallPtr(s.DelayFromLocal),
	}
	if s.CurrentVersion == "" {
		m.Runs = ""
	}
	if s.Offered != nil && !s.Asked {
		m.Offered = selfTarget(s.Offered, "")
	}
	if s.Required == nil {
		m.nothingRequired(s)
		return m
	}
	m.BSI = s.Required.Kind == release.KindBSI
	m.Install = selfTarget(s.Required, s.Letter)
	m.Deadline = wallPtr(s.DeadlineLocal)
	m.Progress = selfProgress[s.Phase]
	switch {
	case s.State == "incompatible":
		m.Tone, m.Headline = "plain", "This Mac needs "+m.Install+"."
		m.Deadline = ""
		m.Happens = []string{"Your Mac cannot be updated by this service as it is. The people who manage it will get in touch, or update it yourself as described below."}
	case s.Overdue:
		m.Tone, m.Headline = "late", "An update is overdue."
		m.Happens = []string{
			"Your Mac installs the update and restarts as soon as it can: usually within about an hour of being switched on and online.",
			"Save your work now. Choosing the moment yourself is still possible by installing it right away.",
		}
	default:
		m.Tone, m.Headline = "asked", "An update is waiting for this Mac."
		m.Happens = []string{
			"macOS reminds you more often as the deadline comes closer.",
			"At the deadline your Mac closes your apps, restarts and installs the update, whether or not you agreed. Unsaved work may be lost.",
			"If your Mac is off or asleep then, it installs the update about an hour after you next use it.",
		}
	}
	if s.Asked && s.Required.Kind == release.KindOS {
		m.Why = append(m.Why, "You asked for this upgrade.")
	}
	if s.Policy != "" {
		m.Why = append(m.Why, "The policy “"+s.Policy+"” of the people who manage this Mac asks for it.")
	}
	if s.Exploited {
		m.Why = append(m.Why, "It fixes a vulnerability that is being actively exploited.")
	}
	m.Notes = selfNotes(s)
	return m
}

func (m *selfModel) nothingRequired(s *fleet.Self) {
	switch {
	case s.Fine:
		m.Tone, m.Headline = "fine", "This Mac is up to date. There is nothing for you to do."
		if s.State == "unmanaged" {
			m.Headline = "Nothing is asked of this Mac. There is nothing for you to do."
		}
	default:
		m.Tone, m.Headline = "plain", "No update is asked for at the moment. There is nothing for you to do."
	}
	m.Notes = selfNotes(s)
}

// selfProgress says how far the update has come, where that helps the user.
var selfProgress = map[string]string{
	"waiting":     "Your Mac is waiting for a good moment to begin.",
	"downloading": "Your Mac is downloading the update.",
	"prepared":    "The update is downloaded and ready to be installed.",
	"installing":  "The update is being installed.",
	"failed":      "The last attempt to install the update failed. Your Mac tries again by itself.",
	"rejected":    "Your Mac did not accept the update yet. The people who manage it can see that.",
}

// notes are the reasons that concern a user, in words for users. The others are for those who manage the Macs.
var notes = map[string]string{
	"failure_disk":            "The last attempt failed for lack of disk space: free some, then it is tried again.",
	"failure_battery":         "The last attempt failed because of the battery: plug your Mac in and leave it on.",
	"install_failed":          "The last attempt failed. Restart your Mac, or ask the people who manage it if that happens again.",
	"bootstrap_token_missing": "You may be asked for your password when the update is installed.",
	"delayed":                 "You delayed the deadline; what is shown is the new one.",
	"downloading_long":        "The download has been going on for more than a day: check your connection and your free disk space.",
	"held":                    "A newer macOS exists, but the people who manage this Mac hold it back for now.",
	"unsupported":             "Apple offers no macOS for this Mac that would meet what is asked. The people who manage it can see that.",
	"paused":                  "The people who manage this Mac have paused all updates for now.",
}

func selfNotes(s *fleet.Self) []string {
	var out []string
	for _, r := range s.Reasons {
		if note, ok := notes[r.Code]; ok {
			out = append(out, note)
		}
	}
	return out
}

func selfTarget(t *plan.Target, letter string) string {
	if t.Kind == release.KindBSI {
		return "the Background Security Improvement macOS " + osWords(string(t.Version), letter)
	}
	return "macOS " + string(t.Version)
}
