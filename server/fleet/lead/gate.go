package lead

import (
	"context"
	"time"
)

const (
	gatesEvery = 15 * time.Minute // how often the gates look (rules 13)
	gatesAgain = 30 * time.Second // after a look that failed

	announceEvery = time.Minute
)

// gateLoop lets the gates look at once and then every 15 min, until ctx ends.
func (l *Leader) gateLoop(ctx context.Context) {
	for {
		wait := gatesEvery
		if err := l.o.Gates(ctx); err != nil && ctx.Err() == nil {
			l.o.Log.Warn("the gates could not look at the rings; they look again", "in", gatesAgain, "error", err)
			wait = gatesAgain
		}
		next := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
	}
}

// announceLoop brings the events that concern no Mac to the fleet's timeline at once and then every minute, until ctx ends.
func (l *Leader) announceLoop(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		if err := l.o.Announce(ctx); err != nil && ctx.Err() == nil {
			l.o.Log.Warn("events could not be brought to the timeline; trying again", "in", announceEvery, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
