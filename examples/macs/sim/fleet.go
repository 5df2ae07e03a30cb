package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Until says when a fleet has run long enough.
type Until string

// The ends that a fleet can have beside its context's.
const (
	UntilStopped   Until = ""
	UntilIdle      Until = "idle"      // every well Mac is enrolled, synced, and has nothing left to do
	UntilCompliant Until = "compliant" // the same, and at least one update was installed
)

// FleetOptions is what a fleet needs. Options.Now and Options.Pace follow from Speed and Poll when they are left out.
type FleetOptions struct {
	Options
	N         int
	Seed      uint64
	Eager     float64       // share of Macs whose users install at once
	Misbehave string        // see assignFaults
	StateDir  string        // keeps identities and states; empty: nothing is kept
	Poll      time.Duration // between two looks at the command queue, in real time
	Speed     float64       // how many times faster than real the Macs' clocks run
	Parallel  int           // requests at once; left out: 64
	Until     Until
}

// Fleet runs many Macs.
type Fleet struct {
	opt   FleetOptions
	macs  []*member
	start time.Time
	base  time.Time // what the Macs' clocks showed then
	slots chan struct{}
	// enrolling bounds how many make keys at once: that takes all of a core each.
	enrolling chan struct{}

	lastError atomic.Pointer[string]
}

// member is a Mac in a fleet, with what the fleet's watcher may read while the Mac is busy.
type member struct {
	mac      *Mac
	path     string
	saved    []byte
	fault    string
	enrolled atomic.Bool
	settled  atomic.Bool
	targeted atomic.Bool
	refusals int
}

// NewFleet makes the Macs, or takes them from the state folder.
func NewFleet(opt FleetOptions) (*Fleet, error) {
	if opt.N < 1 {
		return nil, errors.New("a fleet needs at least one Mac")
	}
	if opt.Poll <= 0 || opt.Speed <= 0 {
		return nil, errors.New("-poll and -speed must be above 0")
	}
	if opt.Parallel <= 0 {
		opt.Parallel = 64
	}
	f := &Fleet{
		start: time.Now(), slots: make(chan struct{}, opt.Parallel),
		enrolling: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
	}
	f.base = f.start
	if err := f.loadClock(opt.StateDir); err != nil {
		return nil, err
	}
	if opt.Now == nil {
		speed := opt.Speed
		opt.Now = func() time.Time { return f.base.Add(time.Duration(float64(time.Since(f.start)) * speed)) }
	}
	if opt.Pace == 0 {
		opt.Pace = time.Duration(float64(opt.Poll) * opt.Speed)
	}
	if opt.HTTP == nil {
		opt.HTTP = &http.Client{
			Timeout: 60 * time.Second,
			Transport: &http.Transport{
				MaxIdleConns:        opt.Parallel * 2,
				MaxIdleConnsPerHost: opt.Parallel * 2,
				IdleConnTimeout:     time.Minute,
			},
		}
	}
	opt.Options = opt.withDefaults()
	f.opt = opt
	return f, f.muster()
}

// muster makes or restores every Mac.
func (f *Fleet) muster() error {
	faults, err := assignFaults(f.opt.Misbehave, f.opt.N)
	if err != nil {
		return err
	}
	for i, spec := range Specs(f.opt.N, f.opt.Seed, f.opt.World, f.opt.Eager) {
		mb := &member{fault: faults[i]}
		f.macs = append(f.macs, mb)
		if f.opt.StateDir != "" {
			mb.path = filepath.Join(f.opt.StateDir, fmt.Sprintf("mac-%06d.json", i+1))
			b, err := os.ReadFile(mb.path)
			if err == nil {
				if mb.mac, err = Restore(b, f.opt.Options); err != nil {
					return fmt.Errorf("%s: %w", mb.path, err)
				}
				mb.saved = b
				continue
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("reading the state of Mac %d: %w", i+1, err)
			}
		}
		var ft Faults
		if mb.fault != "" {
			if ft, err = FaultsFor(mb.fault); err != nil {
				return err
			}
		}
		if mb.fault == duplicateSerial {
			spec.Serial = f.macs[0].mac.Spec().Serial
		}
		mb.mac = New(spec, ft, f.opt.Options)
	}
	return nil
}

// Macs are the fleet's Macs. They must not be used while the fleet runs.
func (f *Fleet) Macs() []*Mac {
	out := make([]*Mac, len(f.macs))
	for i, mb := range f.macs {
		out[i] = mb.mac
	}
	return out
}

// Run lets the Macs live until the context ends or the fleet has reached what FleetOptions.Until names. It returns an
// error only when no Mac could be enrolled or a state could not be kept.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// What a Mac has begun when the end comes, it may finish.
	acting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastActs, cut) })()
	var wg sync.WaitGroup
	for i, mb := range f.macs {
		wg.Go(func() { f.run(ctx, acting, stop, mb, i) })
	}
	wg.Go(func() { f.watch(ctx, stop) })
	wg.Wait()
	f.opt.HTTP.CloseIdleConnections()
	if err := f.saveClock(); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errDone) && !errors.Is(err, context.Canceled) &&
		!errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// lastActs is how long Macs may go on with what they have begun.
const lastActs = 5 * time.Second

// errDone ends a fleet that has reached its end.
var errDone = errors.New("done")

func (f *Fleet) run(ctx, acting context.Context, stop context.CancelCauseFunc, mb *member, i int) {
	rng := rand.New(rand.NewPCG(f.opt.Seed, uint64(i)<<32|1))
	wait := time.Duration(rng.Int64N(int64(f.opt.Poll)))
	if !mb.mac.Enrolled() {
		wait = min(wait, time.Duration(i)*20*time.Millisecond)
	}
	backoff := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := f.turn(ctx, acting, mb.mac)
		if acting.Err() != nil {
			err = nil
		}
		mb.enrolled.Store(mb.mac.Enrolled())
		mb.settled.Store(mb.mac.Settled())
		mb.targeted.Store(mb.mac.Targeted())
		if err := f.save(mb); err != nil {
			stop(err)
			return
		}
		wait = f.opt.Poll*4/5 + time.Duration(rng.Int64N(int64(f.opt.Poll)*2/5+1))
		if err == nil {
			backoff, mb.refusals = 0, 0
			continue
		}
		text := err.Error()
		f.lastError.Store(&text)
		mb.mac.log("%v", err)
		if !IsTemporary(err) {
			mb.refusals++
			f.opt.Stats.Refused.Add(1)
			if mb.refusals >= 3 && f.opt.Stats.Enrolled.Load() == 0 && !mb.mac.Enrolled() {
				stop(fmt.Errorf("no Mac could be enrolled: %w", err))
				return
			}
		}
		backoff = min(max(2*backoff, min(f.opt.Poll, time.Second)), 30*time.Second)
		wait = backoff/2 + time.Duration(rng.Int64N(int64(backoff)))
	}
}

// turn is what a Mac does at one poll.
func (f *Fleet) turn(ctx, acting context.Context, m *Mac) error {
	slots := f.slots
	if !m.Enrolled() {
		slots = f.enrolling
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-slots }()
	if m.Enrolled() {
		if err := m.Poll(acting); err != nil {
			return err
		}
	}
	return m.Step(acting)
}

// watch ends the run when its end is reached and stays so for three polls.
func (f *Fleet) watch(ctx context.Context, stop context.CancelCauseFunc) {
	if f.opt.Until == UntilStopped {
		return
	}
	tick := time.NewTicker(f.opt.Poll)
	defer tick.Stop()
	for held := 0; held < 3; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if f.reached() {
			held++
		} else {
			held = 0
		}
	}
	stop(errDone)
}

func (f *Fleet) reached() bool {
	if f.opt.Until == UntilCompliant && f.opt.Stats.Updates.Load() == 0 {
		return false
	}
	for _, mb := range f.macs {
		if mb.fault == "" && (!mb.settled.Load() || mb.targeted.Load()) {
			return false
		}
	}
	return true
}

// Standing is where a fleet stands.
type Standing struct {
	Macs, Enrolled, Settled, Targeted int
	LastError                         string // the last thing that went wrong, if anything did
}

// Standing may be asked while the fleet runs.
func (f *Fleet) Standing() Standing {
	s := Standing{Macs: len(f.macs)}
	for _, mb := range f.macs {
		if mb.enrolled.Load() {
			s.Enrolled++
		}
		if mb.settled.Load() {
			s.Settled++
		}
		if mb.targeted.Load() {
			s.Targeted++
		}
	}
	if e := f.lastError.Load(); e != nil {
		s.LastError = *e
	}
	return s
}

func (f *Fleet) save(mb *member) error {
	if mb.path == "" {
		return nil
	}
	b, err := mb.mac.Save()
	if err != nil {
		return err
	}
	if bytes.Equal(b, mb.saved) {
		return nil
	}
	if err := replace(mb.path, b); err != nil {
		return err
	}
	mb.saved = b
	return nil
}

// replace writes a file so that it is either the old or the new one, whatever happens.
func replace(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("keeping the state: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("keeping the state: %w", err)
	}
	return nil
}

type clockFile struct {
	Clock time.Time `json:"clock"`
}

// loadClock goes on with the Macs' clocks where they were, when they ran ahead.
func (f *Fleet) loadClock(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the state folder: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "clock.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the state folder: %w", err)
	}
	var c clockFile
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("the state folder's clock: %w", err)
	}
	if c.Clock.After(f.base) {
		f.base = c.Clock
	}
	return nil
}

func (f *Fleet) saveClock() error {
	if f.opt.StateDir == "" {
		return nil
	}
	b, err := json.Marshal(clockFile{f.opt.Now()})
	if err != nil {
		return fmt.Errorf("keeping the clock: %w", err)
	}
	return replace(filepath.Join(f.opt.StateDir, "clock.json"), b)
}
