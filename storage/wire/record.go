package wire

import (
	"bytes"
	"encoding/json"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/status/compliance"
)

// Record is storage.Record as it stands in the database: JSON with short keys. Times are numbers that storage makes.
type Record struct {
	ID        string          `json:"i"`
	UDID      string          `json:"u,omitempty"` // left out when equal to the id
	Serial    string          `json:"s,omitempty"`
	Name      string          `json:"n,omitempty"`
	Model     string          `json:"m,omitempty"`
	ModelName string          `json:"M,omitempty"`
	Board     string          `json:"b,omitempty"`
	BoardFrom string          `json:"bf,omitempty"`
	Version   release.Version `json:"v,omitempty"`
	Build     string          `json:"B,omitempty"`
	SupBuild  string          `json:"sb,omitempty"`
	Letter    string          `json:"l,omitempty"`
	// 1 capabilities known, 2 enforcement, 4 settings, 8 bootstrap token, 16 enrolled, 32 no UDID, 64 and 128 Apple silicon no and
	// yes, 256 and 512 supervised no and yes, 1024 contradicted, 65536 bootstrap token unknown, 131072 conflict
	Bits     int           `json:"c,omitempty"`
	Items    uint32        `json:"ci,omitempty"`
	Enrolled int64         `json:"e,omitempty"`
	Contact  int64         `json:"lc,omitempty"`
	Reported int64         `json:"lr,omitempty"`
	Life     int           `json:"L,omitempty"`
	Lanes    []Lane        `json:"p,omitempty"`
	Back     int64         `json:"ba,omitempty"`
	Delayed  *plan.Delayed `json:"de,omitempty"`
	Wish     *plan.Wish    `json:"wi,omitempty"`
	// An exemption: its end and beginning; an update now: its moment, lane and release, "=" when build or version are the
	// summary's.
	ExUntil   int64     `json:"xu,omitempty"`
	ExSince   int64     `json:"xs,omitempty"`
	NowAt     int64     `json:"ua,omitempty"`
	NowLane   plan.Lane `json:"ul,omitempty"`
	NowBuild  string    `json:"ub,omitempty"`
	NowVer    string    `json:"uv,omitempty"`
	Gen       uint64    `json:"g,omitempty"`
	Raised    int64     `json:"ga,omitempty"`
	Adv       string    `json:"a,omitempty"`
	AdvAt     int64     `json:"at,omitempty"`
	Book      uint64    `json:"ab,omitempty"`
	Man       string    `json:"k,omitempty"` // "=" when equal to the advertised token
	ManAt     int64     `json:"ka,omitempty"`
	Told      string    `json:"t,omitempty"` // likewise
	ToldAt    int64     `json:"ta,omitempty"`
	Tries     int       `json:"tt,omitempty"`
	Push      string    `json:"pu,omitempty"`
	Reports   int       `json:"r,omitempty"`
	Events    int       `json:"ev,omitempty"`
	Sum       Summary   `json:"S,omitzero"`
	Next      int64     `json:"x,omitempty"`
	Looked    int64     `json:"la,omitempty"`
	Noted     int64     `json:"na,omitempty"`
	Family    string    `json:"fa,omitempty"`
	IDEnds    int64     `json:"ie,omitempty"`
	IDChanged int64     `json:"ic,omitempty"`
	RefusedAt int64     `json:"ra,omitempty"`
	Refused   string    `json:"rf,omitempty"`
	CA        string    `json:"ca,omitempty"`
	Topic     string    `json:"T,omitempty"`
	Revision  int64     `json:"q,omitempty"`
}

// Lane is the state of one lane of a Record.
type Lane struct {
	Lane    plan.Lane `json:"l,omitempty"`
	Since   int64     `json:"s,omitempty"`
	Target  string    `json:"t,omitempty"`
	Promise int64     `json:"p,omitempty"`
	Served  int64     `json:"v,omitempty"`
	Bits    int       `json:"b,omitempty"` // 1 renewed, 2 returned
	Told    string    `json:"o,omitempty"` // left out when equal to the target, "-" when there is none beside a target
}

// Summary is the summary of a Record.
type Summary struct {
	State    int              `json:"s,omitempty"` // index into compliance.States, plus one
	Phase    compliance.Phase `json:"p,omitempty"`
	PhaseAt  int64            `json:"pa,omitempty"`
	StateAt  int64            `json:"sa,omitempty"`
	Flags    compliance.Flags `json:"f,omitempty"`
	Policy   string           `json:"g,omitempty"`
	Kind     release.Kind     `json:"k,omitempty"`
	Version  release.Version  `json:"v,omitempty"`
	Build    string           `json:"b,omitempty"`
	Due      int64            `json:"d,omitempty"`
	Deadline int64            `json:"l,omitempty"`
	Overdue  int64            `json:"o,omitempty"`
	Past     int64            `json:"t,omitempty"`
	TargetAt int64            `json:"ta,omitempty"`
	ServedAt int64            `json:"va,omitempty"`
	Letter   string           `json:"e,omitempty"`
	Fails    int              `json:"n,omitempty"`
	Gone     string           `json:"w,omitempty"`
	Codes    []string         `json:"c,omitempty"`
}

// Encode writes what json.Marshal does.
func (r *Record) Encode() ([]byte, error) {
	room := rooms.Get().(*[]byte)
	w := object{b: (*room)[:0]}
	w.open()
	r.fields(&w)
	w.close()
	b := bytes.Clone(w.b) // no longer than it must be: every Mac's is kept in memory
	*room = w.b
	rooms.Put(room)
	return b, w.err
}

// Decode reads what json.Unmarshal does.
func Decode(b []byte) (Record, error) {
	var r Record
	w := object{b: b, reads: true}
	w.open()
	r.fields(&w)
	w.close()
	if w.whole() {
		return r, nil
	}
	odd := new(Record) // it is damaged, or something rare stands in it
	err := json.Unmarshal(b, odd)
	return *odd, err
}

// The values that most records have.
var (
	usualBoards = []string{status.BoardFromReport, status.BoardFromTable, status.BoardFromQuery}
	usualKinds  = []string{string(release.KindOS), string(release.KindBSI)}
	usualPhases = []string{
		string(compliance.Served), string(compliance.Active), string(compliance.Downloading), string(compliance.Prepared),
		string(compliance.Planned),
	}
)

// fields are the members in the order of the struct, which is that of encoding/json.
func (r *Record) fields(w *object) {
	w.text("i", &r.ID)
	w.str("u", &r.UDID)
	w.str("s", &r.Serial)
	w.str("n", &r.Name)
	w.str("m", &r.Model)
	w.str("M", &r.ModelName)
	w.str("b", &r.Board)
	w.str("bf", &r.BoardFrom, usualBoards...)
	w.str("v", (*string)(&r.Version))
	w.str("B", &r.Build)
	w.str("sb", &r.SupBuild)
	w.str("l", &r.Letter)
	integer(w, "c", &r.Bits)
	integer(w, "ci", &r.Items)
	integer(w, "e", &r.Enrolled)
	integer(w, "lc", &r.Contact)
	integer(w, "lr", &r.Reported)
	integer(w, "L", &r.Life)
	list(w, "p", &r.Lanes, func(l *Lane) { l.fields(w) })
	integer(w, "ba", &r.Back)
	if r.Delayed != nil && w.member("de") {
		w.marshal(r.Delayed)
	}
	if r.Wish != nil && w.member("wi") {
		w.marshal(r.Wish)
	}
	integer(w, "xu", &r.ExUntil)
	integer(w, "xs", &r.ExSince)
	integer(w, "ua", &r.NowAt)
	integer(w, "ul", &r.NowLane)
	w.str("ub", &r.NowBuild)
	w.str("uv", &r.NowVer)
	integer(w, "g", &r.Gen)
	integer(w, "ga", &r.Raised)
	w.str("a", &r.Adv)
	integer(w, "at", &r.AdvAt)
	integer(w, "ab", &r.Book)
	w.str("k", &r.Man)
	integer(w, "ka", &r.ManAt)
	w.str("t", &r.Told)
	integer(w, "ta", &r.ToldAt)
	integer(w, "tt", &r.Tries)
	w.str("pu", &r.Push)
	integer(w, "r", &r.Reports)
	integer(w, "ev", &r.Events)
	r.Sum.fields(w)
	integer(w, "x", &r.Next)
	integer(w, "la", &r.Looked)
	integer(w, "na", &r.Noted)
	w.str("fa", &r.Family)
	integer(w, "ie", &r.IDEnds)
	integer(w, "ic", &r.IDChanged)
	integer(w, "ra", &r.RefusedAt)
	w.str("rf", &r.Refused)
	w.str("ca", &r.CA)
	w.str("T", &r.Topic)
	integer(w, "q", &r.Revision)
}

func (l *Lane) fields(w *object) {
	w.open()
	integer(w, "l", &l.Lane)
	integer(w, "s", &l.Since)
	w.str("t", &l.Target)
	integer(w, "p", &l.Promise)
	integer(w, "v", &l.Served)
	integer(w, "b", &l.Bits)
	w.str("o", &l.Told)
	w.close()
}

// fields are the summary as the member S, which is left out when nothing is in it.
func (s *Summary) fields(w *object) {
	before, begun := len(w.b), w.begun
	if !w.member("S") {
		return
	}
	w.open()
	integer(w, "s", &s.State)
	w.str("p", (*string)(&s.Phase), usualPhases...)
	integer(w, "pa", &s.PhaseAt)
	integer(w, "sa", &s.StateAt)
	integer(w, "f", &s.Flags)
	w.str("g", &s.Policy)
	w.str("k", (*string)(&s.Kind), usualKinds...)
	w.str("v", (*string)(&s.Version))
	w.str("b", &s.Build)
	integer(w, "d", &s.Due)
	integer(w, "l", &s.Deadline)
	integer(w, "o", &s.Overdue)
	integer(w, "t", &s.Past)
	integer(w, "ta", &s.TargetAt)
	integer(w, "va", &s.ServedAt)
	w.str("e", &s.Letter)
	integer(w, "n", &s.Fails)
	w.str("w", &s.Gone)
	list(w, "c", &s.Codes, func(code *string) { w.quoted(code) })
	if !w.reads && !w.begun && s.Codes == nil {
		w.b, w.begun = w.b[:before], begun
		return
	}
	w.close()
}
