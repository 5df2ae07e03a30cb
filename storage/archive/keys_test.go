package archive_test

import (
	"strings"
	"testing"

	"filippo.io/age"

	"plimsoll/storage/archive"
)

func TestKeys(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	must(t, err)
	other, err := age.GenerateX25519Identity()
	must(t, err)
	to, err := archive.Recipients([]string{id.Recipient().String(), "# two\n" + id.Recipient().String() + "\n" + other.Recipient().String()})
	if err != nil || len(to) != 3 {
		t.Errorf("%d recipients, %v", len(to), err)
	}
	if _, err := archive.Recipients([]string{"age1nonsense"}); err == nil {
		t.Error("nonsense is a recipient")
	}
	ids, err := archive.Identities("# created: today\n" + id.String() + "\n")
	if err != nil || len(ids) != 1 {
		t.Errorf("%d identities, %v", len(ids), err)
	}
	if ids, err := archive.Identities(" \n"); err != nil || ids != nil {
		t.Errorf("nothing: %v, %v", ids, err)
	}
	secret := id.String()[:40]
	if _, err := archive.Identities(secret); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("half a key: %v", err)
	}
}
