// Package catalogue keeps Apple's feed: it fetches, decides whether the response makes sense, and keeps what does.
package catalogue

import (
	"context"

	"plimsoll/declarations/release"
)

// Validators tell a Fetch what is already known.
type Validators struct {
	From         string // the source that they belong to
	ETag         string
	LastModified string
	File         string // name, size and modification time of a file
}

// Source is where a feed comes from. The zero value is none.
type Source struct {
	Name  string // without a password; what was tried at a source of another name says nothing about this one
	URL   bool   // fetched once a day; a file or folder is looked at every few seconds
	Fetch Fetch
}

// Fetch brings a feed's bytes. notModified is true when the source says that nothing changed since prev.
type Fetch func(ctx context.Context, prev Validators) (body []byte, v Validators, notModified bool, err error)

// UnusableFeed is the error of a Fetch that reached its source and found there what cannot be a feed: it is refused, as a
// response that makes no sense is.
type UnusableFeed struct{ Err error }

// Error says what was found.
func (e *UnusableFeed) Error() string { return e.Err.Error() }

// Unwrap is the error of the source.
func (e *UnusableFeed) Unwrap() error { return e.Err }

// Is tells that the response is refused.
func (e *UnusableFeed) Is(target error) bool { return target == release.ErrRefused }
