package mdm

import (
	"context"
	"log/slog"
	"slices"

	"github.com/micromdm/nanolib/log"

	"plimsoll/server/mdm/message"
)

// nanoLog hands NanoMDM's log lines to slog. NanoMDM calls every check-in "info"; here the handlers log what matters, once,
// so that all of them are for debugging.
type nanoLog struct{ log *slog.Logger }

var _ log.Logger = nanoLog{}

// Info logs at debug level.
func (l nanoLog) Info(kv ...any) { l.line(kv) }

// Debug logs at debug level.
func (l nanoLog) Debug(kv ...any) { l.line(kv) }

// With adds fields to every line.
func (l nanoLog) With(kv ...any) log.Logger { return nanoLog{l.log.With(clipped(kv)...)} }

func (l nanoLog) line(kv []any) {
	msg := "nanomdm"
	for i := 0; i+1 < len(kv); i += 2 {
		if text, ok := kv[i+1].(string); ok && kv[i] == "msg" {
			msg += ": " + text
			kv = append(append([]any(nil), kv[:i]...), kv[i+2:]...)
			break
		}
	}
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(msg, clipped(kv)...)
	}
}

const maxLogged = 300 // bytes of a text in the log: what a Mac sends may have megabytes

func clip(s string) string { return message.Clip(s, maxLogged) }

func clipped(kv []any) []any {
	kv = slices.Clone(kv)
	for i, v := range kv {
		if text, ok := v.(string); ok {
			kv[i] = clip(text)
		}
	}
	return kv
}
