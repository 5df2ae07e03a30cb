package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
	"plimsoll/server/fleet"
)

// known makes a Mac known by its check-ins alone; its serial number is SER and the number.
func (l *lives) known(n int, version, build string) string {
	l.t.Helper()
	m := l.air(fmt.Sprintf("SER%03d", n), version, build)
	m.enrol()
	return m.id()
}

// devices reads a page of Macs by their ids.
func (l *lives) devices(query string) (ids []string, next string) {
	l.t.Helper()
	var page struct {
		Devices []fleet.Device
		Next    string `json:"next_cursor"`
	}
	l.call("GET", "/v1/devices?"+query, "", http.StatusOK, &page)
	for _, d := range page.Devices {
		ids = append(ids, d.ID)
	}
	return ids, page.Next
}

// However the fleet changes between two pages, a Mac that stays as it is comes by exactly once.
func TestPagesWhileTheFleetChanges(t *testing.T) {
	t.Parallel()
	for _, sort := range []string{"serial", "deadline", "last_seen"} {
		t.Run(sort, func(t *testing.T) {
			t.Parallel()
			l := newLives(t, begins, summerFeed(t))
			l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
			stays := map[string]int{}
			for n := 10; n < 50; n += 2 { // some are due, some are not
				stays[l.known(n, []string{"26.6.1", "26.6.2"}[n/2%2], []string{"25G76", "25G83"}[n/2%2])] = 0
				l.clock.Add(1)
			}
			leaves := []string{l.known(1, "26.6.1", "25G76"), l.known(31, "26.6.2", "25G83"), l.known(99, "26.6.1", "25G76")}
			cursor, pages := "", 0
			for {
				ids, next := l.devices("limit=3&sort=" + sort + "&cursor=" + cursor)
				for _, id := range ids {
					if _, ok := stays[id]; ok {
						stays[id]++
					}
				}
				if cursor = next; cursor == "" {
					break
				}
				pages++
				l.clock.Add(1)
				l.known(50+pages, "26.6.1", "25G76") // one comes, at the end of some orders and at the beginning of others
				l.known(9-pages%9, "26.6.2", "25G83")
				if len(leaves) > 0 && pages%2 == 0 { // one leaves, perhaps the very one that the cursor names
					l.ok(l.fleet.CheckOut(t.Context(), leaves[0]))
					leaves = leaves[1:]
				}
				if pages > 100 {
					t.Fatal("the list does not end")
				}
			}
			for id, times := range stays {
				if times != 1 {
					t.Errorf("%s came by %d times", id, times)
				}
			}
			if status, _, _ := l.request(adminToken, "GET", "/v1/devices?sort="+sort+"&cursor=nonsense", ""); status != http.StatusBadRequest {
				t.Errorf("a cursor that is none is answered %d", status)
			}
		})
	}
}

func (l *lives) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// The Macs with a deadline come first, the earliest first; those that have none come last.
func TestSortedByDeadline(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	slow := strings.NewReplacer(`"everyone"`, `"slow"`, `"priority":10`, `"priority":20,"assign":{"groups":["slow"]}`, `14`, `30`).Replace(fortnight)
	l.call("PUT", "/v1/groups/slow", `{"devices":["SER001","SER004"]}`, http.StatusCreated, nil)
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	l.call("POST", "/v1/policies", slow, http.StatusCreated, nil)
	l.known(1, "26.6.1", "25G76") // September 16
	l.known(2, "26.6.2", "25G83") // nothing is asked
	l.known(3, "26.6.1", "25G76") // August 31
	l.known(4, "26.6.1", "25G76") // September 16
	ids, next := l.devices("sort=deadline")
	if want := []string{udidOf("SER003"), udidOf("SER001"), udidOf("SER004"), udidOf("SER002")}; !slices.Equal(ids, want) || next != "" {
		t.Errorf("%q and %q, want %q", ids, next, want)
	}
}

// Every filter of docs/api.md at once, and each of them alone takes the Mac away when it does not fit.
func TestFiltersCombined(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("PUT", "/v1/groups/lab", `{"devices":["SER001"]}`, http.StatusCreated, nil)
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	l.known(1, "26.6.1", "25G76")
	l.known(2, "26.6.1", "25G76")
	fits := []string{
		"state=pending", "flag=not_synced", "policy=everyone", "group=lab", "version=26.6.1", "model=Mac14,2", "q=ser001", "seen_before=2026-08-22T20:00:01Z", "enrolled=true",
	}
	for _, sort := range []string{"", "&sort=deadline", "&sort=last_seen"} {
		if ids, _ := l.devices(strings.Join(fits, "&") + sort); !slices.Equal(ids, []string{udidOf("SER001")}) {
			t.Errorf("all filters together find %q", ids)
		}
	}
	for i, other := range []string{
		"state=overdue", "flag=silent", "policy=nobody", "group=nobody", "version=26.6.2", "model=Mac13,1", "q=ser002", "seen_before=2026-08-22T19:59:59Z", "enrolled=false",
	} {
		q := slices.Clone(fits)
		q[i] = other
		if ids, _ := l.devices(strings.Join(q, "&")); len(ids) != 0 {
			t.Errorf("with %s instead of %s, %q are found", other, fits[i], ids)
		}
	}
	_, _, body := l.request(adminToken, "GET", "/v1/devices?"+strings.Join(fits, "&"), "", "Accept", "text/csv")
	if lines := strings.Split(strings.TrimSpace(string(body)), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], udidOf("SER001")+",SER001,Ada's SER001,\"Mac14,2\",J413AP,26.6.1,25G76,,pending,planned,") {
		t.Errorf("as CSV: %q", lines)
	}
}

// A poller is answered 304 while nothing changes, however much time passes, and 200 when time alone changed something.
func TestPollersAreToldOfChangesOnly(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02POLL", "26.6.1", "25G76")
	m.enrol()
	l.sweep()
	m.poll()
	routes := []string{"/v1/compliance", "/v1/devices?state=pending", "/v1/devices/C02POLL"}
	tags := map[string]string{}
	ask := func(at string, want ...int) {
		t.Helper()
		l.setClock(at)
		l.sweep()
		for i, r := range routes {
			got, header, _ := l.request(adminToken, "GET", r, "", "If-None-Match", tags[r])
			if got != want[i] {
				t.Errorf("%s: %s is answered %d, want %d", at, r, got, want[i])
			}
			tags[r] = header.Get("ETag")
		}
	}
	ask("2026-08-22T20:01", 200, 200, 200)
	ask("2026-08-22T20:02", 304, 304, 304)
	ask("2026-08-24T20:00", 304, 304, 304)
	ask("2026-08-25T20:01", 200, 200, 200) // report_stale, not_synced
	ask("2026-08-25T20:02", 304, 304, 304)
	ask("2026-08-31T12:00", 200, 200, 200) // silent, and overdue
	var page struct{ Devices []fleet.Device }
	if l.call("GET", "/v1/devices?state=overdue", "", http.StatusOK, &page); len(page.Devices) != 1 {
		t.Errorf("%d devices are overdue", len(page.Devices))
	}
}

// Every day has its row, by policy too, with the versions that the Macs ran.
func TestHistoryTellsVersions(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("PUT", "/v1/groups/lab", `{"devices":["`+udidOf("SER002")+`"]}`, http.StatusCreated, nil)
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	l.call("POST", "/v1/policies", strings.NewReplacer(`"everyone"`, `"lab"`, `"priority":10`, `"priority":20,"assign":{"groups":["lab"]}`).Replace(fortnight), http.StatusCreated, nil)
	l.known(1, "26.6.1", "25G76")
	l.known(2, "26.6.2", "25G83")
	l.known(3, "26.6.2", "25G83")
	for query, want := range map[string]map[string]int{"": {"26.6.1": 1, "26.6.2": 2}, "?policy=lab&days=1": {"26.6.2": 1}, "?policy=everyone": {"26.6.1": 1, "26.6.2": 1}} {
		var h struct{ History []fleet.HistoryDay }
		l.call("GET", "/v1/compliance/history"+query, "", http.StatusOK, &h)
		if len(h.History) != 1 || h.History[0].Date != "2026-08-22" || fmt.Sprint(h.History[0].Versions) != fmt.Sprint(want) {
			t.Errorf("%q: %+v, want %v", query, h.History, want)
		}
	}
	if status, _, _ := l.request(adminToken, "GET", "/v1/compliance/history?policy=nobody", ""); status != http.StatusNotFound {
		t.Errorf("the history of a policy that never was is answered %d", status)
	}
}

// A client of the stream that comes back with Last-Event-ID, again and again, misses nothing and sees each Mac's events in their order.
func TestStreamSurvivesReconnects(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02STREAM", "26.6.1", "25G76")
	seen := map[string]bool{}
	var types []string
	last := ""
	// read takes so many new events from one connection, which then breaks.
	read := func(n int) {
		t.Helper()
		ctx, hangUp := context.WithTimeout(t.Context(), 20*time.Second)
		defer hangUp()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.srv.URL+"/v1/events", nil)
		l.ok(err)
		req.Header.Set("Authorization", "Bearer "+adminToken)
		req.Header.Set("Accept", "text/event-stream")
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		res, err := l.srv.Client().Do(req)
		l.ok(err)
		defer func() { _ = res.Body.Close() }()
		for lines := bufio.NewScanner(res.Body); n > 0; {
			if !lines.Scan() {
				t.Fatalf("the stream ended: %v", lines.Err())
			}
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				last = id
			}
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var e fleet.Event
			l.ok(json.Unmarshal([]byte(data), &e))
			if !seen[e.ID] { // delivery is at least once, by event id
				seen[e.ID] = true
				types = append(types, e.Type)
				n--
			}
		}
	}
	m.enrol()
	l.sweep()
	read(2) // of three: the connection breaks in the middle of a page
	read(1)
	m.poll() // while nobody listens
	m.reach(m.Wait, m.StartDownload)
	l.sweep()
	read(1)
	read(3)
	m.reach(m.FinishDownload, m.StartInstall, m.FinishInstall)
	l.sweep()
	read(4)
	want := []string{
		"enrolled", "policy_changed", "target_set", "manifest_served", "declaration_active", "phase", "phase", "phase", "phase", "updated", "compliant",
	}
	if !slices.Equal(types, want) {
		t.Errorf("%q\nwant %q", types, want)
	}
	var own []string
	for _, e := range l.events(m.id()) {
		own = append(own, e.Type)
		if !seen[e.ID] {
			t.Errorf("the stream never told %s", e.Type)
		}
	}
	if !slices.Equal(own, want) {
		t.Errorf("the Mac's own timeline is %q", own)
	}
	if m.OS() != (sim.OS{Version: "26.6.2", Build: "25G83"}) {
		t.Errorf("the Mac runs %s", m.OS())
	}
}
