package nano_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

func command(uuid, requestType string) *mdm.Command {
	cmd := &mdm.Command{CommandUUID: uuid, Raw: []byte("<plist>" + uuid + " " + requestType + "</plist>")}
	cmd.Command.RequestType = requestType
	return cmd
}

func answer(uuid, status string) *mdm.CommandResults {
	return &mdm.CommandResults{CommandUUID: uuid, Status: status, Raw: []byte("<plist>\n" + uuid + " " + status + "\n</plist>")}
}

// next is what a Mac gets when it asks: the UUID, "" for nothing. The rest of the command is checked on the way.
func next(t *testing.T, s *nano.Store, id string, skipNotNow bool) string {
	t.Helper()
	cmd, err := s.RetrieveNextCommand(request(id), skipNotNow)
	ok(t, err)
	if cmd == nil {
		return ""
	}
	if diff := cmp.Diff(command(cmd.CommandUUID, cmd.Command.RequestType), cmd); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	return cmd.CommandUUID
}

func queued(t *testing.T, s *nano.Store, id string) string {
	t.Helper()
	queue, err := s.Queued(context.Background(), id)
	ok(t, err)
	var uuids []string
	for _, q := range queue {
		uuids = append(uuids, q.UUID)
	}
	return strings.Join(uuids, " ")
}

// TestQueue is a table of what a Mac says, and what it gets then.
func TestQueue(t *testing.T) {
	const ddm, info = "DeclarativeManagement", "DeviceInformation"
	type step struct {
		enqueue [2]string // UUID and type, or
		say     [2]string // UUID and status
		get     string    // the command that the Mac gets
	}
	enq := func(uuid, typ string) step { return step{enqueue: [2]string{uuid, typ}} }
	say := func(uuid, status, get string) step { return step{say: [2]string{uuid, status}, get: get} }
	for _, tc := range []struct {
		name    string
		steps   []step
		queued  string
		results string // the last queued first
	}{
		{"in order", []step{
			enq("a", info), enq("b", info), say("", "Idle", "a"), say("", "Idle", "a"),
			say("a", "Acknowledged", "b"), enq("c", info), say("b", "Acknowledged", "c"), say("c", "Acknowledged", ""), say("", "Idle", ""),
		}, "", "c Acknowledged, b Acknowledged, a Acknowledged"},
		{"errors are answers", []step{
			enq("a", info), enq("b", info), say("a", "Error", "b"), say("b", "CommandFormatError", ""),
		}, "", "b CommandFormatError, a Error"},
		{"NotNow is passed over until the Mac asks again, and keeps its place", []step{
			enq("a", info), enq("b", info), enq("c", info), say("", "Idle", "a"), say("a", "NotNow", "b"), say("b", "NotNow", "c"),
			say("c", "Acknowledged", "a"), say("a", "NotNow", ""), enq("d", info), say("a", "NotNow", "d"), say("", "Idle", "a"), say("a", "Acknowledged", "b"),
		}, "b d", "c Acknowledged, a Acknowledged"},
		{"a declarative command takes the place of a queued one", []step{
			enq("t1", ddm), enq("a", info), enq("t2", ddm), enq("t3", ddm), say("", "Idle", "a"), say("a", "Acknowledged", "t3"),
		}, "t3", "a Acknowledged"},
		{"also of one that the Mac has already, whose answer is accepted", []step{
			enq("t1", ddm), say("", "Idle", "t1"), enq("t2", ddm), say("t1", "Acknowledged", "t2"), say("t2", "Acknowledged", ""),
		}, "", "t2 Acknowledged"},
		{"also of one answered NotNow", []step{
			enq("t1", ddm), say("t1", "NotNow", ""), enq("t2", ddm), say("t1", "NotNow", "t2"),
		}, "t2", ""},
		{"unknown answers are accepted", []step{
			enq("a", info), say("x", "Acknowledged", "a"), say("x", "NotNow", "a"), say("a", "Acknowledged", ""), say("a", "Acknowledged", ""), say("a", "NotNow", ""),
		}, "", "a Acknowledged"},
		{"the same command twice is queued once", []step{
			enq("a", info), enq("b", info), enq("a", info), say("a", "Acknowledged", "b"),
		}, "b", "a Acknowledged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, db storage.DB) {
				for _, id := range []string{mac, user} {
					c := newClock()
					s := nano.New(db, nano.WithClock(c.now))
					enrol(t, s, mac, user)
					for i, st := range tc.steps {
						c.add(time.Second)
						if st.enqueue[0] != "" {
							ok(t, s.Enqueue(context.Background(), id, command(st.enqueue[0], st.enqueue[1])))
							continue
						}
						ok(t, s.StoreCommandReport(request(id), answer(st.say[0], st.say[1])))
						if got := next(t, s, id, st.say[1] == "NotNow"); got != st.get {
							t.Errorf("step %d, %v: got command %q, want %q", i, st.say, got, st.get)
						}
					}
					if got := queued(t, s, id); got != tc.queued {
						t.Errorf("queued: got %q, want %q", got, tc.queued)
					}
					results, err := answered(context.Background(), s, id, 100)
					ok(t, err)
					var got []string
					for _, res := range results {
						got = append(got, res.UUID+" "+res.Status)
						if want := answer(res.UUID, res.Status).Raw; string(res.Raw) != string(want) {
							t.Errorf("raw answer: got %q, want %q", res.Raw, want)
						}
					}
					if got := strings.Join(got, ", "); got != tc.results {
						t.Errorf("results: got %q, want %q", got, tc.results)
					}
				}
			})
		})
	}
}

// TestEnqueueTx: a command is queued in the commit of those who ask for it, or not at all.
func TestEnqueueTx(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		enrol(t, s, mac)
		tell := func(uuid string, err error) error {
			return db.Update(context.Background(), storage.MacPartition(mac), func(tx storage.Tx) error {
				tx.Set("x", []byte(uuid))
				return errors.Join(s.EnqueueTx(tx, mac, command(uuid, "DeclarativeManagement")), err)
			})
		}
		ok(t, tell("t1", nil))
		ok(t, tell("t2", nil))
		wantErr(t, tell("t3", storage.ErrConflict), storage.ErrConflict)
		if got := get(t, db, storage.MacPartition(mac), "x"); got != "t2" {
			t.Errorf("the caller's key: got %q, want t2", got)
		}
		if got := queued(t, s, mac); got != "t2" {
			t.Errorf("queued: got %q, want t2", got)
		}
		if got := next(t, s, mac, false); got != "t2" {
			t.Errorf("command: got %q, want t2", got)
		}
	})
}

// TestQueueKeys: nothing stays behind when a queue has been worked off.
func TestQueueKeys(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		c := newClock()
		s := nano.New(db, nano.WithClock(c.now))
		enrol(t, s, mac, mac+":a/b")
		for _, id := range []string{mac, mac + ":a/b"} {
			ok(t, s.EnqueueDeclarative(ctx, id, "t1", []byte("one")))
			ok(t, s.EnqueueDeclarative(ctx, id, "t2", []byte("two")))
			ok(t, s.Enqueue(ctx, id, command("u", "DeviceInformation")))
		}
		want := []string{
			"n/e", "n/e:a%2Fb",
			"n/q/-", "n/q/000000000002", "n/q/000000000003",
			"n/q:a%2Fb/-", "n/q:a%2Fb/000000000002", "n/q:a%2Fb/000000000003",
		}
		if diff := cmp.Diff(want, keys(t, db, storage.MacPartition(mac))); diff != "" {
			t.Errorf("queued (-want +got):\n%s", diff)
		}
		if got, want := get(t, db, storage.MacPartition(mac), "n/q/-"),
			`[{"n":2,"uuid":"t2","type":"DeclarativeManagement","at":"2026-11-02T09:00:00Z"},{"n":3,"uuid":"u","type":"DeviceInformation","at":"2026-11-02T09:00:00Z"}]`; got != want {
			t.Errorf("directory:\n got %s\nwant %s", got, want)
		}
		c.add(time.Second)
		for _, id := range []string{mac, mac + ":a/b"} {
			ok(t, s.StoreCommandReport(request(id), answer("t2", "Acknowledged")))
			ok(t, s.StoreCommandReport(request(id), answer("u", "Acknowledged")))
		}
		want = []string{
			"n/e", "n/e:a%2Fb",
			"n/r/1793610001000/t2", "n/r/1793610001000/u", "n/r/1793610001000:a%2Fb/t2", "n/r/1793610001000:a%2Fb/u",
		}
		if diff := cmp.Diff(want, keys(t, db, storage.MacPartition(mac))); diff != "" {
			t.Errorf("answered (-want +got):\n%s", diff)
		}
	})
}

func TestEnqueueRefused(t *testing.T) {
	ctx := context.Background()
	db := newBolt(t)
	s := nano.New(db)
	enrol(t, s, mac)
	ok(t, s.Enqueue(ctx, mac, command("u1", "DeviceInformation")))
	noRaw := command("u2", "DeviceInformation")
	noRaw.Raw = nil
	for _, tc := range []struct {
		name string
		id   string
		cmd  *mdm.Command
		want error
	}{
		{"no command", mac, nil, storage.ErrInvalid},
		{"no plist", mac, noRaw, storage.ErrInvalid},
		{"no UUID", mac, command("", "DeviceInformation"), storage.ErrInvalid},
		{"a UUID of two lines", mac, command("a\nb", "DeviceInformation"), storage.ErrInvalid},
		{"a UUID that is not text", mac, command("\xff", "DeviceInformation"), storage.ErrInvalid},
		{"an endless UUID", mac, command(strings.Repeat("u", 129), "DeviceInformation"), storage.ErrInvalid},
		{"no type", mac, command("u2", ""), storage.ErrInvalid},
		{"no id", "", command("u2", "DeviceInformation"), storage.ErrInvalid},
		{"no such Mac", other, command("u2", "DeviceInformation"), storage.ErrNotFound},
		{"no such user", user, command("u2", "DeviceInformation"), storage.ErrNotFound},
		{"the UUID of another command", mac, command("u1", "ProfileList"), storage.ErrConflict},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantErr(t, s.Enqueue(ctx, tc.id, tc.cmd), tc.want)
			errs, err := s.EnqueueCommand(ctx, []string{tc.id}, tc.cmd)
			if err == nil {
				err = errs[tc.id]
			}
			wantErr(t, err, tc.want)
			wantErr(t, db.Update(ctx, storage.MacPartition(tc.id), func(tx storage.Tx) error {
				return s.EnqueueTx(tx, tc.id, tc.cmd)
			}), tc.want)
		})
	}
	if got := queued(t, s, mac); got != "u1" {
		t.Errorf("queued: got %q, want u1", got)
	}
	_, err := s.EnqueueCommand(ctx, nil, command("u2", "DeviceInformation"))
	wantErr(t, err, storage.ErrInvalid)
	wantErr(t, s.StoreCommandReport(request(mac), answer("", "Error")), storage.ErrInvalid)
}

func TestQueueIsBounded(t *testing.T) {
	ctx := context.Background()
	db := newBolt(t)
	s := nano.New(db)
	enrol(t, s, mac)
	full := make([]nano.QueuedCommand, 1000)
	for i := range full {
		full[i] = nano.QueuedCommand{Number: uint64(i + 1), UUID: fmt.Sprint(i), RequestType: "DeviceInformation"}
	}
	directory, err := json.Marshal(full)
	ok(t, err)
	ok(t, db.Update(ctx, storage.MacPartition(mac), func(tx storage.Tx) error {
		tx.Set("n/q/-", directory)
		return nil
	}))
	wantErr(t, s.Enqueue(ctx, mac, command("one more", "DeviceInformation")), storage.ErrConflict)
	ok(t, s.StoreCommandReport(request(mac), answer("0", "Acknowledged")))
	ok(t, s.EnqueueDeclarative(ctx, mac, "t1", []byte("raw")))
	ok(t, s.EnqueueDeclarative(ctx, mac, "t2", []byte("raw")))
}

func TestEnqueueMany(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		var ids []string
		for i := range 100 {
			ids = append(ids, fmt.Sprintf("MAC-%02d", i))
		}
		enrol(t, s, ids...)
		errs, err := s.EnqueueCommand(context.Background(), append([]string{"MAC-NONE", "MAC-00", "b/d"}, ids...), command("u", "DeviceInformation"))
		ok(t, err)
		if len(errs) != 2 {
			t.Errorf("errors: got %v, want two", errs)
		}
		wantErr(t, errs["MAC-NONE"], storage.ErrNotFound)
		wantErr(t, errs["b/d"], storage.ErrInvalid)
		for _, id := range ids {
			if got := queued(t, s, id); got != "u" {
				t.Errorf("%s: queued %q, want u", id, got)
			}
		}
	})
}

// TestFiftyOfFifty: commands queued at once by many, for one Mac that works them off meanwhile, all arrive, once.
func TestFiftyOfFifty(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		enrol(t, s, mac)
		const n = 50
		errs := make([]error, n)
		var wg sync.WaitGroup
		queuedAll := make(chan struct{})
		for i := range n {
			wg.Go(func() {
				errs[i] = second(s.EnqueueCommand(context.Background(), []string{mac}, command(fmt.Sprintf("u%02d", i), "DeviceInformation")))
			})
		}
		go func() { wg.Wait(); close(queuedAll) }()
		var got []string
		for last := false; ; {
			uuid := next(t, s, mac, false)
			if uuid != "" {
				got = append(got, uuid)
				ok(t, s.StoreCommandReport(request(mac), answer(uuid, "Acknowledged")))
				continue
			}
			if last {
				break
			}
			select {
			case <-queuedAll:
				last = true // one more look, now that nothing is added
			default:
			}
		}
		for i, err := range errs {
			if err != nil {
				t.Errorf("command %d: %v", i, err)
			}
		}
		slices.Sort(got)
		if len(got) != n || len(slices.Compact(got)) != n {
			t.Errorf("%d commands arrived, want %d different ones: %v", len(got), n, got)
		}
		results, err := answered(context.Background(), s, mac, 2*n)
		ok(t, err)
		if len(results) != n {
			t.Errorf("%d results, want %d", len(results), n)
		}
	})
}

// TestOneDeclarative: however many tell a Mac at once, one command is queued.
func TestOneDeclarative(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		enrol(t, s, mac)
		ok(t, s.Enqueue(context.Background(), mac, command("u", "DeviceInformation")))
		errs := make([]error, 20)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				errs[i] = s.EnqueueDeclarative(context.Background(), mac, fmt.Sprintf("t%02d", i), []byte("raw"))
			})
		}
		wg.Wait()
		for _, err := range errs {
			ok(t, err)
		}
		queue, err := s.Queued(context.Background(), mac)
		ok(t, err)
		if len(queue) != 2 || queue[0].UUID != "u" || queue[1].RequestType != "DeclarativeManagement" {
			t.Errorf("queued: %+v, want u and one declarative command", queue)
		}
		if got := len(keys(t, db, storage.MacPartition(mac))); got != 4 { // record, directory, two commands
			t.Errorf("%d keys, want 4", got)
		}
	})
}

func TestClearQueue(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		for _, tc := range []struct {
			name  string
			clear func() error
			want  map[string]string
		}{
			{"of a user", func() error { return s.ClearQueue(request(user)) }, map[string]string{mac: "u v", user: "", mac + ":bob": "u v", other: "u v"}},
			{"of a device", func() error { return s.ClearQueue(request(mac)) }, map[string]string{mac: "", user: "", mac + ":bob": "", other: "u v"}},
			{"by Authenticate", func() error { return s.StoreAuthenticate(request(mac), &mdm.Authenticate{}) }, map[string]string{mac: "", user: "", mac + ":bob": "", other: "u v"}},
		} {
			t.Run(tc.name, func(t *testing.T) {
				enrol(t, s, mac, user, mac+":bob", other)
				for id := range tc.want {
					ok(t, s.Enqueue(context.Background(), id, command("u", "DeviceInformation")))
					ok(t, s.Enqueue(context.Background(), id, command("v", "DeviceInformation")))
				}
				ok(t, tc.clear())
				for id, want := range tc.want {
					if got := queued(t, s, id); got != want {
						t.Errorf("%s: queued %q, want %q", id, got, want)
					}
				}
			})
		}
	})
}

func TestResults(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		c := newClock()
		s := nano.New(db, nano.WithClock(c.now))
		enrol(t, s, mac, user)
		begin := c.t
		const n = 150 // more than one page
		for i := range n {
			id := mac
			if i%10 == 0 {
				id = user
			}
			uuid := fmt.Sprintf("u%03d", i)
			ok(t, s.Enqueue(ctx, id, command(uuid, "DeviceInformation")))
			c.add(time.Minute)
			ok(t, s.StoreCommandReport(request(id), answer(uuid, "Acknowledged")))
		}
		results, err := answered(ctx, s, user, 2)
		ok(t, err)
		want := []nano.Result{
			{UUID: "u140", RequestType: "DeviceInformation", Status: "Acknowledged", Queued: begin.Add(140 * time.Minute), At: begin.Add(141 * time.Minute), Raw: answer("u140", "Acknowledged").Raw},
			{UUID: "u130", RequestType: "DeviceInformation", Status: "Acknowledged", Queued: begin.Add(130 * time.Minute), At: begin.Add(131 * time.Minute), Raw: answer("u130", "Acknowledged").Raw},
		}
		if diff := cmp.Diff(want, results); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
		count := func(id string, want int) {
			t.Helper()
			if got, err := answered(ctx, s, id, 1000); len(got) != want || err != nil {
				t.Errorf("%s: got %d results, %v, want %d", id, len(got), err, want)
			}
		}
		count(user, 15)
		count(mac, 135)
		for _, sweep := range []struct {
			name      string
			olderThan time.Time
			want      int
		}{
			{"nothing is that old", begin, 0},
			{"an answer of that very moment stays", begin.Add(1 * time.Minute), 0},
			{"a moment later", begin.Add(1*time.Minute + time.Millisecond), 1},
			{"more than a page", begin.Add(101 * time.Minute), 99},
			{"again", begin.Add(101 * time.Minute), 0},
			{"all", begin.Add(24 * time.Hour), 50},
		} {
			if got, err := s.SweepResults(ctx, mac, sweep.olderThan); got != sweep.want || err != nil {
				t.Errorf("sweep, %s: got %d, %v, want %d", sweep.name, got, err, sweep.want)
			}
		}
		count(user, 0)
		count(mac, 0)
	})
}

// TestWithdrawTx: a command is taken out of the queue in the commit of those who ask for it; one that does not wait is no error.
func TestWithdrawTx(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		s := nano.New(db)
		enrol(t, s, mac)
		for _, uuid := range []string{"a", "b", "c"} {
			ok(t, s.Enqueue(context.Background(), mac, command(uuid, "ScheduleOSUpdate")))
		}
		for _, step := range []struct{ uuid, left string }{{"b", "a c"}, {"b", "a c"}, {"x", "a c"}, {"a", "c"}, {"c", ""}} {
			ok(t, db.Update(context.Background(), storage.MacPartition(mac), func(tx storage.Tx) error {
				return s.WithdrawTx(tx, mac, step.uuid)
			}))
			if got := queued(t, s, mac); got != step.left {
				t.Errorf("without %s there wait %q, want %q", step.uuid, got, step.left)
			}
		}
	})
}
