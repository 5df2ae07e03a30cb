package storage

import "time"

// Patience is how long a Mac that was notified tries times may take to fetch before it is notified again (rules 10).
func Patience(tries int) time.Duration {
	switch {
	case tries <= 1:
		return 4 * time.Hour
	case tries == 2:
		return 8 * time.Hour
	case tries == 3:
		return 16 * time.Hour
	}
	return 24 * time.Hour
}

// CommandRefused stands in Record.Push in the place of an error when the push reached the Mac, and the Mac refused the command.
const CommandRefused = "command"

// PushError is why the last push failed; empty when it did not.
func (r *Record) PushError() string {
	if r.Push == CommandRefused {
		return ""
	}
	return r.Push
}

// OutstandingSince is when the Mac was notified of what it has not fetched yet; zero: it was not, or has fetched it.
func (r *Record) OutstandingSince() time.Time {
	if r.Told == "" || r.Told != r.Advertised || r.Told == r.Manifest {
		return time.Time{}
	}
	return r.ToldAt
}
