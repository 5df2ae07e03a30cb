// Package model lets Macs that do not exist live through Apple's real releases under different rules.
package model

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"plimsoll/declarations/release"
)

// data holds Apple's feed as it was recorded every hour when it changed, and what SOFA says of exploited vulnerabilities.
//
//go:embed data
var data embed.FS

const day = 24 * time.Hour

// Start and End bound the simulated days: the first and the last on which the feed was recorded.
var (
	Start = time.Date(2025, time.September, 21, 0, 0, 0, 0, time.UTC)
	End   = time.Date(2026, time.February, 9, 0, 0, 0, 0, time.UTC)
)

func unpacked(name string) ([]byte, error) {
	b, err := data.ReadFile("data/" + name)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return io.ReadAll(z)
}

// Catalogues is the product's catalogue at the beginning (UTC) of each day from Start to before End. A day on which nothing
// changed has the pointer of the day before.
func Catalogues() ([]*release.Catalog, error) {
	history, err := unpacked("history.ndjson.gz")
	if err != nil {
		return nil, err
	}
	sofa, err := unpacked("sofa.json.gz")
	if err != nil {
		return nil, err
	}
	exploited, err := release.ParseExploited(sofa)
	if err != nil {
		return nil, err
	}
	known, _ := (&release.Catalog{}).Mark(exploited, Start)
	known.Exploited = exploited
	var all []*release.Catalog
	next := Start
	rows := json.NewDecoder(bytes.NewReader(history))
	for {
		var row struct {
			At   time.Time       `json:"observed_at"`
			Body json.RawMessage `json:"body"`
		}
		err := rows.Decode(&row)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("history: %w", err)
		}
		for ; next.Before(End) && (err != nil || next.Before(row.At)); next = next.Add(day) {
			all = append(all, known)
		}
		if err != nil {
			return all, nil
		}
		if known, err = merged(known, row.Body, row.At); err != nil {
			return nil, err
		}
	}
}

// merged is the catalogue after a response. One that the product refuses, or that changes nothing, leaves it as it is.
func merged(known *release.Catalog, body []byte, at time.Time) (*release.Catalog, error) {
	feed, err := release.ParseFeed(body)
	if err != nil {
		return nil, fmt.Errorf("the response of %s: %w", at, err)
	}
	next, changed, err := release.Merge(known, feed, at)
	if err != nil && !errors.Is(err, release.ErrRefused) {
		return nil, err
	}
	if err != nil || !changed {
		return known, nil
	}
	return next, nil
}
