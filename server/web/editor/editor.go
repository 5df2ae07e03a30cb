package editor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// Choices are the tracks that a policy may have, and the versions that Apple offers.
func Choices(all []fleet.Release, track string) (tracks []view.Option, offered []string) {
	tracks = view.Options(track, "", "its own, or that of the version", policy.TrackCurrent, "always its own", policy.TrackLatest,
		"the latest that it can run")
	var majors []int
	var versions []release.Version
	for i := range all {
		r := &all[i]
		if r.Kind != string(release.KindOS) || !r.Available {
			continue
		}
		v := release.Version(r.Version)
		if !slices.Contains(majors, v.Major()) {
			majors = append(majors, v.Major())
		}
		if !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	slices.SortFunc(majors, func(a, b int) int { return b - a })
	slices.SortFunc(versions, func(a, b release.Version) int { return b.Compare(a) })
	known := false
	for _, m := range majors {
		s := strconv.Itoa(m)
		known = known || s == track
		tracks = append(tracks, view.Option{Value: s, Label: "macOS " + s, Selected: s == track})
	}
	if !known && track != "" && track != policy.TrackCurrent && track != policy.TrackLatest {
		tracks = append(tracks, view.Option{Value: track, Label: "macOS " + track, Selected: true})
	}
	words := make([]string, len(versions))
	for i, v := range versions {
		words[i] = string(v)
	}
	return tracks, words
}

// Fingerprint stands for a policy.
func Fingerprint(p *policy.Policy) (string, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode the policy %s: %w", p.Name, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Place puts faults at the fields of the form; those of list entries and of settings at their list. Those in general belong to no
// field.
func Place(list []policy.FieldError) (at map[string][]string, general []string) {
	at = map[string][]string{}
	for _, f := range list {
		name, reason := f.Field, view.Sentence(f.Reason)
		switch {
		case slices.Contains(Fields, name):
		case strings.HasPrefix(name, "assign.groups"):
			name = "assign.groups"
		case strings.HasPrefix(name, "assign.exclude_groups"):
			name = "assign.exclude_groups"
		case strings.HasPrefix(name, "updates.versions"):
			name = "updates.version"
		case strings.HasPrefix(name, "settings"):
			if path := strings.TrimPrefix(strings.TrimPrefix(name, "settings"), "."); path != "" {
				reason = path + ": " + f.Reason
			}
			name = "settings"
		case strings.HasPrefix(name, "updates.days"):
			name = "updates.days"
		case strings.HasPrefix(name, "background_security.days"):
			name = "background_security.days"
		case strings.HasPrefix(name, "rings["):
			name = ringPlace(name)
		case name == "gate":
			name = "gate.min_macs"
		case name == "os":
			name, reason = "os.track", "os "+f.Reason
		default:
			general = append(general, name+": "+f.Reason)
			continue
		}
		at[name] = append(at[name], reason)
	}
	return at, general
}

// ringPlace is the field of a ring's row at which a fault is shown.
func ringPlace(name string) string {
	row, field, _ := strings.Cut(name, "].")
	row = strings.TrimSuffix(row, "]") + "]."
	field, _, _ = strings.Cut(field, "[")
	if field == "" { // it names no Macs
		field = "groups"
	}
	return row + field
}
