package notify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"plimsoll/server/fleet/inventory"
	"plimsoll/status"
)

// Source knows push certificates and the topics of Macs.
type Source struct {
	// Certificates are those that are stored, the one stored last first; it gives its topic to those who enrol.
	Certificates func(context.Context) ([]Certificate, error)
	// TopicOf is the push topic that a device enrolled with; empty when it has told none.
	TopicOf func(ctx context.Context, id string) (string, error)
}

// Certificate is a stored push certificate, and how many devices enrolled with its topic.
type Certificate struct {
	Topic               string
	StoredAt, ExpiresAt time.Time
	Devices             int
}

// OtherTopic is a push topic without a certificate, and how many devices enrolled with it: they cannot be woken.
type OtherTopic struct {
	Topic   string // empty: it could not be read
	Devices int
}

// State says who can be woken.
type State struct {
	Certificates []Certificate // the one stored last first
	Others       []OtherTopic
	known        bool
	now          time.Time
}

// Problem says in one sentence what is wrong with the certificate that those who enrol now get the topic of; empty when it is in
// order.
func (s *State) Problem() string {
	switch {
	case !s.known:
	case len(s.Certificates) == 0:
		return "there is no push certificate, so Macs that enrol now can never be woken: they must enrol again once there is one"
	case s.expired(s.Certificates[0]):
		return "the push certificate expired on " + s.Certificates[0].ExpiresAt.UTC().Format(time.DateOnly) +
			", so no Mac can be woken: renew it with the same Apple Account; if its topic changes, Macs that enrol now must enrol again"
	}
	return ""
}

// OthersProblem says in one sentence how many Macs have a topic without a certificate; empty when none has.
func (s *State) OthersProblem() string {
	n := 0
	for _, o := range s.Others {
		n += o.Devices
	}
	if n == 0 {
		return ""
	}
	who := "1 Mac"
	if n > 1 {
		who = strconv.Itoa(n) + " Macs"
	}
	return who + " enrolled with another push topic than that of the certificate and cannot be woken: they must enrol again"
}

func (s *State) expired(c Certificate) bool { return !s.now.Before(c.ExpiresAt) }

const namedTopics = 20 // topics without a certificate whose names are read

// Stored is the state of certificates alone: no device is counted.
func Stored(certificates []Certificate, now time.Time) State {
	return State{Certificates: certificates, known: true, now: now}
}

// StateOf counts devices by push topic; topics are those of the enrolled ones. Those whose topic is not known yet are counted
// nowhere. Without a source nothing is known.
func StateOf(ctx context.Context, source *Source, topics map[string]inventory.Topic, now time.Time) (State, error) {
	if source == nil {
		return State{}, nil
	}
	certificates, err := source.Certificates(ctx)
	if err != nil {
		return State{}, fmt.Errorf("read the push certificates: %w", err)
	}
	s := Stored(certificates, now)
	topics = maps.Clone(topics)
	delete(topics, "")
	for i := range s.Certificates {
		c := &s.Certificates[i]
		id := status.TopicID(c.Topic)
		c.Devices = topics[id].Devices
		delete(topics, id)
	}
	for _, t := range topics {
		other := OtherTopic{Devices: t.Devices}
		if len(s.Others) < namedTopics {
			if other.Topic, err = source.TopicOf(ctx, t.Example); err != nil {
				return s, fmt.Errorf("read the push topic of %s: %w", t.Example, err)
			}
		}
		s.Others = append(s.Others, other)
	}
	slices.SortFunc(s.Others, func(a, b OtherTopic) int { return cmp.Or(b.Devices-a.Devices, cmp.Compare(a.Topic, b.Topic)) })
	return s, nil
}
