package mdm_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/micromdm/plist"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/storage"
)

type command struct {
	CommandUUID string
	Command     struct {
		RequestType string
		Data        []byte
		Queries     []string
	}
}

// next answers a command, "" none, and returns the next one; nil when there is none.
func (c *client) next(answered string, more message) *command {
	c.w.t.Helper()
	m := message{"Status": "Idle"}
	if answered != "" {
		m = message{"Status": "Acknowledged", "CommandUUID": answered}
	}
	for k, v := range more {
		m[k] = v
	}
	a := c.command(m)
	want(c.w.t, "command channel", a, http.StatusOK)
	if a.body == "" {
		return nil
	}
	if a.contentType() != "application/xml" {
		c.w.t.Errorf("a command came as %q", a.contentType())
	}
	var cmd command
	check(c.w.t, plist.Unmarshal([]byte(a.body), &cmd))
	return &cmd
}

func (w *world) putPolicy(text string) {
	w.t.Helper()
	var p policy.Policy
	check(w.t, json.Unmarshal([]byte(text), &p))
	_, err := w.fleet.PutPolicy(context.Background(), p, fleet.WriteOptions{Create: true, Confirm: true})
	check(w.t, err)
}

const floor = `{"name":"everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-08-28T12:00:00"}}`

type items struct {
	Declarations      map[string][]struct{ Identifier, ServerToken string }
	DeclarationsToken string
}

func TestWholeLoop(t *testing.T) {
	w := newWorld(t)
	w.putPolicy(floor)
	mac := w.mac(macID)
	mac.enrol()

	cmd := mac.next("", nil)
	if cmd == nil || cmd.Command.RequestType != "DeclarativeManagement" {
		t.Fatalf("after the enrolment: command %+v", cmd)
	}
	var told declarations.SyncTokens
	check(t, json.Unmarshal(cmd.Command.Data, &told))
	if cmd := mac.next(cmd.CommandUUID, nil); cmd != nil {
		t.Errorf("a second command is queued: %+v", cmd)
	}

	a := mac.ddm("status", fullReport("C02XYZ"))
	want(t, "status", a, http.StatusOK)
	if a.body != "" || a.contentType() != "" {
		t.Errorf("a status report was answered with %q as %q", a.body, a.contentType())
	}

	a = mac.ddm("tokens", nil)
	want(t, "tokens", a, http.StatusOK)
	var tokens declarations.SyncTokens
	check(t, json.Unmarshal([]byte(a.body), &tokens))
	if a.contentType() != "application/json" {
		t.Errorf("tokens came as %q", a.contentType())
	}

	a = mac.ddm("declaration-items", nil)
	want(t, "declaration-items", a, http.StatusOK)
	var manifest items
	check(t, json.Unmarshal([]byte(a.body), &manifest))
	if manifest.DeclarationsToken != tokens.SyncTokens.DeclarationsToken || a.contentType() != "application/json" {
		t.Errorf("items %s as %q, tokens %s", manifest.DeclarationsToken, a.contentType(), tokens.SyncTokens.DeclarationsToken)
	}
	fetched := 0
	for section, kind := range map[string]string{"Activations": "activation", "Configurations": "configuration"} {
		for _, it := range manifest.Declarations[section] {
			a := mac.ddm("declaration/"+kind+"/"+it.Identifier, nil)
			want(t, it.Identifier, a, http.StatusOK)
			var d struct{ Identifier, ServerToken string }
			check(t, json.Unmarshal([]byte(a.body), &d))
			if d.Identifier != it.Identifier || d.ServerToken != it.ServerToken || a.contentType() != "application/json" {
				t.Errorf("%s: got %+v as %q", it.Identifier, d, a.contentType())
			}
			fetched++
		}
	}
	if fetched != 4 {
		t.Errorf("%d declarations, want subscriptions and enforcement with their activations", fetched)
	}
	want(t, "what is not in the manifest", mac.ddm("declaration/configuration/plimsoll.settings", nil), http.StatusNotFound)

	d := w.device(macID)
	if d.Serial != "C02XYZ" || d.Name != "Kim's Mac" || d.Model != "Mac14,2" || d.ModelName != "MacBook Air" || d.OS.Version != "26.5" || d.Board != "J413AP" {
		t.Errorf("the fleet knows %+v", d)
	}
}

func (w *world) device(id string) fleet.Device {
	w.t.Helper()
	d, err := w.fleet.Device(context.Background(), id)
	check(w.t, err)
	return d
}

// What the supplemental fields of Authenticate say is not in NanoMDM's own message.
func TestAuthenticateTells(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	m := authenticate("26.3.1", "25D2128")
	m["SupplementalBuildVersion"], m["SupplementalOSVersionExtra"] = "25D771280a", "(a)"
	m["DeviceName"] = 17 // not a text: not told
	delete(m, "ProductName")
	want(t, "Authenticate", mac.checkin(m), http.StatusOK)
	want(t, "TokenUpdate", mac.checkin(tokenUpdate(macID)), http.StatusOK)
	d := w.device(macID)
	if d.OS.SupplementalBuild != "25D771280a" || d.OS.Letter != "a" || d.OS.Build != "25D2128" || d.Model != "Mac14,2" || d.Name != "" {
		t.Errorf("the fleet knows %+v", d)
	}
}

func TestLives(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	want(t, "Authenticate", mac.checkin(authenticate("12.7.6", "21H1320")), http.StatusOK)
	want(t, "TokenUpdate", mac.checkin(tokenUpdate(macID)), http.StatusOK)
	want(t, "SetBootstrapToken", mac.checkin(message{"MessageType": "SetBootstrapToken", "BootstrapToken": []byte("boot")}), http.StatusOK)
	if !w.device(macID).BootstrapToken {
		t.Error("the bootstrap token is not known to be escrowed")
	}
	a := mac.checkin(message{"MessageType": "GetBootstrapToken"})
	want(t, "GetBootstrapToken", a, http.StatusOK)
	if !strings.Contains(a.body, base64.StdEncoding.EncodeToString([]byte("boot"))) || a.contentType() != "application/xml" {
		t.Errorf("the bootstrap token came as %q: %s", a.contentType(), a.body)
	}
	want(t, "CheckOut", mac.checkin(message{"MessageType": "CheckOut"}), http.StatusOK)
	if d := w.device(macID); d.Enrolled || d.BootstrapToken {
		t.Errorf("after CheckOut: %+v", d)
	}
	want(t, "tokens after CheckOut", mac.ddm("tokens", nil), http.StatusBadRequest)

	again := w.mac(macID) // the Mac comes back with a new identity, and macOS 15
	want(t, "Authenticate", again.checkin(authenticate("15.7.7", "24G720")), http.StatusOK)
	want(t, "TokenUpdate", again.checkin(tokenUpdate(macID)), http.StatusOK)
	if d := w.device(macID); !d.Enrolled || d.BootstrapToken {
		t.Errorf("after the re-enrolment: %+v", d)
	}
	want(t, "tokens with the new identity", again.ddm("tokens", nil), http.StatusOK)
	want(t, "tokens with the replaced identity", mac.ddm("tokens", nil), http.StatusBadRequest)
	if cmd := again.next("", nil); cmd == nil || cmd.Command.RequestType != "DeclarativeManagement" {
		t.Errorf("after the re-enrolment: command %+v", cmd)
	}

	check(t, w.notifier.Forget(context.Background(), macID))
	want(t, "tokens of a forgotten Mac", again.ddm("tokens", nil), http.StatusBadRequest)
	want(t, "a late TokenUpdate of a forgotten Mac", again.checkin(tokenUpdate(macID)), http.StatusBadRequest)
	w.mac(macID).enrol()
}

func TestDeviceInformation(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	want(t, "Authenticate", mac.checkin(authenticate("14.5", "23F79")), http.StatusOK)
	want(t, "TokenUpdate", mac.checkin(tokenUpdate(macID)), http.StatusOK)
	seen := map[string]*command{}
	for cmd := mac.next("", nil); cmd != nil; {
		seen[cmd.Command.RequestType] = cmd
		var more message
		if cmd.Command.RequestType == "DeviceInformation" {
			more = message{"QueryResponses": map[string]any{
				"SoftwareUpdateDeviceID": "J413AP", "OSVersion": "14.6.1", "BuildVersion": "23G93", "IsSupervised": true, "BatteryLevel": 0.5,
			}}
		}
		cmd = mac.next(cmd.CommandUUID, more)
	}
	info := seen["DeviceInformation"]
	if info == nil || strings.Join(info.Command.Queries, " ") != "BuildVersion OSVersion SoftwareUpdateDeviceID" {
		t.Fatalf("asked: %+v", info)
	}
	if d := w.device(macID); d.Board != "J413AP" || d.OS.Version != "14.6.1" || d.OS.Build != "23G93" {
		t.Errorf("after the answer: %+v", d)
	}
	// An answer that nobody can use changes nothing and is no error.
	for _, more := range []message{{"QueryResponses": "text"}, {"QueryResponses": map[string]any{"OSVersion": []any{1}}}} {
		m := message{"Status": "Acknowledged", "CommandUUID": "unknown"}
		for k, v := range more {
			m[k] = v
		}
		want(t, "an odd answer", mac.command(m), http.StatusOK)
	}
	if d := w.device(macID); d.OS.Version != "14.6.1" {
		t.Errorf("after odd answers: %+v", d)
	}
}

func TestUserChannel(t *testing.T) {
	w := newWorld(t)
	w.putPolicy(floor)
	mac := w.mac(macID)
	mac.enrol()
	before := w.device(macID)
	user := *mac
	user.user = userID
	want(t, "TokenUpdate", user.checkin(tokenUpdate("user")), http.StatusOK)

	const emptyToken = `"DeclarationsToken":"`
	tokens, its := user.ddm("tokens", nil), user.ddm("declaration-items", nil)
	want(t, "tokens", tokens, http.StatusOK)
	want(t, "declaration-items", its, http.StatusOK)
	var said declarations.SyncTokens
	check(t, json.Unmarshal([]byte(tokens.body), &said))
	if said.SyncTokens.DeclarationsToken == "" || said.SyncTokens.Timestamp != "2026-01-01T00:00:00Z" ||
		!strings.Contains(its.body, emptyToken+said.SyncTokens.DeclarationsToken) ||
		!strings.Contains(its.body, `"Activations":[],"Assets":[],"Configurations":[],"Management":[]`) {
		t.Errorf("tokens %s, items %s", tokens.body, its.body)
	}
	want(t, "a declaration", user.ddm("declaration/configuration/plimsoll.status", nil), http.StatusNotFound)
	want(t, "a malformed path", user.ddm("declaration/configuration", nil), http.StatusBadRequest)
	want(t, "an unknown endpoint", user.ddm("weather", nil), http.StatusBadRequest)
	a := user.ddm("status", []byte(`{"StatusItems":{"device":{"operating-system":{"version":"11.0"}}}}`))
	want(t, "status", a, http.StatusOK)
	if a.body != "" {
		t.Errorf("status was answered with %q", a.body)
	}
	want(t, "CheckOut", user.checkin(message{"MessageType": "CheckOut"}), http.StatusOK)
	want(t, "UserAuthenticate", user.checkin(message{"MessageType": "UserAuthenticate"}), http.StatusGone)
	after := w.device(macID)
	if !after.Enrolled || after.OS != before.OS || after.LastReportAt != nil {
		t.Errorf("the user channel changed the device: %+v", after)
	}
	want(t, "tokens of the device", mac.ddm("tokens", nil), http.StatusOK)
}

// Every one of these is answered 400, never 401 or 404, and changes nothing.
// circle is a binary property list, an array that contains itself: reading it never ends.
// An answer that is lost makes the Mac repeat its message, whatever was done of it.
// A chain that was verified once is not good for longer than its certificates.
// What is found is believed for 60 s, so that another replica's deletion takes effect by then.
func TestQueueIsOneCommandOfAKind(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	ctx := context.Background()
	for range 3 {
		check(t, w.db.Update(ctx, "mac/"+macID, w.queueAndAsk))
	}
	queue, err := w.nano.Queued(ctx, macID)
	check(t, err)
	kinds := map[string]int{}
	for _, q := range queue {
		kinds[q.RequestType]++
	}
	if kinds["DeclarativeManagement"] != 1 || kinds["DeviceInformation"] != 2 || len(queue) != 3 {
		t.Errorf("queued: %+v", queue)
	}
}

func (w *world) queueAndAsk(tx storage.Tx) error {
	return errors.Join(
		w.notifier.Queue(tx, macID, []byte(`{}`)),
		w.notifier.Query(tx, macID, "DeviceInformation", "OSVersion", "BuildVersion"),
		w.notifier.Query(tx, macID, "DeviceInformation", "BuildVersion", "OSVersion"),
		w.notifier.Query(tx, macID, "DeviceInformation", "SoftwareUpdateDeviceID"),
	)
}

// What a Mac was told is not outstanding any more once it answered the command with an error (rules 10): the next look tells it again.
func TestRefusedCommand(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	mac.ddm("status", fullReport("C02XYZ"))
	mac.ddm("declaration-items", nil)
	w.putPolicy(floor)
	check(t, w.fleet.Sweep(context.Background()))
	cmd := mac.next("", nil)
	for cmd != nil && cmd.Command.RequestType != "DeclarativeManagement" {
		cmd = mac.next(cmd.CommandUUID, nil)
	}
	if cmd == nil {
		t.Fatal("the Mac is not told of the policy")
	}
	if again := mac.next(cmd.CommandUUID, message{"Status": "Error", "ErrorChain": []any{}}); again != nil {
		t.Errorf("the same answer told the Mac again: %+v", again)
	}
	mac.ddm("status", []byte(`{"StatusItems":{"softwareupdate":{"install-state":"none"}},"Errors":[]}`))
	again := mac.next("", nil)
	if again == nil || again.Command.RequestType != "DeclarativeManagement" || again.CommandUUID == cmd.CommandUUID {
		t.Errorf("after the refusal the next look queued %+v", again)
	}
	if third := mac.next(again.CommandUUID, nil); third != nil {
		t.Errorf("one command more: %+v", third)
	}
}
