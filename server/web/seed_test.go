package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/server/fleet"
)

// hardware is what the seeded Macs are.
var hardware = []mac{
	{model: "Mac14,2", modelName: "MacBook Air (M2, 2022)", board: "J413AP"},
	{model: "Mac15,12", modelName: "MacBook Air (13-inch, M3, 2024)", board: "J613AP"},
	{model: "Mac14,9", modelName: "MacBook Pro (14-inch, M2 Pro, 2023)", board: "J414sAP"},
	{model: "Mac14,3", modelName: "Mac mini (M2, 2023)", board: "J473AP"},
}

// runs is what they run, and in which number.
var runs = []struct {
	version, build string
	n              int
}{
	{"26.6.2", "25G83", 31}, {"26.6.1", "25G76", 14}, {"26.5", "25F71", 6}, {"15.7.9", "24G830", 5}, {"15.7.7", "24G720", 3}, {"13.7.7", "22H722", 1}, {"", "", 1},
}

// seed makes a fleet that shows everything: all the states that there are, two policies, groups, a hold and a history.
func (w *world) seed() {
	w.t.Helper()
	ctx := context.Background()
	n := 0
	for _, r := range runs {
		for range r.n {
			m := hardware[n%len(hardware)]
			n++
			m.id, m.serial, m.version, m.build = fmt.Sprintf("MAC-%03d", n), fmt.Sprintf("C02XK%03dMD6", n), r.version, r.build
			m.name = []string{"Ada’s MacBook", "Studio", "Empfang", "Büro", "Lab"}[n%5] + fmt.Sprintf(" %d", n)
			if r.version == "" {
				w.must(w.Authenticate(ctx, m.id, m.checkIn()))
				w.must(w.TokenUpdate(ctx, m.id, "com.apple.mgmt.External.1"))
				continue
			}
			w.enrol(m)
		}
	}
	o := fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true}
	_, _, _, err := w.PutGroup(ctx, "eng", []string{"C02XK040MD6", "C02XK041MD6", "C02XK046MD6", "C02XK047MD6", "C02XK001MD6", "NOTYET000001"}, o)
	w.must(err)
	_, _, _, err = w.PutGroup(ctx, "lab", []string{"C02XK050MD6", "C02XK051MD6"}, o)
	w.must(err)
	w.put(`{"name":"everyone","label":"All Macs","priority":10,"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"time":"12:00"},"background_security":{"mode":"automatic","within_days":2},"notice_days":5,"details_url":"self","delay":{"max_hours":8}}`)
	w.put(`{"name":"engineering","label":"Engineering Macs","priority":100,"assign":{"groups":["eng"]},"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"minimum","version":"26.6.2","deadline":"2026-08-26T12:00:00"},"delay":{"max_hours":8},"details_url":"self"}`)
	w.put(`{"name":"lab","label":"The lab","priority":200,"assign":{"groups":["lab"]},"updates":{"mode":"none"}}`)
	_, _, _, err = w.PutHold(ctx, "15.7.9", "printer drivers fail after it, see ticket 4711", true, nil, o)
	w.must(err)
	for i := 1; i < n; i++ {
		w.settle(fmt.Sprintf("MAC-%03d", i))
	}
	w.pass(51 * time.Hour)
	for i := 1; i < n-4; i++ {
		w.settle(fmt.Sprintf("MAC-%03d", i))
	}
	const pending = `"pending-version":{"os-version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`
	w.report("MAC-048", `{"StatusItems":{"softwareupdate":{"install-state":"failed","failure-reason":{"count":3,"reason":"[MSU_ERR_NOT_ENOUGH_SPACE] 4.2 GB of free disk space are needed","timestamp":"2026-08-26T07:12:00Z"},`+pending)
	w.report("MAC-033", `{"StatusItems":{"softwareupdate":{"install-state":"downloading",`+pending)
	for i := 34; i < 38; i++ {
		w.report(fmt.Sprintf("MAC-%03d", i), `{"StatusItems":{"softwareupdate":{"install-state":"prepared",`+pending)
	}
	w.report("MAC-038", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
	w.commands("MAC-048")
	w.history()
	w.must(w.enrolled())
}

// commands sends a Mac five commands: it takes the first and the second, refuses the third, cannot take the fourth now, and has
// not seen the fifth.
func (w *world) commands(id string) {
	w.t.Helper()
	r := mdm.NewRequestWithContext(context.Background(), nil)
	r.EnrollID = &mdm.EnrollID{Type: mdm.Device, ID: id}
	w.must(w.nano.StoreAuthenticate(r, &mdm.Authenticate{}))
	w.must(w.nano.StoreTokenUpdate(r, &mdm.TokenUpdate{Push: mdm.Push{Topic: "t", PushMagic: "m", Token: []byte{1}}}))
	for i, c := range []struct{ kind, status, answer string }{
		{"DeviceInformation", "Acknowledged", `<key>QueryResponses</key><dict><key>OSVersion</key><string>26.6.1</string><key>UnlockToken</key><data>AAAA</data></dict>`},
		{"DeclarativeManagement", "Acknowledged", ""},
		{"ScheduleOSUpdate", "Error", `<key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>12021</integer><key>ErrorDomain</key><string>MCMDMErrorDomain</string><key>USEnglishDescription</key><string>“ScheduleOSUpdate” is not a valid request <b>type</b></string></dict></array>`},
		{"InstalledApplicationList", "NotNow", ""},
		{"SecurityInfo", "", ""},
	} {
		cmd := &mdm.Command{CommandUUID: fmt.Sprintf("C-%d", i+1), Raw: []byte("<plist/>")}
		cmd.Command.RequestType = c.kind
		w.must(w.nano.Enqueue(context.Background(), id, cmd))
		if c.status != "" {
			raw := []byte(`<plist version="1.0"><dict><key>Status</key><string>` + c.status + `</string>` + c.answer + `</dict></plist>`)
			w.must(w.nano.StoreCommandReport(r, &mdm.CommandResults{CommandUUID: cmd.CommandUUID, Status: c.status, Raw: raw}))
		}
	}
}

// history keeps rows of earlier days.
func (w *world) history() {
	w.t.Helper()
	for i := 12; i >= 1; i-- {
		day := w.now().AddDate(0, 0, -i).Format(time.DateOnly)
		row := map[string]any{"all": map[string]any{
			"date": day, "devices": 60, "versions": map[string]int{"26.6.2": max(0, 33-4*i), "26.6.1": 16 + 3*i, "26.5": 10 + i, "15.7.9": max(0, 6-2*i), "15.7.7": 3 + 2*i},
		}}
		b, err := json.Marshal(row)
		w.must(err)
		w.must(w.store.SetDay(context.Background(), day, b))
	}
}

// enrolled looks once at the numbers, so that a seed that went wrong is noticed at once.
func (w *world) enrolled() error {
	c, err := w.Compliance(context.Background())
	if err == nil && c.Devices != 61 {
		err = fmt.Errorf("%d Macs are enrolled, want 61", c.Devices)
	}
	return err
}
