package storage

/*
What stands in the database

A partition is the unit of atomicity: one key range in bbolt (with a log before it: storage/bolt/wal), one hash with its sorted
set of keys in Redis. Every partition has a revision.
All values are JSON unless said otherwise; values over 600 bytes are compressed.

	book                         what admins and Apple said; its revision is the book's
	  policy/engineering           policy.Stored
	  group/eng                    policy.Group
	  hold/26.6.2                  release.Hold
	  freeze/year-end              policy.Freeze
	  opening/ringed/25G90/early   policy.Opening: the release is open for that ring of the policy
	  halt/ringed/25G90            policy.Halt, while the gate of the policy halts the release
	  managed/policy/engineering   nothing: an apply of files wrote that object
	  pause                        release.Pause, while enforcement is paused
	  catalog                      release.Catalog in force; none: the built-in snapshot
	  catalogs/01792...            release.Catalog accepted at that time (nanoseconds since 1970, 20 digits)
	  fetch                        FetchState
	  event/000000000000002a-0000  compliance.Event of the change after that revision, until fleet has it
	  audit/01927f0c-...           audit.Entry of a change of the book, without number, until some time after it stands in the chain
	mac/564D4F2B-...             one Mac, its user channels included
	  x                            Record: all that planning, lists and counts need (at most 600 bytes)
	  s                            status.Merged: the merged status items
	  i                            status.Identity: the certificate that the Mac enrolled with
	  cf                           status.CommandFailure: the last command that it refused
	  uc                           command.State: course of update commands below macOS 14, and questions (rules 14)
	  m                            declarations.Manifest that was served last
	  ex                           reasons and makers of an exemption and of an update now, while there is one (rules 12)
	  bl, bq                       dates of the life and commands of ours, when another server is the Mac's MDM: storage/beside
	  p                            patching.History: the course of versions, for patch reports
	  mh/01792...                  every manifest with its time; without a token: a new life began, nothing was held
	  b/4QmC...                    the declaration served under that ServerToken, as it was served
	  r/0000000017                 KeptReport under its number
	  e/01927f0c-...               compliance.Event under its id (UUID version 7, ordered by time)
	  n/...                        NanoMDM's records and the command queue: storage/nano/keys.go
	cert/9f86d0...               association of a device certificate (SHA-256 of its DER): storage/nano/keys.go
	push                         APNs certificates by topic: storage/nano/keys.go
	shard/07                     one of 64 index shards
	  n                            the counter, decimal
	  m/564D4F2B-...               number of the Mac's last change, and how many of its events are in e/, decimal
	  c/00000000000001a4           enrollment id of the Mac that changed, under that number
	  e/00000000000001a5           compliance.Event of the fleet's timeline
	  f                            in shard/00: the number of the last of fleet's events that is in e/, decimal
	fleet                        events that concern no Mac
	  n                            how many there ever were, decimal
	  e/0000000000000007           compliance.Event
	  book                         the key of the last one that came from the book
	  audit                        number of the last entry of the audit that stands in the timelines, decimal
	  asked/C02XYZ                 enrolment.Asks of the Mac with that serial number (rules 15)
	auth                         who may do what
	  token/ci                     Token (only the hash of its secret)
	  code/7GQ2...                 Code
	  audit/01927f0c-...           as in the book
	audit                        who changed what: one chain
	  head                         AuditHead
	  n/00000000000001a4           audit.Entry under its number, as canonical JSON
	  o/9f86d081884c7d65/00...1a4  nothing: the entry with that number is about the object with that SHA-256 (its first 8 bytes)
	  k/01927f0c-...               number of the entry that was that note, decimal, until the note is gone
	scep                         SCEP challenges
	  challenge/9f86d0...          expiry and public key, under the SHA-256 of the challenge
	secrets                      generated secrets
	  ca/9f86d0...                 CA: certificate and key of a device CA, under the SHA-256 of the certificate
	  device-ca                    the same of the only CA, PEM; the next start writes it under its fingerprint
	  link                         key of the links to a Mac's own page, raw bytes
	history                      compliance by day
	  day/2026-11-22               the row of that UTC day
	patching                     patch reports: counted once, never changed
	  state                        PatchingState: from when on the courses are complete, the last closed day
	  day/2026-11-22               ClosedDay: for each scope, the day under which its counts stand
	  counts/policy:eng/2026-11-20  []ReleaseCount of a scope ("fleet", "policy:NAME", "group:NAME") as of that day
	  left/5f1c...                 patching.History of a deleted Mac, under a random number
	starts                       its revision tells that a replica started, and so that one may have died
	  n                            how many did, decimal
	replicas                     which replicas run on a store that several can share
	  r/QX5...                     Replica under its random id; one that stands still belongs to a replica that died
	format                       the store itself
	  format                       FormatRecord
	lease/sweep                  one lease
	  lease                        owner and counter
*/
