package redis

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

// report is of the size that a Mac's commit has.
var report = []byte(strings.Repeat(`{"StatusItems":{"device":{"operating-system":{"version":"26.6.1"}}}}`, 40))

func BenchmarkWrite(b *testing.B) {
	for name, args := range map[string][]string{"in memory": nil, "synced": storagetest.AOF} {
		b.Run(name, func(b *testing.B) {
			db := open(b, storagetest.RedisServer(b, args...).URL())
			var n atomic.Int64
			b.SetParallelism(32) // per processor
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					if err := db.Update(context.Background(), fmt.Sprintf("mac/%08d", i%10_000), func(tx storage.Tx) error {
						if _, err := tx.GetMany("facts", "merged", "x"); err != nil {
							return err
						}
						tx.Set(fmt.Sprintf("report/%d", i%20), report)
						tx.Set("facts", report[:600])
						tx.Set("x", report[:400])
						return nil
					}); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	db := open(b, storagetest.RedisServer(b).URL())
	const macs = 1000
	for i := range macs {
		if err := db.Update(context.Background(), fmt.Sprintf("mac/%08d", i), func(tx storage.Tx) error {
			tx.Set("facts", report[:600])
			tx.Set("x", report[:400])
			tx.Set("merged", report)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	var n atomic.Int64
	b.SetParallelism(32) // per processor
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := db.View(context.Background(), fmt.Sprintf("mac/%08d", n.Add(1)%macs), func(r storage.Reader) error {
				_, err := r.GetMany("facts", "x", "merged")
				return err
			}); err != nil {
				b.Error(err)
			}
		}
	})
}
