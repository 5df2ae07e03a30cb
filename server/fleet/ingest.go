package fleet

import (
	"context"
	"fmt"
	"time"

	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
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
	now := f.now()
	_, err = f.change(ctx, id, settling{now: now}, func(m *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil || !s.Record.Facts.Enrolled {
			return false, notEnrolled(id)
		}
		return true, f.takeReport(m, s, report)
	})
	if err != nil {
		f.counters.MacErrors.Add(1)
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

func (f *Fleet) takeReport(m *storage.MacTx, s *settling, report *status.Report) error {
	rec := s.Record
	s.Status = status.Merge(s.Status, report)
	rec.Facts = rec.Facts.Apply(report, s.now)
	if compliance.NeedsResync(s.Manifest, s.Status, s.now) && compliance.MayRaise(rec.RaisedAt, s.now) {
		rec.Generation++
		rec.RaisedAt = s.now
		f.counters.ResyncsRaised.Add(1)
	}
	rec.Reports++
	m.SetStatus(s.Status)
	return m.AddReport(storage.KeptReport{
		Number: rec.Reports, ReceivedAt: s.now, Full: report.Full, Odd: report.Odd, Body: report.Raw,
	}, f.o.KeepReports)
}
