package fleet

import (
	"plimsoll/declarations/command"
	"plimsoll/server/fleet/access"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/server/fleet/book"
	"plimsoll/server/fleet/catalogue"
	"plimsoll/server/fleet/evidence"
	"plimsoll/server/fleet/guard"
	"plimsoll/server/fleet/notify"
)

// The kinds of error that a use case can end with (errors.Is), the store's own.
var (
	ErrNotFound    = answer.ErrNotFound
	ErrConflict    = answer.ErrConflict
	ErrInvalid     = answer.ErrInvalid
	ErrForbidden   = answer.ErrForbidden
	ErrUnavailable = answer.ErrUnavailable
	ErrNoPush      = notify.ErrNoPush
	ErrOtherStore  = guard.ErrOtherStore // the store is not, or not any more, one that this program can run on
)

// What use cases take and answer with, wherever it is made.
type (
	Error        = answer.Error
	WriteOptions = answer.WriteOptions
	Impact       = answer.Impact
	ImpactTarget = answer.ImpactTarget
	ImpactGroup  = answer.ImpactGroup
	ImpactSample = answer.ImpactSample
	ImpactSide   = answer.ImpactSide

	// Origin says who causes a change, and by which way; Act is what is done, for the audit.
	Origin     = answer.Origin
	Act        = audit.Act
	AuditEntry = audit.Entry
	AuditHead  = audit.Head
	AuditQuery = audit.Query
	AuditMark  = audit.Mark

	// Page is one page of a list; Next is empty at its end.
	Page[T any] = answer.Page[T]

	Scope     = access.Scope
	Principal = access.Principal
	TokenInfo = access.TokenInfo
	NewToken  = access.NewToken
	TokenWish = access.TokenWish
	CodeInfo  = access.CodeInfo

	Object       = book.Object
	Applied      = book.Applied
	ApplyResult  = book.ApplyResult
	PolicyResult = book.PolicyResult
	Group        = book.Group
	Hold         = book.Hold
	FreezeResult = book.FreezeResult
	Rings        = book.Rings
	RingsRelease = book.RingsRelease
	RingCounts   = book.RingCounts
	RingView     = book.RingView
	RingResult   = book.RingResult
	Pause        = book.Pause

	PatchingQuestion = evidence.Question
	PatchingScope    = evidence.Scope
	LateMac          = evidence.LateMac
	Pace             = evidence.Pace

	// UpdateCommand is an update command to be queued.
	UpdateCommand = command.Queue

	Source        = catalogue.Source
	Fetch         = catalogue.Fetch
	Validators    = catalogue.Validators
	UnusableFeed  = catalogue.UnusableFeed
	Release       = catalogue.Release
	RefreshResult = catalogue.RefreshResult
)

// The scopes; admin includes the others, operator includes read.
const (
	ScopeAdmin    = access.ScopeAdmin
	ScopeRead     = access.ScopeRead
	ScopeOperator = access.ScopeOperator
	ScopeMetrics  = access.ScopeMetrics
	ScopeMDM      = access.ScopeMDM
	ScopeBackup   = access.ScopeBackup
)

// The ways by which a change comes.
const (
	ViaAPI  = answer.ViaAPI
	ViaPage = answer.ViaPage
)

// CodeUses is how many Macs a code enrols whose request does not say.
const CodeUses = access.CodeUses

// Scopes are all scopes.
var Scopes = access.Scopes

// HideLinks takes the links of Macs' own pages out of a text, for those who may only read.
func HideLinks(text []byte) []byte { return access.HideLinks(text) }
