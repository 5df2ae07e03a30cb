package nano_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"plimsoll/storage"
)

// mem is a storage.DB in memory: the least that the contract asks for.
type mem struct {
	mu    sync.Mutex
	parts map[string]map[string][]byte
	revs  map[string]uint64
}

func newMem() *mem {
	return &mem{parts: map[string]map[string][]byte{}, revs: map[string]uint64{}}
}

type memTx struct {
	data    map[string][]byte
	rev     uint64
	written bool
}

func (t *memTx) Get(key string) ([]byte, error) { return t.data[key], nil }

func (t *memTx) GetMany(keys ...string) ([][]byte, error) {
	vals := make([][]byte, len(keys))
	for i, k := range keys {
		vals[i] = t.data[k]
	}
	return vals, nil
}

func (t *memTx) list(prefix string, limit int, skip func(string) bool, desc bool) []storage.Entry {
	keys := slices.Sorted(maps.Keys(t.data))
	if desc {
		slices.Reverse(keys)
	}
	var out []storage.Entry
	for _, k := range keys {
		if strings.HasPrefix(k, prefix) && !skip(k) && len(out) < limit {
			out = append(out, storage.Entry{Key: k, Value: t.data[k]})
		}
	}
	return out
}

func (t *memTx) List(prefix, after string, limit int) ([]storage.Entry, error) {
	return t.list(prefix, limit, func(k string) bool { return k <= after }, false), nil
}

func (t *memTx) ListDesc(prefix, before string, limit int) ([]storage.Entry, error) {
	return t.list(prefix, limit, func(k string) bool { return before != "" && k >= before }, true), nil
}

func (t *memTx) Revision() (uint64, error)  { return t.rev, nil }
func (t *memTx) Set(key string, val []byte) { t.data[key], t.written = val, true }
func (t *memTx) Delete(key string)          { delete(t.data, key); t.written = true }

func (m *mem) tx(p string) *memTx { return &memTx{data: maps.Clone(m.parts[p]), rev: m.revs[p]} }

func (m *mem) View(_ context.Context, p string, fn func(storage.Reader) error) error {
	m.mu.Lock()
	t := m.tx(p)
	m.mu.Unlock()
	return fn(t)
}

func (m *mem) Update(_ context.Context, p string, fn func(storage.Tx) error) error {
	for {
		m.mu.Lock()
		t := m.tx(p)
		m.mu.Unlock()
		if t.data == nil {
			t.data = map[string][]byte{}
		}
		if err := fn(t); err != nil {
			return err
		}
		m.mu.Lock()
		if m.revs[p] == t.rev {
			if t.written {
				m.parts[p], m.revs[p] = t.data, t.rev+1
			}
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock()
	}
}

func (m *mem) Revisions(_ context.Context, ps ...string) ([]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]uint64, len(ps))
	for i, p := range ps {
		out[i] = m.revs[p]
	}
	return out, nil
}

func (m *mem) Collect(_ context.Context, ps []string, key string) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([][]byte, len(ps))
	for i, p := range ps {
		out[i] = m.parts[p][key]
	}
	return out, nil
}

func (m *mem) Drop(_ context.Context, p string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.parts, p)
	m.revs[p]++
	return nil
}

func (m *mem) Ping(context.Context) error { return nil }
func (m *mem) Close() error               { return nil }
