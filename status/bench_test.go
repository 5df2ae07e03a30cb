package status

import (
	"os"
	"testing"
	"time"
)

// reportFile is a real report of the size that Macs send.
const reportFile = "testdata/samples/kmfddm-iphone-ios16.0-2022-06-28.json"

func BenchmarkParse(b *testing.B) {
	body, err := os.ReadFile(reportFile)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIngest is what one report costs before it is judged: the stored status decoded, the report parsed and merged,
// facts and declarations derived, and the status encoded again.
func BenchmarkIngest(b *testing.B) {
	body, err := os.ReadFile(reportFile)
	if err != nil {
		b.Fatal(err)
	}
	r, err := Parse(body)
	if err != nil {
		b.Fatal(err)
	}
	stored, facts := Merge(nil, r).Encode(), Facts{}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		old, err := DecodeMerged(stored)
		if err != nil {
			b.Fatal(err)
		}
		r, err := Parse(body)
		if err != nil {
			b.Fatal(err)
		}
		m := Merge(old, r)
		facts = facts.Apply(r, time.Unix(1, 0))
		m.Declarations()
		m.Encode()
	}
}
