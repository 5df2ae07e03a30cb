package nano

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/micromdm/nanomdm/cryptoutil"
	"github.com/micromdm/nanomdm/mdm"
	"golang.org/x/sync/errgroup"

	"plimsoll/storage"
)

// collectAtOnce bounds one Collect of push records.
const collectAtOnce = 1000

// RetrievePushInfo returns what a push needs for those ids that can be pushed to: enrolled, enabled, with a token.
// All devices are read together; user channels one by one, several at a time.
func (s *Store) RetrievePushInfo(ctx context.Context, ids []string) (map[string]*mdm.Push, error) {
	byKey := make(map[string][]channel)
	for _, id := range ids {
		if c, err := parseID(id); err == nil {
			byKey[c.enrolmentKey()] = append(byKey[c.enrolmentKey()], c)
		}
	}
	var (
		mu  sync.Mutex
		all = make(map[string]*mdm.Push, len(ids))
		g   errgroup.Group
	)
	g.SetLimit(atOnce)
	for key, channels := range byKey {
		for chunk := range slices.Chunk(channels, collectAtOnce) {
			g.Go(func() error {
				part, err := s.collectPush(ctx, key, chunk)
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(all, part)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("retrieving push data of %d enrolments: %w", len(ids), err)
	}
	return all, nil
}

func (s *Store) collectPush(ctx context.Context, key string, channels []channel) (map[string]*mdm.Push, error) {
	partitions := make([]string, len(channels))
	for i, c := range channels {
		partitions[i] = c.partition()
	}
	vals, err := s.db.Collect(ctx, partitions, key)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*mdm.Push, len(vals))
	for i, val := range vals {
		var rec record
		if err := decode(key, val, &rec); err != nil {
			return nil, fmt.Errorf("%s: %w", channels[i].id, err)
		}
		if rec.Enabled && rec.Topic != "" && rec.Magic != "" && len(rec.Token) > 0 {
			found[channels[i].id] = &mdm.Push{Topic: rec.Topic, PushMagic: rec.Magic, Token: rec.Token}
		}
	}
	return found, nil
}

// Topic is the push topic that a device enrolled with; empty when it has told none.
func (s *Store) Topic(ctx context.Context, id string) (string, error) {
	c, err := parseID(id)
	if err != nil {
		return "", err
	}
	var rec record
	err = s.view(ctx, c.partition(), c.enrolmentKey(), func(val []byte) error {
		rec = record{}
		return decode(c.enrolmentKey(), val, &rec)
	})
	return rec.Topic, wrap(err, "looking up the push topic of %s", id)
}

// pushCert is a stored push certificate. Its key is a secret.
type pushCert struct {
	Cert     string    `json:"cert"` // PEM
	Key      string    `json:"key"`  // PEM
	NotAfter time.Time `json:"not_after"`
	At       time.Time `json:"at"`
}

// PushCert describes a stored push certificate.
type PushCert struct {
	Topic    string
	NotAfter time.Time
	Stored   time.Time
}

// PushCerts lists the stored push certificates, the one stored last first.
func (s *Store) PushCerts(ctx context.Context) ([]PushCert, error) {
	var certs []PushCert
	err := s.db.View(ctx, pushPartition, func(r storage.Reader) error {
		certs = nil
		return each(r, keyPushCert, func(e storage.Entry) (bool, error) {
			var stored pushCert
			if err := decode(e.Key, e.Value, &stored); err != nil {
				return false, err
			}
			certs = append(
				certs,
				PushCert{Topic: strings.TrimPrefix(e.Key, keyPushCert), NotAfter: stored.NotAfter, Stored: stored.At},
			)
			return true, nil
		})
	})
	slices.SortStableFunc(certs, func(a, b PushCert) int { return b.Stored.Compare(a.Stored) })
	return certs, wrap(err, "listing push certificates")
}

// IsPushCertStale tells whether the certificate of topic was stored again since RetrievePushCert gave out staleToken.
func (s *Store) IsPushCertStale(ctx context.Context, topic, staleToken string) (bool, error) {
	var current string
	err := s.view(ctx, pushPartition, pushStaleKey(topic), func(val []byte) error {
		if val == nil {
			return fmt.Errorf("%w: no push certificate has this topic", storage.ErrNotFound)
		}
		current = string(val)
		return nil
	})
	return current != staleToken, wrap(err, "checking the push certificate of %s", topic)
}

// RetrievePushCert returns the push certificate of topic with its key.
func (s *Store) RetrievePushCert(ctx context.Context, topic string) (*tls.Certificate, string, error) {
	var stored pushCert
	var stale string
	err := s.db.View(ctx, pushPartition, func(r storage.Reader) error {
		vals, err := r.GetMany(pushCertKey(topic), pushStaleKey(topic))
		if err != nil {
			return err
		}
		if vals[0] == nil {
			return fmt.Errorf("%w: no push certificate has this topic", storage.ErrNotFound)
		}
		stored, stale = pushCert{}, string(vals[1])
		return decode(pushCertKey(topic), vals[0], &stored)
	})
	if err != nil {
		return nil, "", wrap(err, "retrieving the push certificate of %s", topic)
	}
	cert, err := tls.X509KeyPair([]byte(stored.Cert), []byte(stored.Key))
	if err != nil {
		return nil, "", wrap(err, "reading the stored push certificate of %s", topic)
	}
	return &cert, stale, nil
}

// StorePushCert keeps a push certificate and its unencrypted key, both PEM, under the certificate's topic.
func (s *Store) StorePushCert(ctx context.Context, pemCert, pemKey []byte) error {
	topic, notAfter, err := pushTopic(pemCert, pemKey)
	if err != nil {
		return fmt.Errorf("storing a push certificate: %w: %w", storage.ErrInvalid, err)
	}
	err = s.db.Update(ctx, pushPartition, func(tx storage.Tx) error {
		val, err := tx.Get(pushStaleKey(topic))
		if err != nil {
			return err
		}
		n := 0
		if val != nil {
			if n, err = strconv.Atoi(string(val)); err != nil {
				return fmt.Errorf("the stored value of %s is damaged: %w", pushStaleKey(topic), err)
			}
		}
		tx.Set(pushStaleKey(topic), formatNumber(n+1))
		return set(
			tx,
			pushCertKey(topic),
			pushCert{Cert: string(pemCert), Key: string(pemKey), NotAfter: notAfter, At: s.stamp()},
		)
	})
	return wrap(err, "storing the push certificate of %s", topic)
}

// pushTopic checks that the pair belongs together and can be used for pushes.
func pushTopic(pemCert, pemKey []byte) (topic string, notAfter time.Time, err error) {
	pair, err := tls.X509KeyPair(pemCert, pemKey)
	if err != nil {
		return "", time.Time{}, err
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return "", time.Time{}, err
	}
	topic, err = cryptoutil.TopicFromCert(cert)
	return topic, cert.NotAfter.UTC(), err
}
