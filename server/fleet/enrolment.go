package fleet

import (
	"context"
	"fmt"

	"plimsoll/declarations/enrolment"
	"plimsoll/declarations/release"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// CheckEnrolment decides whether a Mac that wants to enrol gets its profile: it returns the version that the Mac is to install
// first, or "" (rules 15). Of an unverified one nothing is asked. Each decision is one event, and nothing else is taken from what
// the Mac says.
func (f *Fleet) CheckEnrolment(ctx context.Context, m MachineInfo, verified bool) (version string, err error) {
	now := f.now()
	ask, why := (*release.Release)(nil), enrolment.Unverified
	if verified {
		ask, why = enrolment.Decide(f.Current().Book, &m, now)
	}
	id := storage.NewEventID()
	err = f.store.CheckEnrolment(ctx, m.Serial, func(before enrolment.Asks) (enrolment.Asks, compliance.Event) {
		after, asked, because := before, ask, why
		if ask != nil {
			ok := true
			if after, ok = before.Ask(m.Build, now); !ok {
				asked, because = nil, enrolment.Loop
			}
		}
		e := compliance.Event{
			ID: id, At: now, Type: compliance.EventEnrolment,
			Text: fmt.Sprintf("The Mac with the serial number %s may enrol with macOS %s.", m.Serial, known(m.Version, m.Build)),
			Data: map[string]any{"serial": m.Serial, "version": m.Version, "build": m.Build, "asked": nil, "why": because},
		}
		if version = ""; asked != nil {
			version = string(asked.Version)
			e.Data["asked"] = version
			e.Text = fmt.Sprintf("The Mac with the serial number %s was asked to install macOS %s before it enrols.", m.Serial, version)
		}
		return after, e
	})
	if err != nil {
		return "", fmt.Errorf("check an enrolment: %w", err)
	}
	if err := f.PublishEvents(ctx); err != nil {
		f.log.Warn("an event could not be brought to the timeline; it is brought there within a minute", "error", err)
	}
	return version, nil
}

// known is a version, or the build when the Mac does not tell the version.
func known(version, build string) string {
	if version != "" {
		return version
	}
	return "build " + build
}
