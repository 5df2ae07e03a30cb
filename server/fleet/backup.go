package fleet

import (
	"context"
	"io"

	"plimsoll/storage/archive"
)

// Encryption are those whom a backup is encrypted to.
type Encryption = archive.Encryption

// Recipients reads public keys of age.
func Recipients(texts []string) (Encryption, error) { return archive.Recipients(texts) }

// BackupOptions say how a backup is written.
type BackupOptions struct {
	Version    string     // of the program
	Recipients Encryption // whom every backup is encrypted to; none: it is not
	By         Origin
}

// Backup writes a backup of the whole store, while everything goes on. After an error what was written is not one, and no
// restore takes it.
func (f *Fleet) Backup(ctx context.Context, w io.Writer, o BackupOptions) (archive.Summary, error) {
	var s archive.Summary
	err := f.audit.Do(ctx, o.By, func() (err error) {
		s, err = archive.Write(ctx, w, f.store.DB(), archive.Options{Version: o.Version, Now: f.o.Now(), Recipients: o.Recipients})
		return err
	}, Act{Action: "backup.create", Object: "backup"})
	if err != nil {
		return s, err
	}
	f.log.Info("a backup was written", "macs", s.Macs, "partitions", s.Partitions, "sha256", s.Checksum)
	return s, nil
}
