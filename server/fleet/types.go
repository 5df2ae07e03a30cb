package fleet

import (
	"context"
	"encoding/json"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/notify"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Tx is a transaction on a Mac's partition, as a Notifier gets it; CheckIn is what a Mac says of itself outside status reports.
type (
	Tx      = storage.Tx
	CheckIn = status.CheckIn
	// MachineInfo is what a Mac says of itself before it enrols.
	MachineInfo = status.MachineInfo
	// Identity is a Mac's certificate, CommandFailure a command that it refused.
	Identity       = status.Identity
	CommandFailure = status.CommandFailure
	ChainError     = status.ChainError
)

// Notifier notifies Macs. Implemented by server/mdm.
type Notifier interface {
	// CommandQueue queues commands, within a transaction on the Mac's partition.
	reconcile.CommandQueue
	// Push wakes Macs through APNs; the result holds an error for each id that failed. An error of its own means that
	// nothing was pushed: there is no push certificate, or APNs cannot be reached.
	Push(ctx context.Context, ids []string) (map[string]error, error)
	// Forget deletes NanoMDM's records of a Mac: it is refused until it enrols again.
	Forget(ctx context.Context, id string) error
}

// Command is one command that a Mac was sent, as the API lists it (docs/api.md 4).
type Command struct {
	UUID        string     `json:"uuid"`
	RequestType string     `json:"request_type"`
	QueuedAt    time.Time  `json:"queued_at"`
	AnsweredAt  *time.Time `json:"answered_at"` // null: it waits
	// Status is the Mac's word: Acknowledged, Error, CommandFormatError; of a command that waits NotNow when the Mac said so last,
	// else Queued.
	Status string       `json:"status"`
	Errors []ChainError `json:"errors"` // in Apple's words, whole
}

// CommandAnswer is a command with what the Mac answered to it.
type CommandAnswer struct {
	Command
	// Answer is the property list of the answer as JSON, without its secrets; null while the command waits.
	Answer json.RawMessage `json:"answer"`
	// LeftOut are JSON Pointers to the values that are not in Answer: secrets, and binary data.
	LeftOut []string `json:"left_out"`
}

// CommandLog reads what an enrolment was sent, and what it answered. Implemented by server/mdm/commandlog.
type CommandLog interface {
	// Commands lists at most limit commands, the last queued first; after and next are positions in the log.
	Commands(ctx context.Context, id, after string, limit int) (list []Command, next string, err error)
	// Command finds one by its UUID; ErrNotFound when there is none.
	Command(ctx context.Context, id, uuid string) (CommandAnswer, error)
}

// What is known of push certificates and of the topics that devices enrolled with.
type (
	PushSource      = notify.Source
	PushCertificate = notify.Certificate
	PushState       = notify.State
	OtherTopic      = notify.OtherTopic
)

// PushStored is the state of push certificates alone: no Mac is counted.
var PushStored = notify.Stored

// OS is what a Mac runs.
type OS struct {
	Version           string `json:"version"`
	Build             string `json:"build"`
	SupplementalBuild string `json:"supplemental_build"`
	Letter            string `json:"letter"`
}

// Device is a Mac as the API shows it (docs/api.md 4).
type Device struct {
	ID             string          `json:"id"`
	UDID           string          `json:"udid"`
	Serial         string          `json:"serial"`
	Name           string          `json:"name"`
	Model          string          `json:"model"`
	ModelName      string          `json:"model_name"`
	Board          string          `json:"board"`
	OS             OS              `json:"os"`
	Groups         []string        `json:"groups"`
	BootstrapToken bool            `json:"bootstrap_token"`
	Enrolled       bool            `json:"enrolled"`
	State          string          `json:"state"`
	Phase          string          `json:"phase"`
	Reasons        []policy.Reason `json:"reasons"`
	Target         *plan.Target    `json:"target"`
	DueLocal       *string         `json:"due_local"`
	DeadlineLocal  *string         `json:"deadline_local"`
	OverdueAt      *time.Time      `json:"overdue_at"`
	Policy         *string         `json:"policy"`
	Ring           *string         `json:"ring"`      // null: the policy that governs has no rings
	Mechanism      *plan.Mechanism `json:"mechanism"` // of the lane whose target is declared, else of the patch lane (rules 14)
	Flags          []string        `json:"flags"`
	EnrolledAt     *time.Time      `json:"enrolled_at"`
	LastSeenAt     *time.Time      `json:"last_seen_at"`
	LastReportAt   *time.Time      `json:"last_report_at"`
	// Identity is the certificate that the Mac enrolled with; null as long as it is not known. Refused is the last message in its
	// name that was refused in this life; null: none was.
	Identity *DeviceIdentity `json:"identity"`
	Refused  *Refusal        `json:"refused"`
	// Exemption and UpdateNow are an admin's exceptions for the Mac while they last (rules 12).
	Exemption *DeviceExemption `json:"exemption"`
	UpdateNow *DeviceUpdate    `json:"update_now"`
}

// DeviceIdentity is a Mac's certificate. Lists leave fingerprint and issued_at out.
type DeviceIdentity struct {
	Fingerprint string     `json:"fingerprint,omitempty"` // SHA-256, hex
	IssuedAt    *time.Time `json:"issued_at,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at"`
	ChangedAt   *time.Time `json:"changed_at"` // null: it is the first
}

// Refusal is a message that was refused.
type Refusal struct {
	At    time.Time `json:"at"`
	Cause string    `json:"cause"`
}

// DeviceQuery filters and orders GET /v1/devices; the zero value asks for all enrolled Macs by serial number.
type DeviceQuery struct {
	State, Flag, Policy, Group, Version, Model, Q, Reason string // Reason: a reason's code
	Ring, Mechanism                                       string
	IdentityChanged                                       bool // in the last 30 days
	SeenBefore                                            time.Time
	Enrolled                                              *bool  // nil: enrolled ones
	Sort                                                  string // "serial" (default), "deadline" or "last_seen"
	Limit                                                 int    // 0: 100
	Cursor                                                string
}

// ServedDeclaration is one declaration of a manifest beside what the Mac reports of it.
type ServedDeclaration struct {
	Kind        string          `json:"kind"`
	Identifier  string          `json:"identifier"`
	ServerToken string          `json:"server_token"`
	Body        json.RawMessage `json:"body"`
	Reported    *Reported       `json:"reported"` // null: nothing was reported for this token
}

// Reported is what a Mac reports of one declaration.
type Reported struct {
	Active  bool            `json:"active"`
	Valid   string          `json:"valid"`
	Reasons json.RawMessage `json:"reasons"`
}

// ServedManifest is a manifest with its declarations.
type ServedManifest struct {
	DeclarationsToken string              `json:"declarations_token"`
	Timestamp         *time.Time          `json:"timestamp"`
	ServedAt          *time.Time          `json:"served_at"` // null: never synced
	Declarations      []ServedDeclaration `json:"declarations"`
}

// StatusItems are the merged status items of one Mac.
type StatusItems struct {
	Items        map[string]json.RawMessage `json:"items"`
	LastReportAt *time.Time                 `json:"last_report_at"`
}

// ReportInfo names one raw status report.
type ReportInfo struct {
	ID         string    `json:"id"`
	ReceivedAt time.Time `json:"received_at"`
	Bytes      int       `json:"bytes"`
	Full       bool      `json:"full"`
	Odd        []string  `json:"odd"` // what was ignored, cut or not understood
}

// Report is one raw status report, secrets removed.
type Report struct {
	ReportInfo
	Body json.RawMessage `json:"body"`
}

// PolicyCount counts the Macs that one policy governs.
type PolicyCount struct {
	Name    string         `json:"name"`
	Label   string         `json:"label"`
	Devices int            `json:"devices"`
	States  map[string]int `json:"states"`
	Flags   map[string]int `json:"flags"`
}

// CatalogueState tells how fresh the catalogue is.
type CatalogueState struct {
	Revision  int       `json:"revision"`
	FetchedAt time.Time `json:"fetched_at"`
	Stale     bool      `json:"stale"`
}

// Compliance is the fleet in numbers (docs/api.md 3). Maps hold every state and flag, zeros included.
type Compliance struct {
	AsOf      time.Time      `json:"as_of"`
	Devices   int            `json:"devices"`
	States    map[string]int `json:"states"`
	Flags     map[string]int `json:"flags"`
	Policies  []PolicyCount  `json:"policies"`
	Catalogue CatalogueState `json:"catalogue"`

	ETag string `json:"-"` // ignores AsOf
}

// HistoryDay is one row of GET /v1/compliance/history.
type HistoryDay struct {
	Date     string         `json:"date"` // UTC day
	Devices  int            `json:"devices"`
	States   map[string]int `json:"states"`
	Flags    map[string]int `json:"flags"`
	Versions map[string]int `json:"versions"`
}

// Event is one event of a timeline.
type Event = compliance.Event

// Readiness is what GET /readyz shows; Ready is false only when the store is not reachable. One that answers and takes no
// writes is.
type Readiness struct {
	Ready     bool               `json:"ready"`
	Store     string             `json:"store"`  // "ok", "takes no writes", or what is wrong
	Format    int                `json:"format"` // of the store
	Catalogue ReadinessCatalogue `json:"catalogue"`
}

// ReadinessCatalogue is the catalogue's part of Readiness.
type ReadinessCatalogue struct {
	Revision  int        `json:"revision"`
	Source    string     `json:"source"`
	FetchedAt time.Time  `json:"fetched_at"`
	Stale     bool       `json:"stale"`
	Refused   string     `json:"refused,omitempty"` // why the last response was refused
	RefusedAt *time.Time `json:"refused_at,omitempty"`
	Error     string     `json:"error,omitempty"` // why the last fetch failed
	// LeftOut tells which entries of the response in force made no sense and were left out, a sentence each; at most 20, then how
	// many more.
	LeftOut []string `json:"left_out,omitempty"`
}
