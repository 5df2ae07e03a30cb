package nano

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"plimsoll/storage"
)

// The keys, by partition. Times are UTC; JSON unless stated.
//
// mac/<device id>, for example mac/66ADE930-5FDF-5EC4-8429-15640684C489 (only what begins with n/ is ours):
//
//	n/b                              the escrowed bootstrap token, as it came
//	n/cert                           certificate association: {"hash":"9f86d0…0a08","old":["60303a…6752"]}
//	n/e                              the device's enrolment:
//
// {"type":"Device","enabled":true,"tally":2,"serial":"C02ABC","topic":"com.apple.mgmt.External.…","magic":"…","token":"…base64…",…}
//
//	n/e:<user>                       a user channel's enrolment, for example n/e:3C0B6E0A-…: {"type":"User","enabled":true,…}
//	n/k                              the unlock token, as it came
//	n/q/-                            the queue's directory:
//
// [{"n":7,"uuid":"76eda240-…","type":"DeviceInformation","at":"2026-11-02T09:00:00Z"}]
//
//	n/q/<number>                     a queued command, raw plist, for example n/q/000000000007
//	n/q:<user>/-, n/q:<user>/<number>  the same for a user channel
//	n/r/<ms><:user>/<command uuid>   an answered command, for example n/r/1793610000000/76eda240-…: a line of JSON
//
// {"uuid":"76eda240-…","type":"DeviceInformation","status":"Acknowledged","queued":"…","at":"…"}, then the raw plist of the
// answer
//
// In <user>, % and / are written %25 and %2F. What lives with the enrolment sorts before n/r/, so that one listing has it.
//
// cert/<SHA-256 of what the CA signed of the certificate, hex>, for example cert/9f86d0…0a08:
//
//	id                               the device id that the certificate belongs to, plain text
//	revoked                          when it was revoked: the device was deleted, or has replaced it often since; plain text:
//
// 2026-11-02T09:00:00Z
//
// push:
//
//	cert/<topic>                     push certificate: {"cert":"-----BEGIN CERTIFICATE-----…","key":"-----BEGIN
//
// …","not_after":"…","at":"…"}
//
//	stale/<topic>                    a number that grows whenever the certificate is stored, plain text: 1
const (
	keyPrefix    = "n/"
	keyBootstrap = "n/b"
	keyCert      = storage.KeyCertificates
	keyEnrolment = "n/e"
	keyUnlock    = "n/k"
	keyQueues    = "n/q"
	keyResults   = "n/r/"

	keyCertOwner   = storage.KeyCertOwner
	keyCertRevoked = storage.KeyCertRevoked

	pushPartition = "push"
	keyPushCert   = "cert/"
	keyPushStale  = "stale/"
)

var escapeUser = strings.NewReplacer("%", "%25", "/", "%2F")

// suffix tells channels apart in keys: "" for the device, ":<user>" for a user.
func (c channel) suffix() string {
	if !c.isUser {
		return ""
	}
	return ":" + escapeUser.Replace(c.user)
}

func (c channel) partition() string { return storage.MacPartition(c.device) }

func (c channel) enrolmentKey() string { return keyEnrolment + c.suffix() }

// queuePrefix begins the directory's key and those of the commands; the directory sorts first.
func (c channel) queuePrefix() string { return keyQueues + c.suffix() + "/" }

func (c channel) directoryKey() string { return c.queuePrefix() + "-" }

func (c channel) commandKey(number uint64) string {
	return fmt.Sprintf("%s%012d", c.queuePrefix(), number)
}

func (c channel) resultKey(at time.Time, uuid string) string {
	return resultsAt(at) + c.suffix() + "/" + uuid
}

// resultsAt sorts before every result of that time and after every earlier one.
func resultsAt(at time.Time) string {
	return fmt.Sprintf("%s%013d", keyResults, max(at.UnixMilli(), 0))
}

// ofChannel tells whether a result's key is one of c.
func (c channel) ofChannel(resultKey string) bool {
	rest := strings.TrimPrefix(resultKey, keyResults)
	return strings.HasPrefix(strings.TrimLeft(rest, "0123456789"), c.suffix()+"/")
}

func pushCertKey(topic string) string { return keyPushCert + topic }

func pushStaleKey(topic string) string { return keyPushStale + topic }

func formatNumber(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
