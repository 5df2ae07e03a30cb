package redis

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"plimsoll/storage"
)

func TestURL(t *testing.T) {
	for _, c := range []struct {
		url   string
		kind  string
		addrs string
		db    int
		user  string
		wait  int
		tls   bool
	}{
		{"redis://localhost", "single", "localhost:6379", 0, "", 0, false},
		{"redis://:secret@10.0.0.1:6380/3", "single", "10.0.0.1:6380", 3, ":secret", 0, false},
		{"rediss://app:secret@db.example.com:6380/0?wait=2", "single", "db.example.com:6380", 0, "app:secret", 2, true},
		{"redis://[::1]:7000?wait=0", "single", "[::1]:7000", 0, "", 0, false},
		{"redis+sentinel://h1:26379?master_name=m&addr=h2:26379&addr=h3:26380", "sentinel", "h1:26379 h2:26379 h3:26380", 0, "", 0, false},
		{"redis+sentinel://h1:26379/2?master_name=m&username=app&password=secret&wait=1", "sentinel", "h1:26379", 2, "app:secret", 1, false},
		{"rediss+sentinel://h1:26379?master_name=m", "sentinel", "h1:26379", 0, "", 0, true},
		{"redis+cluster://h1:6379?addr=h2:6379", "cluster", "h1:6379 h2:6379", 0, "", 0, false},
		{"rediss+cluster://app:secret@h1:6379/?addr=h2:6379&wait=1", "cluster", "h1:6379 h2:6379", 0, "app:secret", 1, true},
	} {
		t.Run(c.url, func(t *testing.T) {
			got, err := parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			var kind, user string
			var addrs []string
			var db int
			var tls bool
			switch {
			case got.single != nil:
				kind, addrs, db, tls = "single", []string{got.single.Addr}, got.single.DB, got.single.TLSConfig != nil
				user = got.single.Username + ":" + got.single.Password
			case got.sentinel != nil:
				kind, addrs, db, tls = "sentinel", got.sentinel.SentinelAddrs, got.sentinel.DB, got.sentinel.TLSConfig != nil
				user = got.sentinel.Username + ":" + got.sentinel.Password
				if got.sentinel.MasterName != "m" {
					t.Errorf("master name %q, want m", got.sentinel.MasterName)
				}
			case got.cluster != nil:
				kind, addrs, tls = "cluster", got.cluster.Addrs, got.cluster.TLSConfig != nil
				user = got.cluster.Username + ":" + got.cluster.Password
			}
			if user == ":" {
				user = ""
			}
			if kind != c.kind || !slices.Equal(addrs, strings.Fields(c.addrs)) || db != c.db || user != c.user || got.wait != c.wait || tls != c.tls {
				t.Errorf("%s %v, database %d, user %q, wait %d, TLS %t", kind, addrs, db, user, got.wait, tls)
			}
			if err := got.connect().Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                                          "must begin with",
		"localhost:6379":                            "must begin with",
		"redis:localhost":                           "must begin with",
		"http://localhost":                          "must begin with",
		"redis+magic://localhost":                   "must begin with",
		"redis://":                                  "names no host",
		"redis://:6379":                             "names no host",
		"redis://u:secret@host:port":                "invalid port",
		"redis://u:secret@host/x":                   "invalid database number",
		"redis://u:secret@host?wait=many":           "wait must be a number",
		"redis://u:secret@host?wait=-1":             "wait must be a number",
		"redis://host?wait=1&wait=2":                "wait must be a number",
		"redis://host?max_retries=3":                "max_retries cannot be set",
		"redis://host?colour=red":                   "unexpected option: colour",
		"redis://host?%zz":                          "invalid URL escape",
		"redis+sentinel://h1:26379":                 "needs master_name",
		"redis+sentinel://h1?master_name=":          "needs master_name",
		"redis+sentinel://h1?master_name=m&addr=h2": "addr",
		"redis+sentinel://h1?master_name=m&replica_only=true":  "replica_only cannot be set",
		"redis+cluster://h1:6379/1":                            "no numbered databases",
		"redis+cluster://h1:6379?route_randomly=true":          "route_randomly cannot be set",
		"redis+cluster://u:secret@h1:6379?dial_timeout=before": "dial_timeout",

		"redis://u:secret/word@host": "percent-encoded",
		"redis://u:%secret@host":     "percent-encoded",
	} {
		t.Run(url, func(t *testing.T) {
			_, err := Open(t.Context(), url)
			if err == nil {
				t.Fatal("Open succeeded")
			}
			text := err.Error()
			if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(text, want) || strings.Contains(text, "\n") || strings.Contains(text, "secret") {
				t.Errorf("%v, want %q in one line, without the password", err, want)
			}
		})
	}
}
