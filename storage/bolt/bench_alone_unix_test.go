//go:build unix

package bolt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
)

// BenchmarkWithAndWithoutTheLog holds commits through the log against the same commits in groups straight into bbolt (docs/decisions/wal.md).
func BenchmarkWithAndWithoutTheLog(b *testing.B) {
	type pairs map[string][]byte
	value := func(n, i int) []byte { return fmt.Append(nil, i, strings.Repeat(" {}", n/3)) }
	run := func(b *testing.B, commit func(partition string, vals pairs) error) {
		var n atomic.Int64
		b.SetParallelism(128) // per processor
		before := cpu(b)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := int(n.Add(1))
				vals := pairs{"facts": value(600, i), "x": value(400, i), fmt.Sprint("r/", i/10_000%20): value(2700, i)}
				if err := commit(fmt.Sprintf("mac/%08d", i*7919%10_000), vals); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/commit")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	}
	b.Run("with", func(b *testing.B) {
		db := open(b, file(b))
		run(b, func(partition string, vals pairs) error {
			return db.Update(context.Background(), partition, func(tx storage.Tx) error {
				if _, err := tx.GetMany("facts", "x"); err != nil {
					return err
				}
				for key, val := range vals {
					tx.Set(key, val)
				}
				return nil
			})
		})
	})
	b.Run("without", func(b *testing.B) {
		db, err := openFile(file(b))
		if err == nil {
			err = db.Update(func(t *bbolt.Tx) error { _, err := t.CreateBucket(bucketName); return err })
		}
		if err != nil {
			b.Fatal(err)
		}
		db.AllocSize = allocStep
		type commit struct {
			prefix []byte
			vals   pairs
			result chan error
		}
		queue := make(chan commit, maxGroup)
		go func() {
			for first := range queue {
				group := []commit{first}
				for len(queue) > 0 && len(group) < maxGroup {
					group = append(group, <-queue)
				}
				err := db.Update(func(t *bbolt.Tx) error {
					bucket := t.Bucket(bucketName)
					bucket.FillPercent = fillPercent
					for _, c := range group {
						read := tx{file: bucket.Cursor(), prefix: c.prefix}
						_, err := read.GetMany("facts", "x")
						for key, val := range c.vals {
							err = errors.Join(err, bucket.Put(under(c.prefix, kindValue, key), storage.Pack(val)))
						}
						if err = errors.Join(err, setRevision(bucket, c.prefix, 1)); err != nil {
							return err
						}
					}
					return nil
				})
				for _, c := range group {
					c.result <- err
				}
			}
		}()
		run(b, func(partition string, vals pairs) error {
			c := commit{prefixOf(partition), vals, make(chan error, 1)}
			queue <- c
			return <-c.result
		})
		close(queue)
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
}

// cpu is the time that this process has spent on its processors.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
