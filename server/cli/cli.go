// Package cli holds the commands beside serve: those of a client that asks a running server, and those that need none.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"plimsoll/storage/archive"
)

// Commands are the commands beside serve, version and healthcheck. The tags are kong's.
type Commands struct {
	Demo       demo        `cmd:"" help:"Show it all on this machine: a server on a temporary store, with simulated Macs."`
	Devices    devices     `cmd:"" help:"List Macs."`
	Patching   patchReport `cmd:"" help:"Say how fast releases reached the Macs, from closed days."`
	Evidence   proofPack   `cmd:"" help:"Write the evidence pack of a closed day, a zip to hand to an auditor."`
	Why        why         `cmd:"" help:"Say why a Mac is in its state, and what comes next."`
	Validate   validate    `cmd:"" help:"Check policies, groups and holds as files, without a server; for CI."`
	Plan       planFiles   `cmd:"" help:"Say what apply would change, and whom it hits."`
	Apply      applyFiles  `cmd:"" help:"Make the server's policies, groups, holds and freezes those of files."`
	Export     exportFiles `cmd:"" help:"Write the server's policies, groups, holds and freezes as files."`
	Import     importMacs  `cmd:"" help:"Add Macs of another MDM server by their enrollment ids (companion mode)."`
	Audit      auditLog    `cmd:"" help:"Say who changed what, or check that the record of it is whole."`
	Backup     backup      `cmd:"" help:"Write a backup: of the server that runs, or with --store of a store."`
	Restore    restore     `cmd:"" help:"Write a backup into an empty store."`
	CA         deviceCA    `cmd:"" name:"ca" help:"Show the device CAs, or make a new one."`
	Completion completion  `cmd:"" help:"Print the completion script of a shell."`
}

// Env is what a command gets from the process.
type Env struct {
	Context  context.Context
	In       io.Reader
	Out, Err io.Writer
	Version  string
	// Terminal: Out is a terminal, so it may have colours, and In may be asked.
	Terminal bool
	// Serve starts a server for demo, on that port of 127.0.0.1 and with its store in that folder.
	Serve func(ctx context.Context, port int, folder string) (Server, error)
	// OpenStore opens the database of a store's URL, and makes an embedded one that is not there.
	OpenStore func(ctx context.Context, url string) (archive.DB, error)
	// Simulate runs so many Macs that do not exist against the server at that URL, until ctx ends.
	Simulate func(ctx context.Context, url string, n int) error
}

// Server is a server that was started and has yet to run.
type Server interface {
	Run(ctx context.Context) error // until ctx ends
	BaseURL() string
	Token() string // an admin token
}

// Exit statuses beside 0: done, or no difference.
const (
	ExitFailed      = 1
	ExitUsage       = 2
	ExitDifferences = 3
	ExitConfirm     = 4
)

// exitError is an error with an exit status of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage is a wrong use of a command: exit status 2.
func usage(format string, a ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, a...)}
}

// errSilent ends a command whose exit status says it all: nothing more is printed.
var errSilent = errors.New("")

// Fail prints an error as one line and returns the exit status of the process; code is for errors that bring none.
func Fail(w io.Writer, err error, code int) int {
	var own *exitError
	if errors.As(err, &own) {
		code = own.code
	}
	if !errors.Is(err, errSilent) {
		_, _ = fmt.Fprintln(w, "plimsoll:", clean(strings.Join(strings.Fields(err.Error()), " ")))
	}
	return code
}

// ReadSecrets replaces the value @FILE of every flag that has the tag "secret" with the content of the file, without
// its last line end; a value that begins with @@ stands for itself without the first @. It runs after the flags are
// parsed: only those of the command that runs are read. A file that cannot be read is a failed start, not a wrong flag.
func ReadSecrets(parsed *kong.Context) error {
	for _, f := range parsed.Flags() {
		if !f.Tag.Has("secret") || !f.Target.IsValid() {
			continue
		}
		value, err := readSecret(f.Target.String())
		if err != nil {
			return fmt.Errorf("--%s: %w", f.Name, err)
		}
		f.Target.SetString(value)
	}
	return nil
}

func readSecret(value string) (string, error) {
	path, isFile := strings.CutPrefix(value, "@")
	if !isFile || strings.HasPrefix(path, "@") {
		return path, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(b), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}
