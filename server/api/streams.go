package api

import "sync"

// The most event streams at once: a stream lasts as long as its client likes, so it holds no slot of those for
// requests, and one token or session cannot take the streams of all.
const (
	maxStreams     = 256
	maxStreamsEach = 8
)

// Streams counts the event streams that are open, in all and by whom. Safe for concurrent use.
type Streams struct {
	total, each int

	mu   sync.Mutex
	open int
	by   map[string]int
}

// NewStreams makes a pool of streams.
func NewStreams() *Streams {
	return &Streams{total: maxStreams, each: maxStreamsEach, by: map[string]int{}}
}

// Enter takes a place for a token or session, if there is one. leave must be called once.
func (s *Streams) Enter(who string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.total || s.by[who] >= s.each {
		return nil, false
	}
	s.open++
	s.by[who]++
	return func() { s.leave(who) }, true
}

func (s *Streams) leave(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.by[who]--; s.by[who] == 0 {
		delete(s.by, who)
	}
}
