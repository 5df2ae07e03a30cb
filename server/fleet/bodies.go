package fleet

import "sync"

// bodiesKept bounds how many bodies are held in memory.
const bodiesKept = 4096

// bodies holds declaration bodies by ServerToken: a token is the hash of its body, so what is held is never stale.
type bodies struct {
	mu         sync.RWMutex
	young, old map[string][]byte
}

func (b *bodies) get(token string) []byte {
	b.mu.RLock()
	body := b.young[token]
	if body == nil {
		body = b.old[token]
	}
	b.mu.RUnlock()
	return body
}

// put keeps a body. When there are too many, the older half goes.
func (b *bodies) put(token string, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.young == nil || len(b.young) >= bodiesKept/2 {
		b.old, b.young = b.young, make(map[string][]byte)
	}
	b.young[token] = body
}
