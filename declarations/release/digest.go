package release

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// digestOf is SHA-256 in hex over the releases. Each release is the sequence kind, version, build, letter,
// prerequisite build, then its devices in ascending order; a sequence is its length followed by its strings,
// each one its length in bytes followed by its bytes; lengths are eight bytes, big-endian. The sequences are
// sorted as bytes, so the order of releases and devices does not matter. No date takes part, and nothing
// that we added (available, exploited, first seen): it is a digest of what Apple says.
func digestOf(releases []Release) string {
	records := make([]string, len(releases))
	for i, r := range releases {
		devices := r.Devices
		if !slices.IsSorted(devices) {
			devices = slices.Sorted(slices.Values(devices))
		}
		records[i] = record(append([]string{string(r.Kind), string(r.Version), r.Build, r.Letter, r.PrerequisiteBuild}, devices...))
	}
	slices.Sort(records)
	h := sha256.New()
	for _, r := range records {
		h.Write([]byte(r))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func record(parts []string) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(parts)))
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return string(b)
}
