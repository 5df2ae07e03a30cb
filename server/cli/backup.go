package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"plimsoll/storage/archive"
)

// backup is the command that writes a backup.
type backup struct {
	Remote          `         embed:""`
	File            string   `         arg:"" help:"Where to write it; - is standard output."`
	Store           string   `                help:"Read this store (bolt:PATH, redis://…) instead of asking the server. An embedded one only while no server runs." placeholder:"URL"`
	BackupRecipient []string `                help:"With --store: a public key of age (age1…) that the backup is encrypted to. May repeat."                                            name:"backup-recipient" sep:"none" env:"PLIMSOLL_BACKUP_RECIPIENT"`
}

// Run writes the backup, to a file whole or not at all.
func (b *backup) Run(env *Env) error {
	write := b.fromServer
	if b.Store != "" {
		write = b.fromStore
	}
	if b.File == "-" {
		return write(env, env.Out)
	}
	f, err := os.CreateTemp(filepath.Dir(b.File), "."+filepath.Base(b.File)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is not there any more when all went well
	if err = write(env, f); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	held, err := whole(f.Name())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), b.File); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	_, err = fmt.Fprintf(env.Out, "%s: %s\n", b.File, held)
	return err
}

// whole reads a backup that was just written, as far as that can be read without a key.
func whole(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	s, err := archive.Check(f, nil)
	if errors.Is(err, archive.ErrEncrypted) {
		return "an encrypted backup", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the backup again: %w", err)
	}
	return fmt.Sprintf("%s, SHA-256 %s", describe(s), s.Checksum), nil
}

func describe(s archive.Summary) string {
	macs := fmt.Sprintf("%d Macs", s.Macs)
	if s.Macs == 1 {
		macs = "1 Mac"
	}
	return "the backup of " + s.CreatedAt.Format(time.RFC3339) + " with " + macs
}

func (b *backup) fromServer(env *Env, w io.Writer) error {
	c, err := b.open()
	if err != nil {
		return err
	}
	c.http.Timeout = 0 // it lasts as long as it lasts
	return c.stream(env, request{method: http.MethodGet, path: "/v1/backup"}, w)
}

func (b *backup) fromStore(env *Env, w io.Writer) error {
	to, err := archive.Recipients(b.BackupRecipient)
	if err != nil {
		return usage("--backup-recipient: %v", err)
	}
	if path, ok := strings.CutPrefix(b.Store, "bolt:"); ok { // it would be made
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("--store: %w", err)
		}
	}
	return withStore(env, b.Store, func(ctx context.Context, db archive.DB) error {
		_, err := archive.Write(ctx, w, db, archive.Options{Version: env.Version, Now: time.Now(), Recipients: to})
		return err
	})
}

func withStore(env *Env, url string, do func(context.Context, archive.DB) error) error {
	db, err := env.OpenStore(env.Context, url)
	if err != nil {
		return err
	}
	err = do(env.Context, db)
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

// restore is the command that writes a backup into a store.
type restore struct {
	File          string `arg:"" help:"The backup."`
	Store         string `       help:"The empty store to write it into (bolt:PATH, redis://…)."                          required:"" placeholder:"URL"`
	Identity      string `       help:"The identity of age that opens an encrypted backup: @FILE as age-keygen wrote it."             placeholder:"@FILE" secret:""`
	WithoutTokens bool   `       help:"Leave API tokens and enrolment codes out."`
}

// Run reads the backup whole and then writes it.
func (r *restore) Run(env *Env) error {
	ids, err := archive.Identities(r.Identity)
	if err != nil {
		return usage("--identity: %v", err)
	}
	if _, err := os.Stat(r.File); err != nil { // before a store is made
		return err
	}
	open := func() (io.ReadCloser, error) { return os.Open(r.File) }
	var s archive.Summary
	if err := withStore(env, r.Store, func(ctx context.Context, db archive.DB) error {
		s, err = archive.Restore(ctx, open, db, archive.RestoreOptions{Identities: ids, WithoutTokens: r.WithoutTokens, Now: time.Now()})
		return err
	}); err != nil {
		return err
	}
	tokens := "Macs that were deleted since, and tokens and codes that were withdrawn since, are valid again."
	if r.WithoutTokens {
		tokens = "Macs that were deleted since are valid again. API tokens and enrolment codes were left out."
	}
	_, err = fmt.Fprintf(
		env.Out,
		"Restored %s.\nThe fleet is as it was then: Macs that enrolled since must enrol again.\n%s\n",
		describe(s),
		tokens,
	)
	return err
}
