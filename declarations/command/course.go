// Package command drives the updates of Macs that declarations do not reach, one MDM command at a time (rules 14).
package command

import (
	"crypto/sha256"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// Lane names the two lanes that can be told by command; a Background Security Improvement is told by declaration only.
type Lane string

// The lanes.
const (
	Patch   Lane = "patch"
	Upgrade Lane = "upgrade"
)

// Action is the one thing that an update command asks of a Mac.
type Action string

// The actions: four of ScheduleOSUpdate's, and OSUpdateStatus.
const (
	DownloadOnly        Action = "DownloadOnly"
	NotifyOnly          Action = "NotifyOnly"
	InstallForceRestart Action = "InstallForceRestart"
	InstallASAP         Action = "InstallASAP"
	UpdateStatus        Action = "OSUpdateStatus"
)

// Installs tells whether the action installs, and so may restart the Mac.
func (a Action) Installs() bool { return a == InstallForceRestart || a == InstallASAP }

// Task is what the plan asks of a Mac by command, now. A nil *Task asks nothing: there is no target, the mechanism of its lane is
// no command, or the lane is held, paused, strictly frozen or exempt.
type Task struct {
	Lane    Lane
	Version release.Version // the feed's own string, which is sent unchanged
	Build   string
	// Deadline is read in Zone (rules 14); it includes fair notice, which the plan gives (rules 6.4).
	Deadline declarations.Local
	Zone     *time.Location
}

// At is the instant of the deadline.
func (t *Task) At() time.Time { return t.Deadline.In(t.Zone) }

// Facts are what the course needs to know of the Mac.
type Facts struct {
	ID      string // enrollment id
	Life    string // unlike in every life of the Mac
	Version release.Version
	Build   string
	// Told: the Mac has answered DeviceInformation in this life, and not AwaitingConfiguration.
	Told bool
}

// Waiting is the one update command that waits for a Mac.
type Waiting struct {
	UUID     string    `json:"u"`
	Action   Action    `json:"a"`
	QueuedAt time.Time `json:"q"` // UTC
	// FetchedAt is when it was first handed out; zero: not yet.
	FetchedAt time.Time `json:"f,omitzero"`
	// ContactAt is the first contact since it was queued or last put off, from which an unanswered one is lost in 24 h.
	ContactAt time.Time `json:"c,omitzero"`
	// PutOffAt is when the Mac last answered NotNow; zero: never.
	PutOffAt time.Time `json:"n,omitzero"`
}

// Course is what was asked of one Mac by command in pursuit of one target, and what it answered (rules 14). It is kept with the
// Mac, in the same commit as the commands. The zero value: no course. Number outlives the course, so no UUID comes twice.
type Course struct {
	Number  uint64          `json:"i,omitempty"` // commands ever queued
	Life    string          `json:"l,omitempty"`
	Lane    Lane            `json:"a,omitempty"`
	Version release.Version `json:"v,omitempty"` // the target; empty: there is no course
	Build   string          `json:"b,omitempty"`
	// FromVersion and FromBuild are what the Mac had when the course began.
	FromVersion release.Version    `json:"fv,omitempty"`
	FromBuild   string             `json:"fb,omitempty"`
	Deadline    declarations.Local `json:"d,omitzero"`
	BeganAt     time.Time          `json:"t,omitzero"`

	Waiting *Waiting `json:"w,omitempty"`

	// FetchedAt is when the Mac first fetched an update command of this course, AcceptedAt when it first acknowledged one.
	FetchedAt  time.Time `json:"f,omitzero"`
	AcceptedAt time.Time `json:"y,omitzero"`
	// ServedAt is when a NotifyOnly or an install command was first acknowledged: the deadline counts as served.
	ServedAt time.Time `json:"s,omitzero"`

	DownloadAt   time.Time `json:"dl,omitzero"` // DownloadOnly acknowledged without a fault
	DownloadTry  time.Time `json:"dt,omitzero"` // DownloadOnly answered with a fault
	StatusAt     time.Time `json:"st,omitzero"` // OSUpdateStatus answered last
	NotifiedAt   time.Time `json:"n,omitzero"`  // NotifyOnly acknowledged last
	NotifyTry    time.Time `json:"nt,omitzero"` // NotifyOnly refused last
	InstallAt    time.Time `json:"in,omitzero"` // install command acknowledged last
	InstallTry   time.Time `json:"it,omitzero"` // install command answered last, refused ones too
	InstalledAny time.Time `json:"ia,omitzero"` // install command first acknowledged
	QueriedAt    time.Time `json:"qa,omitzero"` // the version was last asked for because of an install command
	PushedAt     time.Time `json:"p,omitzero"`  // pushed last because of the deadline

	Key      string    `json:"k,omitempty"` // ProductKey that answered our command
	Seen     *Progress `json:"pr,omitempty"`
	CachedAt time.Time `json:"c,omitzero"`
	// Doing is what the Mac last said it does for the target: "Downloading" or "Installing".
	Doing string `json:"g,omitempty"`

	// Failure is Apple's text of the last fault, FailedAt its time; empty once a ScheduleOSUpdate was acknowledged without one.
	Failure     string    `json:"x,omitempty"`
	FailureCode string    `json:"xc,omitempty"`
	FailedAt    time.Time `json:"xt,omitzero"`
}

// Progress is how far the download was when it last moved. Present: the Mac listed the target at all.
type Progress struct {
	At      time.Time `json:"t"`
	Present bool      `json:"p,omitempty"`
	Percent float64   `json:"d,omitempty"`
	Status  string    `json:"s,omitempty"`
}

// Active tells whether there is a course.
func (c *Course) Active() bool { return c.Version != "" }

// Cached tells whether the Mac has the target, or so it seems.
func (c *Course) Cached() bool { return !c.CachedAt.IsZero() }

// newUUID is the UUID of the Mac's next command. It is a function of the Mac and of the number, so a step that is computed
// again after a crash, or by another replica, queues the same command.
func (c *Course) newUUID(id string) string {
	c.Number++
	name := id + "\x00" + c.Life + "\x00" + strconv.FormatUint(c.Number, 10)
	return strings.ToUpper(uuid.NewHash(sha256.New(), uuid.Nil, []byte(name), 8).String())
}

// follows tells whether the course is one for this task, this life, this version and this build.
func (c *Course) follows(t *Task, f *Facts) bool {
	return c.Lane == t.Lane && c.Version == t.Version && c.Build == t.Build &&
		c.Life == f.Life && c.FromVersion == f.Version && c.FromBuild == f.Build
}

func begin(number uint64, t *Task, f *Facts, now time.Time) Course {
	return Course{
		Number: number, Life: f.Life, Lane: t.Lane, Version: t.Version, Build: t.Build,
		FromVersion: f.Version, FromBuild: f.Build, Deadline: t.Deadline, BeganAt: now,
	}
}

// Phase is how far the course has come, in the words of rules 8; empty: nothing was handed out yet.
func (c *Course) Phase() string {
	switch {
	case !c.Active():
		return ""
	case c.Failure != "":
		return "failed"
	case c.InstallAt.After(c.NotifiedAt) || c.Doing == "Installing":
		return "installing"
	case c.Cached():
		return "prepared"
	case c.Doing == "Downloading":
		return "downloading"
	case c.Waiting != nil && !c.Waiting.PutOffAt.IsZero():
		return "waiting"
	case !c.AcceptedAt.IsZero():
		return "active"
	case !c.FetchedAt.IsZero():
		return "served"
	}
	return ""
}
