package status

import (
	"os"
	"testing"
	"time"
)

// Two reports of the size that Macs send: a real one, and one with every item that a Mac is asked for.
var reportFiles = []struct{ name, file string }{
	{"iPhone", "testdata/samples/kmfddm-iphone-ios16.0-2022-06-28.json"},
	{"Mac", "testdata/full-report.json"},
}

// eachReport runs a benchmark over the reports; each is given as it came, and as what a Mac's status is after it.
func eachReport(b *testing.B, bench func(b *testing.B, body []byte, r *Report, m Merged)) {
	for _, f := range reportFiles {
		body, err := os.ReadFile(f.file)
		if err != nil {
			b.Fatal(err)
		}
		r, err := Parse(body)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			bench(b, body, r, Merge(nil, r))
		})
	}
}

func BenchmarkParse(b *testing.B) {
	eachReport(b, func(b *testing.B, body []byte, _ *Report, _ Merged) {
		for b.Loop() {
			if _, err := Parse(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	eachReport(b, func(b *testing.B, body []byte, _ *Report, _ Merged) {
		for b.Loop() {
			Redact(body)
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	eachReport(b, func(b *testing.B, _ []byte, r *Report, m Merged) {
		for b.Loop() {
			Merge(m, r)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	eachReport(b, func(b *testing.B, _ []byte, _ *Report, m Merged) {
		for b.Loop() {
			m.Encode()
		}
	})
}

func BenchmarkDecodeMerged(b *testing.B) {
	eachReport(b, func(b *testing.B, _ []byte, _ *Report, m Merged) {
		stored := m.Encode()
		for b.Loop() {
			if _, err := DecodeMerged(stored); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	eachReport(b, func(b *testing.B, _ []byte, r *Report, _ Merged) {
		facts := Facts{}
		for b.Loop() {
			facts = facts.Apply(r, time.Unix(1, 0))
		}
	})
}

func BenchmarkDeclarations(b *testing.B) {
	eachReport(b, func(b *testing.B, _ []byte, _ *Report, m Merged) {
		for b.Loop() {
			m.Declarations()
		}
	})
}

// BenchmarkIngest is what one report costs before it is judged: the stored status decoded, the report parsed and merged,
// facts and declarations derived, and the status encoded again.
func BenchmarkIngest(b *testing.B) {
	eachReport(b, func(b *testing.B, body []byte, _ *Report, m Merged) {
		stored, facts := m.Encode(), Facts{}
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
	})
}
