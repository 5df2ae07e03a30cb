package self

import (
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// Model is the page of one Mac for the one who uses it.
type Model struct {
	Path      string
	Mac       string // its name
	Model     string
	Runs      string // "macOS 26.5"
	Headline  string
	Applies   []string // the freeze or exemption that applies, and until when
	Tone      string   // "fine", "asked", "late" or "plain": how the headline is shown
	Install   string   // what will be installed; empty: nothing
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
	Offsets   []view.Option
	Fault     string
}

// ModelOf puts what is required of a user into plain words. zone is that in which instants are told.
func ModelOf(s *fleet.Self, zone *time.Location) Model {
	m := Model{
		Mac: s.Name, Model: s.ModelName, Runs: "macOS " + view.OSWords(s.CurrentVersion, s.CurrentLetter), Overdue: s.Overdue,
		CanDelay: s.CanDelay, Left: s.DelaysLeft, MaxHours: s.MaxHours, DelayFrom: view.WallPtr(s.DelayFromLocal),
	}
	if s.CurrentVersion == "" {
		m.Runs = ""
	}
	m.Applies = appliesWords(s, zone)
	if s.Offered != nil && !s.Asked {
		m.Offered = selfTarget(s.Offered, "")
	}
	if s.Required == nil {
		m.nothingRequired(s)
		return m
	}
	m.BSI = s.Required.Kind == release.KindBSI
	m.Install = selfTarget(s.Required, s.Letter)
	m.Deadline = view.WallPtr(s.DeadlineLocal)
	m.Progress = selfProgress[s.Phase]
	switch {
	case s.State == "incompatible":
		m.Tone, m.Headline = "plain", "This Mac needs "+m.Install+"."
		m.Deadline = ""
		m.Happens = []string{
			"Your Mac cannot be updated by this service as it is. The people who manage it will get in touch, " +
				"or update it yourself as described below.",
		}
	case s.UpdateNow:
		m.Tone, m.Headline, m.Deadline = "late", "This Mac is about to update.", ""
		m.Happens = []string{
			"Your Mac closes your apps, restarts and installs the update as soon as it can: usually within about an hour of being " +
				"switched on and online. Unsaved work may be lost.",
			"Save your work now.",
		}
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
			"At the deadline your Mac closes your apps, restarts and installs the update, " +
				"whether or not you agreed. Unsaved work may be lost.",
			"If your Mac is off or asleep then, it installs the update about an hour after you next use it.",
		}
	}
	if s.Asked && s.Required.Kind == release.KindOS {
		m.Why = append(m.Why, "You asked for this upgrade.")
	}
	if s.UpdateNow {
		m.Why = append(m.Why, "The people who manage this Mac asked for it to be installed now.")
	} else if s.Policy != "" {
		m.Why = append(m.Why, "The policy “"+s.Policy+"” of the people who manage this Mac asks for it.")
	}
	if s.Exploited {
		m.Why = append(m.Why, "It fixes a vulnerability that is being actively exploited.")
	}
	m.Notes = selfNotes(s)
	return m
}

// appliesWords say that an exemption or a freeze applies, and until when.
func appliesWords(s *fleet.Self, zone *time.Location) []string {
	var out []string
	if s.ExemptUntil != nil {
		out = append(out, "This Mac is exempt from updates until "+s.ExemptUntil.In(zone).Format("Monday 2 January 2006, 15:04 MST")+
			". After that you are told of an update in good time, as always.")
	}
	if s.Freeze != nil {
		out = append(out, "Updates pause up to and including "+s.Freeze.To.Time().Format("Monday 2 January 2006")+
			": no deadline falls before that day is over. You may install an update yourself at any time.")
	}
	return out
}

func (m *Model) nothingRequired(s *fleet.Self) {
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
	"by_command": "macOS shows a notice when the time has come; about an hour later your Mac restarts. " +
		"Save your work before the deadline: this page is your only other warning.",
	"user_can_decline":    "macOS asks before it begins the upgrade, and you can still stop it then.",
	"user_must_authorize": "Your password is needed for the update: install it yourself in Software Update.",
	"delayed":             "You delayed the deadline; what is shown is the new one.",
	"downloading_long":    "The download has been going on for more than a day: check your connection and your free disk space.",
	"held":                "A newer macOS exists, but the people who manage this Mac hold it back for now.",
	"unsupported": "Apple offers no macOS for this Mac that would meet what is asked. " +
		"The people who manage it can see that.",
	"paused": "The people who manage this Mac have paused all updates for now.",
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
		return "the Background Security Improvement macOS " + view.OSWords(string(t.Version), letter)
	}
	return "macOS " + string(t.Version)
}
