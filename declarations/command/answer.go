package command

import (
	"strconv"
	"strings"
	"time"
)

// Answer is what a Mac answered to an update command, as far as it is understood.
type Answer struct {
	UUID   string
	Status string // of the protocol: Acknowledged, Error, CommandFormatError, NotNow
	// Results are UpdateResults, Items OSUpdateStatus; both may be missing from a good answer.
	Results []Result
	Items   []Item
	Faults  []Fault // the answer's own ErrorChain
	// Odd counts what was not as Apple documents it: it was left out.
	Odd int
}

// Result is one item of UpdateResults.
type Result struct {
	Key    string // ProductKey
	Action string // InstallAction; may differ from the one that was asked for
	Status string
	Faults []Fault
}

// Item is one item of OSUpdateStatus.
type Item struct {
	Key        string
	Downloaded bool
	Percent    float64 // 0 to 1; 1 is not yet prepared
	Status     string
	Faults     []Fault
}

// Fault is one entry of an ErrorChain.
type Fault struct {
	Code   int64
	Domain string
	Text   string // Apple's, in English when the Mac told it
}

// The codes of a failure, those that reasons have for declarations too.
const (
	FailureOther   = "install_failed"
	FailureDisk    = "failure_disk"
	FailureBattery = "failure_battery"
)

// answered takes the answer to the waiting command, and tells whether the Mac goes on to fetch the next one.
func (c *Course) answered(a *Answer, now time.Time, e *Effects) bool {
	w := c.Waiting
	first(&c.FetchedAt, now)
	if a.Status == notNow {
		w.PutOffAt, w.ContactAt = now, time.Time{}
		first(&w.FetchedAt, now)
		if w.Action.Installs() {
			c.withdraw(e)
		}
		return false
	}
	c.Waiting = nil
	accepted := a.Status == acknowledged
	code, text := a.fault()
	if !accepted && text == "" {
		code, text = FailureOther, "The Mac answered "+strconv.Quote(a.Status)+" without saying why."
	}
	c.judge(w.Action, accepted, code, text, now)
	if accepted {
		first(&c.AcceptedAt, now)
	}
	switch w.Action {
	case UpdateStatus:
		c.listed(a, accepted, now)
	case DownloadOnly:
		if text == "" {
			c.DownloadAt, c.Seen = now, nil
		} else {
			c.DownloadTry = now
		}
	case NotifyOnly:
		if accepted {
			first(&c.ServedAt, now)
			c.NotifiedAt = now
		} else {
			c.NotifyTry = now
		}
	case InstallForceRestart, InstallASAP:
		c.InstallTry = now
		if accepted {
			first(&c.ServedAt, now)
			first(&c.InstalledAny, now)
			c.InstallAt = now
		}
	}
	c.results(a, w.Action)
	return true
}

// judge keeps the fault, and forgets it once a ScheduleOSUpdate was acknowledged without one.
func (c *Course) judge(action Action, accepted bool, code, text string, now time.Time) {
	switch {
	case text != "":
		c.Failure, c.FailureCode, c.FailedAt = text, code, now
	case accepted && action != UpdateStatus:
		c.Failure, c.FailureCode, c.FailedAt = "", "", time.Time{}
	}
}

// results keeps the ProductKey and the state of the one item that was sent. `Installing` only means accepted.
func (c *Course) results(a *Answer, action Action) {
	if action == UpdateStatus {
		return
	}
	c.Doing = ""
	for i := range a.Results {
		r := &a.Results[i]
		if r.Key != "" {
			c.Key = r.Key
		}
		if r.Status == stateDownload || r.Status == stateInstall && action.Installs() {
			c.Doing = r.Status
		}
	}
}

// listed takes an answer to OSUpdateStatus: the target is cached when the Mac says so, or when two answers at least 3 h apart,
// both after the acknowledged download, show no progress.
func (c *Course) listed(a *Answer, accepted bool, now time.Time) {
	c.StatusAt = now
	if !accepted {
		return
	}
	seen := Progress{At: now}
	c.Doing = ""
	for i := range a.Items {
		it := &a.Items[i]
		if !c.concerns(it.Key) {
			continue
		}
		if it.Downloaded {
			c.CachedAt, c.Doing = now, ""
			return
		}
		if !seen.Present || it.Key == c.Key {
			seen.Present, seen.Percent, seen.Status = true, it.Percent, it.Status
		}
	}
	if seen.Status == stateDownload {
		c.Doing = stateDownload
	}
	switch {
	case c.DownloadAt.IsZero() || c.Cached():
	case c.Seen == nil || c.Seen.moved(&seen):
		c.Seen = &seen
	case !now.Before(c.Seen.At.Add(statusEvery)):
		c.CachedAt, c.Doing = now, ""
	}
}

// moved tells whether the later answer shows progress. An item that is gone shows none: macOS does not list what it has.
func (p *Progress) moved(later *Progress) bool {
	return later.Present && (!p.Present || p.Percent != later.Percent || p.Status != later.Status)
}

// concerns tells whether a ProductKey is the one that answered our command, or contains the target's build as a whole word.
func (c *Course) concerns(key string) bool {
	if key == "" {
		return false
	}
	if key == c.Key {
		return true
	}
	if c.Build == "" {
		return false
	}
	for rest := key; ; {
		i := strings.Index(rest, c.Build)
		if i < 0 {
			return false
		}
		end := i + len(c.Build)
		if (i == 0 || !alphanumeric(rest[i-1])) && (end == len(rest) || !alphanumeric(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
}

func alphanumeric(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// fault is the first fault of the answer, its own or an item's, as code and text; both empty: none.
func (a *Answer) fault() (code, text string) {
	chains := [][]Fault{a.Faults}
	statuses := make([]string, 0, len(a.Results)+len(a.Items))
	for i := range a.Results {
		chains, statuses = append(chains, a.Results[i].Faults), append(statuses, a.Results[i].Status)
	}
	for i := range a.Items {
		chains, statuses = append(chains, a.Items[i].Faults), append(statuses, a.Items[i].Status)
	}
	for _, s := range statuses {
		if c := failed(s); c != "" {
			code, text = c, s
			break
		}
	}
	for _, chain := range chains {
		if len(chain) == 0 {
			continue
		}
		if code == "" {
			code = FailureOther
		}
		return code, chainText(chain)
	}
	return code, text
}

// failed is the code of a state that says that something failed, empty for any other state.
func failed(status string) string {
	switch {
	case strings.HasSuffix(status, "InsufficientSpace"):
		return FailureDisk
	case strings.HasSuffix(status, "InsufficientPower"):
		return FailureBattery
	case strings.HasSuffix(status, "InsufficientNetwork"), strings.HasSuffix(status, "Failed"):
		return FailureOther
	}
	return ""
}

// chainText is Apple's text of an ErrorChain: the first one that is not empty, else domain and code.
func chainText(chain []Fault) string {
	for _, f := range chain {
		if f.Text != "" {
			return f.Text
		}
	}
	f := chain[0]
	return strings.TrimSpace(f.Domain + " " + strconv.FormatInt(f.Code, 10))
}
