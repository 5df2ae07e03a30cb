package notify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet/inventory"
	"plimsoll/status"
)

func topicsOf(certs []Certificate, err error) *Source {
	return &Source{
		Certificates: func(context.Context) ([]Certificate, error) { return certs, err },
		TopicOf:      func(_ context.Context, id string) (string, error) { return "topic of " + id, nil },
	}
}

// Macs are counted by topic; what is wrong is said with their number, and what they must do.
func TestStateOf(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	valid, expired := Certificate{Topic: "A", ExpiresAt: now.Add(time.Hour)}, Certificate{Topic: "A", ExpiresAt: now}
	topics := func(pairs ...any) map[string]inventory.Topic {
		all := map[string]inventory.Topic{"": {Devices: 7, Example: "MAC"}}
		for i := 0; i < len(pairs); i += 2 {
			all[status.TopicID(pairs[i].(string))] = inventory.Topic{Devices: pairs[i+1].(int), Example: pairs[i].(string)}
		}
		return all
	}
	for name, tt := range map[string]struct {
		source          *Source
		topics          map[string]inventory.Topic
		problem, others string
		counted         int // with the first certificate's topic
	}{
		"nothing known":        {nil, topics("A", 1), "", "", 0},
		"none":                 {topicsOf(nil, nil), topics(), "no push certificate", "", 0},
		"in order":             {topicsOf([]Certificate{valid}, nil), topics("A", 2), "", "", 2},
		"expired":              {topicsOf([]Certificate{expired}, nil), topics("A", 2), "expired on 2026-11-29", "", 2},
		"one of another":       {topicsOf([]Certificate{valid}, nil), topics("A", 2, "B", 1), "", "1 Mac enrolled", 2},
		"many of others":       {topicsOf([]Certificate{valid}, nil), topics("B", 1, "C", 4), "", "5 Macs enrolled", 0},
		"an older certificate": {topicsOf([]Certificate{valid, {Topic: "B", ExpiresAt: now.Add(time.Hour)}}, nil), topics("B", 3), "", "", 0},
	} {
		s, err := StateOf(t.Context(), tt.source, tt.topics, now)
		if err != nil {
			t.Fatal(err)
		}
		if p := s.Problem(); tt.problem == "" && p != "" || !strings.Contains(p, tt.problem) || p != "" && !strings.Contains(p, "enrol again") {
			t.Errorf("%s: the problem is %q, want %q", name, p, tt.problem)
		}
		if p := s.OthersProblem(); tt.others == "" && p != "" || !strings.HasPrefix(p, tt.others) || p != "" && !strings.Contains(p, "enrol again") {
			t.Errorf("%s: of others it says %q, want %q", name, p, tt.others)
		}
		if len(s.Certificates) > 0 && s.Certificates[0].Devices != tt.counted {
			t.Errorf("%s: %d Macs are counted", name, s.Certificates[0].Devices)
		}
	}
	s, err := StateOf(t.Context(), topicsOf([]Certificate{valid}, nil), topics("B", 1, "C", 4), now)
	if err != nil || len(s.Others) != 2 || s.Others[0] != (OtherTopic{"topic of C", 4}) || s.Others[1] != (OtherTopic{"topic of B", 1}) {
		t.Errorf("others are %+v, %v", s.Others, err)
	}
	away := errors.New("away")
	if _, err := StateOf(t.Context(), topicsOf(nil, away), nil, now); !errors.Is(err, away) {
		t.Errorf("a store that is away: %v", err)
	}
}
