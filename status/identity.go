package status

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"
)

// Identity is the certificate that a Mac enrolled with.
type Identity struct {
	Fingerprint string    `json:"fingerprint"` // SHA-256 of what the CA signed, hex
	IssuedAt    time.Time `json:"issued_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	ChangedAt   time.Time `json:"changed_at,omitzero"` // when it took the place of another one; zero: it is the first
	CA          string    `json:"-"`                   // short for the CA that issued it; Facts keep it
}

// TopicID is short for a push topic: the record of a Mac has no room for 60 bytes that nearly all Macs share.
func TopicID(topic string) string {
	if topic == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(topic))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:3] // 18 bits: a fleet has a handful of topics
}

// ChainError is one link of the ErrorChain in a Mac's answer to a command, in Apple's words.
type ChainError struct {
	Code        int    `json:"code"`
	Domain      string `json:"domain"`
	Description string `json:"description"`
}

// CommandFailure is the last command that a Mac answered with an error, until it takes one of that kind.
type CommandFailure struct {
	UUID        string       `json:"uuid"`
	RequestType string       `json:"request_type"`
	At          time.Time    `json:"at"`
	Status      string       `json:"status"`
	Errors      []ChainError `json:"errors"`
}

// Text is the first link that says anything, for a sentence.
func (f *CommandFailure) Text() string {
	for _, e := range f.Errors {
		if e.Description != "" {
			return e.Description
		}
	}
	return ""
}

// notMacs are the beginnings of the model identifiers of what is no Mac, with the family.
var notMacs = []struct{ prefix, family string }{
	{
		"iPad",
		"iPad",
	},
	{"iPhone", "iPhone"},
	{"iPod", "iPod"},
	{"AppleTV", "Apple TV"},
	{"RealityDevice", "Apple Vision"},
	{"Watch", "Apple Watch"},
	{"AudioAccessory", "HomePod"},
}

// notMacSystems are the operating systems of what is no Mac.
var notMacSystems = map[string]string{
	"ipados": "iPad", "ios": "iPhone", "tvos": "Apple TV", "visionos": "Apple Vision", "xros": "Apple Vision", "watchos": "Apple Watch",
}

// macs are the beginnings of the model identifiers of Macs.
var macs = []string{"Mac", "iMac", "VirtualMac"}

// takeFamily notes what the device is: its operating system tells, else its model. What neither tells stays.
func (f *Facts) takeFamily(system string) {
	if system = strings.ToLower(system); system == "macos" {
		f.Family = ""
		return
	}
	if family, ok := notMacSystems[system]; ok {
		f.Family = family
		return
	}
	for _, m := range notMacs {
		if strings.HasPrefix(f.Model, m.prefix) {
			f.Family = m.family
			return
		}
	}
	for _, prefix := range macs {
		if strings.HasPrefix(f.Model, prefix) {
			f.Family = ""
		}
	}
}

// TakeModel notes what the device is by its model alone.
func (f *Facts) TakeModel() { f.takeFamily("") }

// IsMac tells whether the device is a Mac, as far as is known.
func (f *Facts) IsMac() bool { return f.Family == "" }

// Disown takes the serial number and the UDID out of a report that claims others than the Mac enrolled with, and notes them as
// odd: groups and policies are assigned by them, and whatever runs on the Mac writes its reports. It tells whether there were
// any.
func (r *Report) Disown(f Facts) (contradicts bool) {
	for item, own := range map[string]string{itemSerial: f.Serial, itemUDID: f.UDID} {
		told := usable(text(r.Items[item]))
		if own == "" || told == "" || strings.EqualFold(told, own) {
			continue
		}
		contradicts = true
		delete(r.Items, item)
		note(&r.Odd, &r.OddCount, item+": contradicts the enrolment: "+clip(told, 40))
	}
	return contradicts
}

// Identifies tells whether the report names the serial number or the UDID of the Mac.
func (r *Report) Identifies() bool {
	return usable(text(r.Items[itemSerial])) != "" || usable(text(r.Items[itemUDID])) != ""
}

// lettered splits a version that carries the letter of a Background Security Improvement: "26.3.1 (a)".
func lettered(told string) (version, letter string) {
	version, rest, ok := strings.Cut(told, " (")
	if !ok || !strings.HasSuffix(rest, ")") {
		return told, ""
	}
	return version, strings.TrimSuffix(rest, ")")
}
