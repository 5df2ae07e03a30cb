package fleet

import (
	"context"
	"fmt"
	"strconv"

	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

func reportInfo(r *storage.KeptReport) ReportInfo {
	info := ReportInfo{ID: strconv.Itoa(r.Number), ReceivedAt: r.ReceivedAt, Bytes: len(r.Body), Full: r.Full, Odd: r.Odd}
	if info.Odd == nil {
		info.Odd = []string{}
	}
	return info
}

func (f *Fleet) reports(ctx context.Context, idOrSerial string) (reports []storage.KeptReport, err error) {
	id, err := f.resolve(ctx, idOrSerial)
	if err != nil {
		return nil, err
	}
	err = f.store.ViewMac(ctx, id, func(m *storage.Mac) (err error) {
		reports, err = m.Reports()
		return err
	})
	return reports, err
}

// Reports lists the raw status reports that are kept of a Mac, newest first.
func (f *Fleet) Reports(ctx context.Context, idOrSerial string, limit int, cursor string) (Page[ReportInfo], error) {
	all, err := f.reports(ctx, idOrSerial)
	if err != nil {
		return Page[ReportInfo]{}, err
	}
	after, err := answer.DecodeCursor("reports", cursor)
	if err != nil {
		return Page[ReportInfo]{}, err
	}
	start := 0
	if after != "" {
		n, err := strconv.Atoi(after)
		if err != nil {
			return Page[ReportInfo]{}, answer.BadCursor()
		}
		for start < len(all) && all[start].Number >= n {
			start++
		}
	}
	return answer.Cut("reports", limit, start, len(all), func(i int) string { return strconv.Itoa(all[i].Number) },
		func(i int) ReportInfo { return reportInfo(&all[i]) }), nil
}

// Report reads one raw status report.
func (f *Fleet) Report(ctx context.Context, idOrSerial, reportID string) (Report, error) {
	all, err := f.reports(ctx, idOrSerial)
	if err != nil {
		return Report{}, err
	}
	for i := range all {
		if info := reportInfo(&all[i]); info.ID == reportID {
			return Report{ReportInfo: info, Body: all[i].Body}, nil
		}
	}
	return Report{}, answer.NotFound(fmt.Sprintf("there is no report %q of this device (any more)", reportID))
}
