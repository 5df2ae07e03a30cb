package commandlog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/commandlog"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/nano"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

const mac = "66ADE930-5FDF-5EC4-8429-15640684C489"

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a Mac's records in NanoMDM's storage, with the log over them.
type rig struct {
	t     *testing.T
	store *nano.Store
	log   *commandlog.Log
	now   time.Time
}

// onEach runs fn on every database.
func onEach(t *testing.T, fn func(*rig)) {
	t.Helper()
	open := func(db storage.DB, err error) func(*testing.T) {
		return func(t *testing.T) {
			ok(t, err)
			t.Cleanup(func() { ok(t, db.Close()) })
			r := &rig{t: t, now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
			r.store = nano.New(db, nano.WithClock(func() time.Time { return r.now }))
			r.log = commandlog.New(r.store)
			ok(t, r.store.StoreAuthenticate(request(mac), &mdm.Authenticate{SerialNumber: "C02ABC"}))
			ok(t, r.store.StoreTokenUpdate(request(mac), &mdm.TokenUpdate{Push: mdm.Push{Topic: "t", PushMagic: "m", Token: []byte{1}}}))
			fn(r)
		}
	}
	file, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
	t.Run("bolt", open(file, err))
	server, err := redis.Open(context.Background(), storagetest.RedisServer(t).URL())
	t.Run("redis", open(server, err))
}

func request(id string) *mdm.Request {
	r := mdm.NewRequestWithContext(context.Background(), nil)
	r.EnrollID = &mdm.EnrollID{Type: mdm.Device, ID: id}
	return r
}

func (r *rig) queue(uuid, requestType string) {
	r.t.Helper()
	r.now = r.now.Add(time.Minute)
	cmd := &mdm.Command{CommandUUID: uuid, Raw: []byte("<plist>" + uuid + "</plist>")}
	cmd.Command.RequestType = requestType
	ok(r.t, r.store.Enqueue(context.Background(), mac, cmd))
}

func (r *rig) answer(uuid, status, raw string) {
	r.t.Helper()
	r.now = r.now.Add(time.Second)
	ok(r.t, r.store.StoreCommandReport(request(mac), &mdm.CommandResults{CommandUUID: uuid, Status: status, Raw: []byte(raw)}))
}

func (r *rig) command(uuid string) (fleet.CommandAnswer, map[string]any) {
	r.t.Helper()
	c, err := r.log.Command(context.Background(), mac, uuid)
	ok(r.t, err)
	var answer map[string]any
	ok(r.t, json.Unmarshal(c.Answer, &answer))
	return c, answer
}

// sample is an answer of a real device.
func sample(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../../declarations/command/testdata/" + name)
	ok(t, err)
	return string(b)
}

func plistOf(values string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict>` + values + `</dict></plist>`
}

// The log says of each command when it was queued and answered, and with what; of one that waits, whether the Mac said NotNow.
func TestLog(t *testing.T) {
	onEach(t, func(r *rig) {
		r.queue("a", "DeviceInformation")
		r.answer("a", "Acknowledged", sample(t, "deviceinformation-13.0-vm.plist"))
		r.queue("b", "ScheduleOSUpdate")
		r.answer("b", "NotNow", "")
		r.queue("c", "RemoveProfile")
		r.answer("c", "Error", plistOf(`<key>ErrorChain</key><array>
			<dict><key>ErrorCode</key><integer>89</integer><key>ErrorDomain</key><string>MDMClientError</string>
				<key>LocalizedDescription</key><string>Profil fehlt</string><key>USEnglishDescription</key><string>Profile is missing</string></dict>
			<dict><key>ErrorCode</key><integer>-7</integer><key>ErrorDomain</key><string>Other</string>
				<key>LocalizedDescription</key><string>`+strings.Repeat("lang ", 2000)+`</string></dict></array>`))
		r.queue("d", "DeviceInformation")

		list, next, err := r.log.Commands(context.Background(), mac, "", 10)
		ok(t, err)
		var got []string
		for _, c := range list {
			answered := "waits"
			if c.AnsweredAt != nil {
				answered = c.AnsweredAt.Format("15:04:05")
			}
			got = append(got, fmt.Sprintf("%s %s %s %s %s %d", c.UUID, c.RequestType, c.QueuedAt.Format("15:04:05"), answered, c.Status, len(c.Errors)))
		}
		want := []string{
			"d DeviceInformation 09:04:03 waits Queued 0",
			"c RemoveProfile 09:03:02 09:03:03 Error 2",
			"b ScheduleOSUpdate 09:02:01 waits NotNow 0",
			"a DeviceInformation 09:01:00 09:01:01 Acknowledged 0",
		}
		if !slices.Equal(got, want) || next != "" {
			t.Errorf("the log:\n%s\nwant\n%s\nnext %q", strings.Join(got, "\n"), strings.Join(want, "\n"), next)
		}
		if e := list[1].Errors; e[0] != (fleet.ChainError{Code: 89, Domain: "MDMClientError", Description: "Profile is missing"}) ||
			e[1].Code != -7 || len(e[1].Description) != 10000 {
			t.Errorf("Apple's words are %+v", e)
		}
		waiting, err := r.log.Command(context.Background(), mac, "d")
		ok(t, err)
		if string(waiting.Answer) != "null" || waiting.LeftOut == nil || waiting.AnsweredAt != nil {
			t.Errorf("one that waits: %+v", waiting)
		}
		if _, err := r.log.Command(context.Background(), mac, "e"); !errors.Is(err, fleet.ErrNotFound) {
			t.Errorf("one that was never sent: %v", err)
		}
	})
}

// Answers of real Macs are shown whole: nothing in them is secret, though names in them speak of tokens and keys.
func TestRealAnswers(t *testing.T) {
	onEach(t, func(r *rig) {
		for _, s := range []struct {
			file  string
			path  []string
			value any
		}{
			{"deviceinformation-13.0-vm.plist", []string{"QueryResponses", "BuildVersion"}, "22A5321d"},
			{"deviceinformation-13.0-vm.plist", []string{"QueryResponses", "DeviceCapacity"}, 29.0},
			{"deviceinformation-13.0-vm.plist", []string{"QueryResponses", "IsSupervised"}, true},
			{"securityinfo-13-vm.plist", []string{"SecurityInfo", "BootstrapTokenAllowedForAuthentication"}, "disallowed"},
			{"securityinfo-13-vm.plist", []string{"SecurityInfo", "FDE_HasPersonalRecoveryKey"}, true},
			{"scheduleosupdate-error-12008.plist", []string{"UpdateResults", "0", "ErrorChain", "0", "ErrorCode"}, 12008.0},
			{"scheduleosupdate-error-12008.plist", []string{"UpdateResults", "0", "ProductKey"}, "_OSX_18A391"},
		} {
			r.queue(s.file, "Any")
			r.answer(s.file, "Acknowledged", sample(t, s.file))
			c, answer := r.command(s.file)
			if len(c.LeftOut) != 0 {
				t.Errorf("%s: left out %v", s.file, c.LeftOut)
			}
			var at any = answer
			for _, key := range s.path {
				if list, isList := at.([]any); isList {
					at = list[int(key[0]-'0')]
				} else {
					at = at.(map[string]any)[key]
				}
			}
			if at != s.value {
				t.Errorf("%s: %v is %v, want %v", s.file, s.path, at, s.value)
			}
		}
	})
}

// What opens a Mac, and all binary data, is left out, and the answer says where it stood.
func TestSecretsAreLeftOut(t *testing.T) {
	const raw = `<key>Status</key><string>Acknowledged</string>
		<key>UnlockToken</key><data>c2VjcmV0</data>
		<key>ActivationLockBypassCode</key><string>secret</string>
		<key>RotateResult</key><dict><key>EncryptedNewRecoveryKey</key><data>c2VjcmV0</data><key>NewRecoveryKey</key><string>secret</string></dict>
		<key>SecurityInfo</key><dict><key>FDE_PersonalRecoveryKeyCMS</key><data>c2VjcmV0</data><key>FDE_HasPersonalRecoveryKey</key><true/>
			<key>PasscodePresent</key><true/><key>FDE_PersonalRecoveryKeyDeviceKey</key><string>F5KMN0000000</string></dict>
		<key>ProfileList</key><array><dict><key>PayloadContent</key><array><dict><key>a/b~c</key><dict><key>Password</key><string>secret</string></dict>
			<key>PIN</key><integer>1234</integer><key>UserCredentials</key><dict><key>Name</key><string>secret</string></dict></dict></array></dict></array>
		<key>CertificateList</key><array><dict><key>CommonName</key><string>Root</string><key>Data</key><data>c2VjcmV0</data></dict></array>
		<key>At</key><date>2026-11-02T09:00:00Z</date><key>Size</key><integer>18446744073709551615</integer><key>Odd</key><real>nan</real>`
	want := []string{
		"/ActivationLockBypassCode", "/CertificateList/0/Data", "/ProfileList/0/PayloadContent/0/PIN",
		"/ProfileList/0/PayloadContent/0/UserCredentials/Name", "/ProfileList/0/PayloadContent/0/a~1b~0c/Password",
		"/RotateResult/EncryptedNewRecoveryKey", "/RotateResult/NewRecoveryKey", "/SecurityInfo/FDE_PersonalRecoveryKeyCMS", "/UnlockToken",
	}
	onEach(t, func(r *rig) {
		r.queue("a", "Any")
		r.answer("a", "Acknowledged", plistOf(raw))
		c, answer := r.command("a")
		if !slices.Equal(c.LeftOut, want) {
			t.Errorf("left out\n%s\nwant\n%s", strings.Join(c.LeftOut, "\n"), strings.Join(want, "\n"))
		}
		text := string(c.Answer)
		for _, hidden := range []string{"secret", "c2VjcmV0", "1234"} {
			if strings.Contains(text, hidden) {
				t.Errorf("%q is shown: %s", hidden, text)
			}
		}
		for _, seen := range []string{`"FDE_HasPersonalRecoveryKey":true`, `"PasscodePresent":true`, `"CommonName":"Root"`, `"At":"2026-11-02T09:00:00Z"`, `"Size":18446744073709551615`, `"Odd":"NaN"`} {
			if !strings.Contains(text, seen) {
				t.Errorf("%s is not shown: %s", seen, text)
			}
		}
		if answer["Status"] != "Acknowledged" {
			t.Errorf("the status is %v", answer["Status"])
		}
	})
}

// An answer that cannot be read any more is said, with the command, and an ErrorChain of another form has no words.
func TestUnreadableAnswers(t *testing.T) {
	onEach(t, func(r *rig) {
		r.queue("a", "Any")
		r.answer("a", "Error", "not a property list")
		list, _, err := r.log.Commands(context.Background(), mac, "", 10)
		ok(t, err)
		if len(list) != 1 || list[0].Errors == nil || len(list[0].Errors) != 0 {
			t.Errorf("listed: %+v", list)
		}
		if _, err := r.log.Command(context.Background(), mac, "a"); err == nil || !strings.Contains(err.Error(), "command a of "+mac) {
			t.Errorf("shown: %v", err)
		}
	})
}
