package archive

import (
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
)

// Encryption are those whom a backup is encrypted to; none: it is not.
type Encryption = []age.Recipient

// Recipients reads the public keys of age that a backup is encrypted to; each text is one, or several on lines of their own.
func Recipients(texts []string) (Encryption, error) {
	var all Encryption
	for _, text := range texts {
		found, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("read the public key of age: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// Identities reads the private keys of age that open a backup, as age-keygen writes them.
func Identities(text string) ([]age.Identity, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil { // it may quote the key
		return nil, errors.New("the identity is not one of age: a file as age-keygen writes it is needed")
	}
	return ids, nil
}
