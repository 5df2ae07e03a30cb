package lead

import (
	"context"
	"time"
)

const (
	gatesEvery = 15 * time.Minute // how often the gates look (rules 13)
	gatesAgain = 30 * time.Second // after a look that failed
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
