package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// cursorOf is the cursor behind a list's first row.
func (r *rig) cursorOf(list string) string {
	r.t.Helper()
	var p struct {
		Next string `json:"next_cursor"`
	}
	r.get(with(list, "limit=1"), &p)
	if p.Next == "" {
		r.t.Fatalf("%s has no second page", list)
	}
	return p.Next
}

func with(target, query string) string {
	if strings.Contains(target, "?") {
		return target + "&" + query
	}
	return target + "?" + query
}

// A cursor is good for the list that gave it, and for no other; one that was cut or misspelt is good for none.
func TestCursorsAreOfOneList(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"), mac("2"))
	r.awaitEnrolment("UDID-2", "")
	for range 2 {
		if err := r.fleet.Ingest(t.Context(), "UDID-1", []byte(`{"StatusItems":{},"Errors":[]}`)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"1", "2"} {
		r.want(call{method: "PUT", target: "/v1/policies/p" + n, body: `{"priority":` + n + `}`}, 201, nil)
		r.want(call{method: "PUT", target: "/v1/groups/g" + n, body: `{"devices":[]}`}, 201, nil)
		r.want(call{method: "PUT", target: "/v1/holds/26.6." + n, body: `{"reason":"x"}`}, 201, nil)
		r.want(call{method: "POST", target: "/v1/enrollment-codes", body: `{}`}, 201, nil)
		r.want(call{method: "POST", target: "/v1/devices/UDID-1/sync"}, 204, nil)
		r.want(call{method: "POST", target: "/v1/devices/UDID-2/sync"}, 204, nil)
		r.token("t"+n, "read")
	}
	keepDays(r, 3)
	lists := []string{
		"/v1/compliance/history", "/v1/compliance/history?policy=p1",
		"/v1/policies", "/v1/groups", "/v1/holds", "/v1/releases", "/v1/tokens", "/v1/enrollment-codes", "/v1/events",
		"/v1/devices", "/v1/devices?sort=last_seen", "/v1/devices?sort=deadline",
		"/v1/devices/UDID-1/events", "/v1/devices/UDID-2/events", "/v1/devices/UDID-1/reports",
	}
	secret := ""
	refused := func(list, cursor, what string) {
		t.Helper()
		res := r.want(call{method: "GET", target: with(list, "cursor="+url.QueryEscape(cursor)), as: secret}, 400, nil)
		if body := errorBody(t, res); body.Code != "bad_cursor" {
			t.Errorf("%s with %s: %+v", list, what, body)
		}
	}
	for i, list := range lists {
		secret = r.token(fmt.Sprint("of-list-", i), "admin") // each may ask 200 times a second
		cursor := r.cursorOf(list)
		r.want(call{method: "GET", target: with(list, "cursor="+cursor)}, 200, nil)
		for _, other := range lists {
			if other != list {
				refused(other, cursor, "a cursor of "+list)
			}
		}
		for _, n := range []int{1, len(cursor) / 2, len(cursor) - 1} {
			refused(list, cursor[:n], "a cursor that was cut")
		}
		refused(list, strings.ToUpper(cursor), "a misspelt cursor")
		refused(list, "MXsicyI6", "what was never given")
	}
}

// keepDays keeps a row of history for each of the days before today.
func keepDays(r *rig, days int) {
	r.t.Helper()
	store := storage.New(r.db)
	day := fleet.HistoryDay{States: map[string]int{}, Flags: map[string]int{}, Versions: map[string]int{}}
	for _, s := range compliance.States {
		day.States[string(s)] = 0
	}
	for _, f := range compliance.FlagNames {
		day.Flags[f] = 0
	}
	for n := range days {
		day.Date = today.AddDate(0, 0, -1-n).Format(time.DateOnly)
		row, err := json.Marshal(map[string]any{"all": day, "policies": map[string]any{"p1": day}})
		if err == nil {
			err = store.SetDay(r.t.Context(), day.Date, row)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// The history comes in pages like every list, oldest day first, as JSON and as CSV.
func TestHistoryInPages(t *testing.T) {
	r := newRig(t)
	keepDays(r, 6)
	var want, dates, csv []string
	for n := 4; n >= 0; n-- {
		want = append(want, today.AddDate(0, 0, -n).Format(time.DateOnly))
	}
	type answer struct {
		History []fleet.HistoryDay
		Next    string `json:"next_cursor"`
	}
	pages := 0
	for next := ""; pages == 0 || next != ""; pages++ {
		target := "/v1/compliance/history?days=5&limit=2&cursor=" + next
		var p answer
		r.get(target, &p)
		for _, d := range p.History {
			dates = append(dates, d.Date)
		}
		res := r.want(call{method: "GET", target: target, header: []string{"Accept", "text/csv"}}, 200, nil)
		lines := strings.Split(strings.TrimSpace(res.Body.String()), "\r\n")
		if !strings.HasPrefix(lines[0], "date,devices,") || (res.Header().Get("Link") != "") != (p.Next != "") {
			t.Errorf("a page as CSV: Link %q, %q", res.Header().Get("Link"), lines[0])
		}
		for _, line := range lines[1:] {
			date, _, _ := strings.Cut(line, ",")
			csv = append(csv, date)
		}
		next = p.Next
	}
	if pages != 3 || !slices.Equal(dates, want) || !slices.Equal(csv, want) {
		t.Errorf("in %d pages %v, as CSV %v; want %v", pages, dates, csv, want)
	}
}

// A cursor stays good while rows come and go, also the row that it stands behind.
func TestCursorsOutliveTheirRow(t *testing.T) {
	r := newRig(t)
	put := func(name, priority string) {
		r.want(call{method: "PUT", target: "/v1/policies/" + name, body: `{"priority":` + priority + `}`}, 201, nil)
	}
	put("b", "1")
	put("d", "2")
	cursor := r.cursorOf("/v1/policies")
	rest := func() (names []string) {
		var p struct{ Policies []struct{ Name string } }
		if err := json.Unmarshal(r.want(call{method: "GET", target: "/v1/policies?cursor=" + cursor}, 200, nil).Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		for _, row := range p.Policies {
			names = append(names, row.Name)
		}
		return names
	}
	put("a", "3")
	put("c", "4")
	if got := rest(); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("after rows came: %v", got)
	}
	r.want(call{method: "DELETE", target: "/v1/policies/b"}, 204, nil)
	if got := rest(); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("after its row went: %v", got)
	}
}
