package nano_test

import (
	"testing"

	"plimsoll/storage"
)

// onEach runs fn on every database.
func onEach(t *testing.T, fn func(*testing.T, storage.DB)) {
	t.Helper()
	t.Run("mem", func(t *testing.T) { fn(t, newMem()) })
}
