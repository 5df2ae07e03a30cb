package storage

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"plimsoll/declarations/release"
)

// Shards is the number of partitions over which the index is spread.
const Shards = 64

// FleetShard is the shard in which the events stand that concern no Mac.
const FleetShard = 0

// Partitions that exist once.
const (
	BookPartition    = "book"
	AuthPartition    = "auth"
	SecretsPartition = "secrets"
	ScepPartition    = "scep"
	HistoryPartition = "history"
	StartsPartition  = "starts"
	FormatPartition  = "format"
	AuditPartition   = "audit"
	// FleetPartition holds the events that concern no Mac (API 5).
	FleetPartition = "fleet"
	// ReplicasPartition tells which replicas run, and which format they write.
	ReplicasPartition = "replicas"
	// PatchingPartition holds the counts of closed days, and the courses of deleted Macs (API 5.6).
	PatchingPartition = "patching"
)

// What a backup knows of a Mac's certificates (storage/nano): whose one is stands in a partition of its own, and the Mac's says
// which it has.
const (
	KeyCertificates = "n/cert" // in a Mac's partition
	KeyCertOwner    = "id"     // in the partition of a certificate
	KeyCertRevoked  = "revoked"
)

// CertPartition is the partition of the certificate with that hash.
func CertPartition(hash string) string { return "cert/" + hash }

// DeviceID is the enrollment id of the device channel: of a user channel ("DEVICE:USER") the part before the colon.
func DeviceID(id string) string {
	device, _, _ := strings.Cut(id, ":")
	return device
}

// MacPartition is the partition of one Mac and its user channels.
func MacPartition(id string) string { return "mac/" + DeviceID(id) }

// ShardOf is the shard in which a Mac is indexed.
func ShardOf(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % Shards)
}

// ShardPartition is the partition of shard n.
func ShardPartition(n int) string { return fmt.Sprintf("shard/%02d", n) }

// LeasePartition is the partition of one lease.
func LeasePartition(name string) string { return "lease/" + name }

// Keys of a Mac's partition.
const (
	keyRecord   = "x"
	keyStatus   = "s"
	keyManifest = "m"
	keyPatching = "p"
	keyIdentity = "i"
	keyFailure  = "cf"
	keyCommands = "uc"
	// keyExceptions holds why an admin made an exception for the Mac, and who.
	keyExceptions = "ex"

	prefixManifests = "mh/"
	prefixBodies    = "b/"
	prefixReports   = "r/"
	prefixEvents    = "e/"
)

func manifestKey(at time.Time) string   { return fmt.Sprintf("%s%020d", prefixManifests, at.UnixNano()) }
func bodyKey(serverToken string) string { return prefixBodies + serverToken }
func reportKey(number int) string       { return fmt.Sprintf("%s%010d", prefixReports, number) }
func eventKey(id string) string         { return prefixEvents + id }

// Keys of the book.
const (
	keyCatalog    = "catalog"
	keyPause      = "pause"
	keyFetch      = "fetch"
	keyExploited  = "exploited"
	prefixPolicy  = "policy/"
	prefixGroup   = "group/"
	prefixHold    = "hold/"
	prefixManaged = "managed/"
	prefixFreeze  = "freeze/"
	prefixOpening = "opening/"
	prefixHalt    = "halt/"
	prefixCatalog = "catalogs/"

	prefixBookEvents = "event/"
)

func policyKey(name string) string    { return prefixPolicy + name }
func groupKey(name string) string     { return prefixGroup + name }
func managedKey(object string) string { return prefixManaged + object }
func holdKey(subject string) string   { return prefixHold + subject }
func freezeKey(name string) string    { return prefixFreeze + name }
func catalogKey(at time.Time) string  { return fmt.Sprintf("%s%020d", prefixCatalog, at.UnixNano()) }

// bookEventKey is the key of the i-th event of the change of the book with that revision: ordered as the changes are.
func bookEventKey(revision uint64, i int) string {
	return fmt.Sprintf("%s%016x-%04x", prefixBookEvents, revision, i)
}

func openingKey(policy, build, ring string) string {
	return prefixOpening + policy + "/" + build + "/" + ring
}
func haltKey(policy, build string) string { return prefixHalt + policy + "/" + build }

// Keys of a shard.
const (
	keyCounter   = "n"
	prefixMember = "m/"
	prefixChange = "c/"

	keyFleetEvents = "f" // in FleetShard
)

// Keys of the fleet's partition, which has keyCounter and fleetEventKey as a shard has.
const (
	keyFromBook = "book"
	keyTold     = "audit"
)

// prefixAsked begins the keys of the fleet's partition that tell when Macs were asked for a version before they enrolled.
const prefixAsked = "asked/"

func memberKey(id string) string    { return prefixMember + id }
func changeKey(n uint64) string     { return fmt.Sprintf("%s%016x", prefixChange, n) }
func fleetEventKey(n uint64) string { return fmt.Sprintf("%s%016x", prefixEvents, n) }

// Keys of the auth, scep and history partitions.
const (
	prefixToken     = "token/"
	prefixCode      = "code/"
	prefixChallenge = "challenge/"
	prefixDay       = "day/"
)

// Keys of the secrets.
const (
	keyLegacyCA = "device-ca"
	prefixCA    = "ca/"
)

func caKey(fingerprint string) string { return prefixCA + fingerprint }

func tokenKey(name string) string     { return prefixToken + name }
func codeKey(code string) string      { return prefixCode + code }
func challengeKey(hash string) string { return prefixChallenge + hash }

// Keys of the patching partition.
const (
	keyPatchingState = "state"
	prefixClosed     = "day/"
	prefixCounts     = "counts/"
	prefixLeft       = "left/"
)

func closedKey(d release.Day) string { return prefixClosed + d.String() }
func leftKey(number string) string   { return prefixLeft + number }
func countsKey(scope string, d release.Day) string {
	return prefixCounts + scope + "/" + d.String()
}

// Keys of the replicas partition.
const prefixReplica = "r/"

func replicaKey(id string) string { return prefixReplica + id }

func dayKey(date string) string { return prefixDay + date }
