package fleet

import (
	"context"
	"fmt"
	"time"

	"plimsoll/server/fleet/reconcile"
	"plimsoll/status"
)

// Ingest takes a status report (rules 8): parsed, merged and judged, and written in one commit with what follows from it.
// It returns after the database acknowledged. ErrInvalid: the body is not a status report at all.
func (f *Fleet) Ingest(ctx context.Context, id string, body []byte) error {
	began := time.Now()
	report, err := status.Parse(body)
	if err != nil {
		f.counters.ReportsRefused.Add(1)
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	err = f.change(ctx, id, reconcile.Report(report))
	if err != nil {
		f.countFault(err)
		return fmt.Errorf("status report of %s: %w", id, err)
	}
	f.counters.ReportsAccepted.Add(1)
	f.counters.IngestNanos.Add(int64(time.Since(began)))
	if report.OddCount > 0 {
		f.counters.ReportsOdd.Add(1)
		f.log.Debug("a status report has odd parts", "mac", id, "parts", report.OddCount, "first", report.Odd[0])
	}
	return nil
}
