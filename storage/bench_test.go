package storage

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage/wire"
)

// benchRecord is the record of a Mac that is asked to update.
func benchRecord() *Record {
	at := time.Date(2026, 8, 22, 9, 0, 0, 0, time.UTC)
	deadline := declarations.Local(at.Add(10 * 24 * time.Hour).Unix())
	r := &Record{
		Facts: status.Facts{
			ID: "9E3779B1-B5C4-4000-8000-000000000001", UDID: "9E3779B1-B5C4-4000-8000-000000000001", Serial: "PLM0000001", Name: "Mac 1",
			Model: "Mac14,2", ModelName: "MacBook Air", Board: "J413AP", BoardFrom: status.BoardFromReport, Version: "26.6", Build: "25G72",
			Capabilities: status.Capabilities{Known: true, Enforcement: true, Settings: true, Items: 1<<17 - 1},
			Enrolled:     true, EnrolledAt: at.Add(-24 * time.Hour), LastContactAt: at, LastReportAt: at,
		},
		Life: 1, Advertised: "0b5f3c8e7d584b0b9a4558a0b3d8a0c1", AdvertisedAt: at.Add(-time.Hour), Book: 12,
		Manifest: "0b5f3c8e7d584b0b9a4558a0b3d8a0c1", ServedAt: at.Add(-50 * time.Minute), Reports: 17,
		LookedAt: at, NotedAt: at.Add(-2 * time.Hour), Revision: at.UnixMilli(),
		Summary: compliance.Summary{
			State: compliance.Pending, Phase: compliance.Served, PhaseAt: at.Add(-50 * time.Minute), StateAt: at.Add(-time.Hour), Policy: "everyone",
			Kind: "os", Version: "26.6.2", Build: "25G83", Due: deadline, Deadline: deadline, OverdueAt: deadline.At(0), TargetAt: at.Add(-time.Hour),
			ServedAt: at.Add(-50 * time.Minute), Codes: []string{compliance.NotFetched, compliance.NoBootstrapToken},
		},
	}
	r.Lanes[plan.Patch] = plan.LaneState{Since: at.Add(-time.Hour), Target: "25G83", Promise: deadline, Served: deadline}
	return r
}

func BenchmarkRecordEncode(b *testing.B) {
	r := benchRecord()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecordDecode(b *testing.B) {
	data, err := benchRecord().Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRecord(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecordSame(b *testing.B) {
	r, o := benchRecord(), benchRecord()
	b.ReportAllocs()
	for b.Loop() {
		if !r.Same(o) {
			b.Fatal("they differ")
		}
	}
}

// stored are the values that a status report reads and writes: record, merged status, manifest and raw report.
func stored(b *testing.B) (record, merged, manifest, raw []byte) {
	body, err := os.ReadFile("../status/testdata/full-report.json")
	if err != nil {
		b.Fatal(err)
	}
	r, err := status.Parse(body)
	if err != nil {
		b.Fatal(err)
	}
	rec := benchRecord()
	if record, err = rec.Encode(); err != nil {
		b.Fatal(err)
	}
	var items []declarations.Item
	for _, id := range []string{declarations.IDOSUpdate, declarations.IDSettings, declarations.IDStatus} {
		items = append(items, declarations.Item{Kind: declarations.KindActivation, Identifier: id + declarations.ActivationSuffix, ServerToken: "6f7a3b0c5d1e48b2a9c4e7f801234560"},
			declarations.Item{Kind: declarations.KindConfiguration, Identifier: id, ServerToken: "6f7a3b0c5d1e48b2a9c4e7f801234560"})
	}
	manifest, err = json.Marshal(declarations.Manifest{DeclarationsToken: rec.Manifest, Timestamp: rec.AdvertisedAt, Items: items, ServedAt: rec.ServedAt})
	if err != nil {
		b.Fatal(err)
	}
	if raw, err = (KeptReport{Number: 17, ReceivedAt: rec.LookedAt, Full: true, Body: body}).encode(); err != nil {
		b.Fatal(err)
	}
	return record, status.Merge(nil, r).Encode(), manifest, raw
}

// memory reads values as a database keeps them.
type memory struct {
	Reader
	vals map[string][]byte
}

func (m memory) GetMany(keys ...string) ([][]byte, error) {
	vals := make([][]byte, len(keys))
	for i, key := range keys {
		if m.vals[key] == nil {
			continue
		}
		val, err := Unpack(m.vals[key])
		if err != nil {
			return nil, err
		}
		vals[i] = val
	}
	return vals, nil
}

func BenchmarkState(b *testing.B) {
	record, merged, manifest, _ := stored(b)
	m := Mac{r: memory{vals: map[string][]byte{keyRecord: Pack(record), keyStatus: Pack(merged), keyManifest: Pack(manifest)}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.State(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeManifest(b *testing.B) {
	_, _, manifest, _ := stored(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.DecodeManifest(manifest); err != nil {
			b.Fatal(err)
		}
	}
}

// eachValue runs a benchmark with each of the larger values that a report changes.
func eachValue(b *testing.B, run func(b *testing.B, val []byte)) {
	record, merged, _, raw := stored(b)
	for name, val := range map[string][]byte{"record": record, "status": merged, "report": raw} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(val)))
			run(b, val)
		})
	}
}

func BenchmarkPack(b *testing.B) {
	eachValue(b, func(b *testing.B, val []byte) {
		for b.Loop() {
			Pack(val)
		}
		b.ReportMetric(float64(len(Pack(val))), "stored")
	})
}

func BenchmarkUnpack(b *testing.B) {
	eachValue(b, func(b *testing.B, val []byte) {
		p := Pack(val)
		for b.Loop() {
			if _, err := Unpack(p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkReportEncode(b *testing.B) {
	_, _, _, raw := stored(b)
	var r KeptReport
	if err := json.Unmarshal(raw, &r); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.encode(); err != nil {
			b.Fatal(err)
		}
	}
}
