package companion_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
	"plimsoll/server/fleet"
)

const listenerMac = "564D4F2B-0000-4000-8000-0000000000AA"

// ours is a rig without NanoMDM.
func ours(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, came: make(chan struct{}, 1), keys: sim.NewKeys(1)}
	r.startOurs()
	return r
}

// eventOf is an event as NanoMDM's webhook makes it.
func eventOf(topic, id string, at time.Time, more string) []byte {
	return fmt.Appendf(nil, `{"topic": %q, "event_id": "e", "created_at": %q, "checkin_event": {"ids": {"id": %q, "type": "Device"}, "udid": %q%s}}`,
		topic, at.Format(time.RFC3339Nano), id, id, more)
}

// The listener serves five requests to those who know the right secret, and nothing else to anybody (rules 16).
func TestListener(t *testing.T) {
	r := ours(t)
	hdr := []string{"X-Enrollment-ID", listenerMac, "X-Enrollment-Type", "Device", "X-Hmac-Signature", signatureOf(dmKey, nil)}
	ev := eventOf("mdm.TokenUpdate", listenerMac, r.now(), `, "token_update_tally": 1`)
	signedEvent := []string{"X-Hmac-Signature", signatureOf(webhookKey, ev)}
	report := []byte(`{"StatusItems": {}, "Errors": []}`)
	for name, c := range map[string]struct {
		method, path, secret string
		body                 []byte
		headers              []string
		want                 int
	}{
		"tokens":                          {"GET", "/dm/tokens", dmSecret, nil, hdr, 200},
		"items":                           {"GET", "/dm/declaration-items", dmSecret, nil, hdr, 200},
		"a report":                        {"PUT", "/dm/status", dmSecret, report, with(hdr, "X-Hmac-Signature", signatureOf(dmKey, report)), 200},
		"no report at all":                {"PUT", "/dm/status", dmSecret, []byte("x"), with(hdr, "X-Hmac-Signature", signatureOf(dmKey, []byte("x"))), 400},
		"not in the manifest":             {"GET", "/dm/declaration/configuration/nothing", dmSecret, nil, hdr, 404},
		"an event":                        {"POST", "/webhook", webhookSecret, ev, signedEvent, 200},
		"no event":                        {"POST", "/webhook", webhookSecret, []byte("x"), []string{"X-Hmac-Signature", signatureOf(webhookKey, []byte("x"))}, 200},
		"no secret":                       {"GET", "/dm/tokens", "", nil, hdr, 401},
		"a wrong secret":                  {"GET", "/dm/tokens", dmSecret + "x", nil, hdr, 401},
		"no secret, nothing there":        {"GET", "/", "", nil, hdr, 401},
		"secrets swapped, dm":             {"GET", "/dm/tokens", webhookSecret, nil, hdr, 401},
		"secrets swapped, webhook":        {"POST", "/webhook", dmSecret, ev, signedEvent, 401},
		"a Mac's forgery":                 {"PUT", "/webhook", dmSecret, ev, with(hdr, "X-Hmac-Signature", signatureOf(dmKey, ev)), 401},
		"a Mac's forgery, up":             {"PUT", "/dm/../webhook", dmSecret, ev, with(hdr, "X-Hmac-Signature", signatureOf(dmKey, ev)), 400},
		"an event by PUT":                 {"PUT", "/webhook", webhookSecret, ev, signedEvent, 400},
		"an event with an enrolment":      {"POST", "/webhook", webhookSecret, ev, append([]string{"X-Enrollment-ID", listenerMac}, signedEvent...), 400},
		"another place":                   {"GET", "//other/x", dmSecret, nil, hdr, 400},
		"nothing there":                   {"GET", "/", dmSecret, nil, hdr, 400},
		"the API":                         {"GET", "/v1/devices", dmSecret, nil, hdr, 400},
		"a folder":                        {"GET", "/dm/", dmSecret, nil, hdr, 400},
		"without a slash":                 {"GET", "/dm", dmSecret, nil, hdr, 400},
		"a slash too many":                {"GET", "/dm/tokens/", dmSecret, nil, hdr, 400},
		"two slashes":                     {"GET", "/dm//tokens", dmSecret, nil, hdr, 400},
		"a query":                         {"GET", "/dm/tokens?x=1", dmSecret, nil, hdr, 400},
		"an empty query":                  {"GET", "/dm/tokens?", dmSecret, nil, hdr, 400},
		"an escaped path":                 {"GET", "/dm/%74okens", dmSecret, nil, hdr, 400},
		"an escaped slash":                {"GET", "/dm/declaration/configuration/a%2Fb", dmSecret, nil, hdr, 400},
		"tokens by PUT":                   {"PUT", "/dm/tokens", dmSecret, nil, hdr, 400},
		"tokens by POST":                  {"POST", "/dm/tokens", dmSecret, nil, hdr, 400},
		"a report by POST":                {"POST", "/dm/status", dmSecret, nil, hdr, 400},
		"a report by GET":                 {"GET", "/dm/status", dmSecret, nil, hdr, 400},
		"a kind that is none":             {"GET", "/dm/declaration/thing/a", dmSecret, nil, hdr, 400},
		"nobody":                          {"GET", "/dm/tokens", dmSecret, nil, hdr[2:], 400},
		"no type":                         {"GET", "/dm/tokens", dmSecret, nil, append([]string{}, hdr[0], hdr[1], hdr[4], hdr[5]), 400},
		"an id that is none":              {"GET", "/dm/tokens", dmSecret, nil, with(hdr, "X-Enrollment-ID", "C02ABCDEFGH"), 400},
		"no signature":                    {"GET", "/dm/tokens", dmSecret, nil, hdr[:4], 401},
		"a wrong signature":               {"GET", "/dm/tokens", dmSecret, nil, with(hdr, "X-Hmac-Signature", signatureOf("other", nil)), 401},
		"an event without signature":      {"POST", "/webhook", webhookSecret, ev, nil, 401},
		"an event with a wrong signature": {"POST", "/webhook", webhookSecret, ev, []string{"X-Hmac-Signature", signatureOf(dmKey, ev)}, 401},
		"a large report":                  {"PUT", "/dm/status", dmSecret, bytes.Repeat([]byte(" "), 4<<20+1), hdr, 413},
		"a large event":                   {"POST", "/webhook", webhookSecret, bytes.Repeat([]byte(" "), 4<<20+1), signedEvent, 413},
	} {
		if got := r.send(c.method, c.path, c.secret, c.body, c.headers...); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func with(headers []string, name, value string) []string {
	out := append([]string{}, headers...)
	for i := 0; i < len(out); i += 2 {
		if out[i] == name {
			out[i+1] = value
		}
	}
	return out
}

// Every answer is signed, errors too, and none of them redirects.
func TestAnswersAreSigned(t *testing.T) {
	r := ours(t)
	for _, path := range []string{"/dm/tokens", "/dm/nothing", "/", "/dm", "//dm/tokens"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.dm.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("plimsoll", dmSecret)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("X-Hmac-Signature"); got != signatureOf(dmKey, body) {
			t.Errorf("%s: %d is signed %q", path, resp.StatusCode, got)
		}
		if resp.StatusCode/100 == 3 || resp.Header.Get("Location") != "" {
			t.Errorf("%s redirects", path)
		}
	}
}

// What a Mac has forged changes nothing and is counted; odd events are taken and counted; those about users are taken.
func TestOddEvents(t *testing.T) {
	r := ours(t)
	count := r.notifier.Counters()
	forged := eventOf("mdm.CheckOut", listenerMac, r.now(), "")
	r.send("PUT", "/webhook", dmSecret, forged, "X-Hmac-Signature", signatureOf(dmKey, forged))
	if n := count.EventsRefused.Load(); n != 1 {
		t.Errorf("%d refused events", n)
	}
	at := r.now().Format(time.RFC3339Nano)
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"topic": "mdm.New", "created_at": "` + at + `"}`, `{"topic": "mdm.Connect", "created_at": "` + at + `"}`,
		`{"topic": "mdm.CheckOut", "checkin_event": {"ids": {"id": "` + listenerMac + `", "type": "Device"}}}`,
		`{"topic": "mdm.CheckOut", "created_at": 7, "checkin_event": {"ids": {"id": "` + listenerMac + `", "type": "Device"}}}`,
		`{"topic": "mdm.Authenticate", "created_at": "` + at + `", "checkin_event": {"ids": {"id": "` + listenerMac + `", "type": "Device"}, "raw_payload": "%"}}`,
	} {
		before := count.Odd.Load()
		if status := r.post([]byte(body)); status != http.StatusOK || count.Odd.Load() != before+1 {
			t.Errorf("%.60s: %d, %d odd", body, status, count.Odd.Load()-before)
		}
	}
	for _, ids := range []string{`"id": "` + listenerMac + `:ADA", "type": "User"`, `"id": "x", "type": "Shared iPad"`, `"id": "SERIAL", "type": "Device"`} {
		if status := r.post([]byte(`{"topic": "mdm.CheckOut", "created_at": "` + at + `", "checkin_event": {"ids": {` + ids + `}}}`)); status != http.StatusOK {
			t.Errorf("%s: %d", ids, status)
		}
	}
	if ids := r.fleet.MacIDs(); len(ids) > 0 {
		t.Errorf("there are Macs: %v", ids)
	}
}

// A Mac that is deleted begins a life with its next event or request, under a token that it never had.
func TestDeletedMacComesBack(t *testing.T) {
	r := ours(t)
	tokens := func() string {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.dm.URL+"/dm/tokens", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("plimsoll", dmSecret)
		for _, h := range [][2]string{{"X-Enrollment-ID", listenerMac}, {"X-Enrollment-Type", "User Enrollment (Device)"}, {"X-Hmac-Signature", signatureOf(dmKey, nil)}} {
			req.Header.Set(h[0], h[1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "DeclarationsToken") {
			t.Fatalf("%d: %s, %v", resp.StatusCode, body, err)
		}
		return string(body)
	}
	seen := map[string]bool{}
	for range 3 {
		body := tokens()
		if seen[body] {
			t.Errorf("the same tokens again: %s", body)
		}
		seen[body] = true
		if !r.device(listenerMac).Enrolled {
			t.Error("it is not enrolled")
		}
		if err := r.fleet.Forget(t.Context(), listenerMac, fleet.Origin{Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		if d := r.device(listenerMac); d.ID != "" {
			t.Errorf("it is not forgotten: %+v", d)
		}
	}
}

// Macs are imported by their ids; others are refused by name, and none is imported then.
func TestImport(t *testing.T) {
	r := ours(t)
	if _, err := r.fleet.Import(t.Context(), []string{listenerMac, "SERIAL"}, fleet.Origin{Actor: "test"}); err == nil || !strings.Contains(err.Error(), "ids[1]") {
		t.Errorf("the error is %v", err)
	}
	if len(r.fleet.MacIDs()) > 0 {
		t.Error("one was imported")
	}
	for _, want := range [][2]int{{1, 0}, {0, 1}} {
		got, err := r.fleet.Import(t.Context(), []string{listenerMac, listenerMac}, fleet.Origin{Actor: "test"})
		if err != nil || got.Added != want[0] || got.Known != want[1] {
			t.Errorf("%+v, %v, want %v", got, err, want)
		}
	}
	if list, _, err := companionCommands(t, r, listenerMac); err != nil || len(list) != 2 { // it is to sync, and asked what Authenticate would have told
		t.Errorf("queued: %+v, %v", list, err)
	}
}
