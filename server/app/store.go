package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
)

// OpenStore opens the database of a store's URL (the flag --store).
func OpenStore(ctx context.Context, store string) (storage.DB, error) {
	if path, ok := strings.CutPrefix(store, "bolt:"); ok {
		if path == "" {
			return nil, bad("store", "%q names no file", store)
		}
		db, err := bolt.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open the store %s: %w", store, err)
		}
		return db, nil
	}
	if !strings.HasPrefix(store, "redis") {
		return nil, bad("store", "%q is neither bolt:PATH nor a redis URL", redact(store))
	}
	db, err := redis.Open(ctx, store)
	if err != nil {
		if errors.Is(err, storage.ErrInvalid) {
			return nil, bad("store", "%w", err)
		}
		return nil, fmt.Errorf("open the store %s: %w", redact(store), err)
	}
	return db, nil
}

// redact leaves the password out of a store's URL.
func redact(store string) string {
	if scheme, rest, ok := strings.Cut(store, "://"); ok {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			return scheme + "://…@" + rest[at+1:]
		}
	}
	return store
}
