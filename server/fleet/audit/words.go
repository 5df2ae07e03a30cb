package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/google/uuid"

	"plimsoll/status/compliance"
)

// verbs are the actions in words; the object follows.
var verbs = map[string]string{
	"put": "saved", "create": "created", "delete": "deleted", "open": "opened a ring of", "halt": "halted a release in",
	"resume": "resumed a release in", "sync": "asked for a sync of", "delay": "delayed the deadline of",
	"upgrade": "asked for an upgrade of", "check": "began a check of", "refresh": "refreshed", "restore": "restored",
	"enqueue": "queued a command for", "rotate": "rotated", "end": "ended", "refuse": "was refused",
}

// Sentence tells an entry in words, such as "token:ci saved the policy engineering".
func (e *Entry) Sentence() string {
	kind, verb, _ := strings.Cut(e.Action, ".")
	word, known := verbs[verb]
	if !known {
		word = verb
	}
	about, name, named := strings.Cut(e.Object, "/")
	about = strings.ReplaceAll(about, "_", " ")
	text := e.Actor + " " + word + " the " + about
	switch {
	case kind == "session":
		return e.Actor + map[string]string{"create": " signed in", "delete": " signed out", "refuse": ": a sign-in was refused"}[verb]
	case kind != about && about == "device":
		text = e.Actor + " " + word + " the " + kind + " of the device"
		if kind == "command" || strings.HasPrefix(word, "asked") || strings.HasPrefix(word, "delayed") {
			text = e.Actor + " " + word + " the device"
		}
	}
	if named {
		text += " " + name
	}
	if e.Failed != 0 {
		text += "; it failed"
	}
	return text
}

// Device is the id of the Mac that an entry is about; empty when it is about none.
func (e *Entry) Device() string {
	id, is := strings.CutPrefix(e.Object, "device/")
	if !is {
		return ""
	}
	return id
}

// Event is the event of the timelines that tells of an entry; nil for a sign-in, and for what the user of a Mac did.
func (e *Entry) Event() *compliance.Event {
	if strings.HasPrefix(e.Action, "session.") || strings.HasPrefix(e.Actor, "mac:") {
		return nil
	}
	return &compliance.Event{
		ID: e.eventID(), At: e.At, Type: compliance.EventAdminAction, Device: e.Device(), Text: e.Sentence() + ".",
		Data: map[string]any{"n": e.N, "actor": e.Actor, "action": e.Action, "object": e.Object, "reason": e.Reason},
	}
}

// eventID is the id of the event of an entry: a UUID of version 7, always the same.
func (e *Entry) eventID() string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], uint64(e.At.UnixMilli())<<16)
	sum := sha256.Sum256([]byte("event after " + e.Previous))
	copy(id[6:], sum[:10])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id.String()
}
