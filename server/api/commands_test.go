package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/server/fleet"
)

// command queues a command for an enrolment that NanoMDM knows, and has it answered, unless the answer is empty.
func (r *rig) command(id, uuid, status, answer string) {
	r.t.Helper()
	device, _, isUser := strings.Cut(id, ":")
	req := mdm.NewRequestWithContext(context.Background(), nil)
	req.EnrollID = &mdm.EnrollID{Type: mdm.Device, ID: id}
	if isUser {
		req.Type, req.ParentID = mdm.User, device
	} else if err := r.nano.StoreAuthenticate(req, &mdm.Authenticate{}); err != nil {
		r.t.Fatal(err)
	}
	cmd := &mdm.Command{CommandUUID: uuid, Raw: []byte("<plist/>")}
	cmd.Command.RequestType = "DeviceInformation"
	for _, err := range []error{
		r.nano.StoreTokenUpdate(req, &mdm.TokenUpdate{Push: mdm.Push{Topic: "t", PushMagic: "m", Token: []byte{1}}}),
		r.nano.Enqueue(context.Background(), id, cmd),
	} {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if answer == "" {
		return
	}
	raw := []byte(`<plist version="1.0"><dict>` + answer + `</dict></plist>`)
	if err := r.nano.StoreCommandReport(req, &mdm.CommandResults{CommandUUID: uuid, Status: status, Raw: raw}); err != nil {
		r.t.Fatal(err)
	}
}

// What a Mac was sent and answered can be read, by the scope mdm too; what it keeps secret cannot.
func TestCommandRoutes(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"), mac("2"))
	r.command("UDID-1", "one", "Acknowledged", `<key>Status</key><string>Acknowledged</string><key>UnlockToken</key><data>c2VjcmV0</data>`)
	r.command("UDID-1", "two/three", "Error", `<key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>12</integer>
		<key>ErrorDomain</key><string>D</string><key>USEnglishDescription</key><string>No</string></dict></array>`)
	r.command("UDID-1", "last", "", "")
	r.command("UDID-1:kim", "theirs", "", "")
	for _, token := range []string{"", r.token("push", "mdm"), r.token("eye", "read"), r.token("desk", "operator")} {
		var page struct {
			Commands []fleet.Command `json:"commands"`
		}
		r.want(call{method: "GET", target: "/v1/devices/SERIAL1/commands", as: token}, http.StatusOK, &page)
		var got []string
		for _, c := range page.Commands {
			got = append(got, c.UUID+" "+c.Status)
		}
		if strings.Join(got, ", ") != "last Queued, two/three Error, one Acknowledged" {
			t.Errorf("listed: %v", got)
		}
		if len(page.Commands) == 3 && (len(page.Commands[1].Errors) != 1 || page.Commands[1].Errors[0].Description != "No") {
			t.Errorf("Apple's words: %+v", page.Commands[1])
		}
		var one struct {
			fleet.CommandAnswer
			Answer map[string]any `json:"answer"`
		}
		r.want(call{method: "GET", target: "/v1/devices/UDID-1/commands/one", as: token}, http.StatusOK, &one)
		if len(one.LeftOut) != 1 || one.LeftOut[0] != "/UnlockToken" || len(one.Answer) != 1 {
			t.Errorf("the answer: %+v", one)
		}
	}
	r.want(call{method: "GET", target: "/v1/devices/UDID-1/commands/two%2Fthree"}, http.StatusOK, nil)
	r.want(call{method: "GET", target: "/v1/devices/UDID-1/commands/theirs"}, http.StatusNotFound, nil)
	r.want(call{method: "GET", target: "/v1/devices/UDID-1:kim/commands/theirs"}, http.StatusOK, nil)
	r.want(call{method: "GET", target: "/v1/devices/UDID-3/commands"}, http.StatusNotFound, nil)
	r.want(call{method: "GET", target: "/v1/devices/UDID-1/commands", as: r.token("prometheus", "metrics")}, http.StatusForbidden, nil)

	first := r.want(call{method: "GET", target: "/v1/devices/UDID-1/commands?limit=2"}, http.StatusOK, nil)
	var page struct {
		Commands []fleet.Command `json:"commands"`
		Next     string          `json:"next_cursor"`
	}
	r.get("/v1/devices/UDID-1/commands?limit=2", &page)
	cursor := page.Next
	if len(page.Commands) != 2 || cursor == "" || first.Header().Get("Link") == "" {
		t.Errorf("the first page: %+v", page)
	}
	page.Next = ""
	r.get("/v1/devices/UDID-1/commands?limit=2&cursor="+cursor, &page)
	if len(page.Commands) != 1 || page.Commands[0].UUID != "one" || page.Next != "" {
		t.Errorf("the second page: %+v", page)
	}
	r.want(call{method: "GET", target: "/v1/devices/UDID-2/commands?cursor=" + cursor}, http.StatusBadRequest, nil)

	csv := r.want(call{method: "GET", target: "/v1/devices/UDID-1/commands", header: []string{"Accept", "text/csv"}}, http.StatusOK, nil).Body.String()
	if !strings.HasPrefix(csv, "uuid,request_type,queued_at,answered_at,status,errors") || strings.Count(csv, "\n") != 4 {
		t.Errorf("as CSV: %s", csv)
	}
	r.db.down.Store(true)
	r.want(call{method: "GET", target: "/v1/devices/UDID-1/commands"}, http.StatusServiceUnavailable, nil)
}
