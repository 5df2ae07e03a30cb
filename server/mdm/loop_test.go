package mdm_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
	"plimsoll/storage/storagetest"
)

// run runs the fleet's loops until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.fleet.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("the fleet's loops ended: %v", err)
		}
	})
}

// Simulated Macs do what real ones do, and complain about what a real one would not forgive.
func TestSimulatedMacs(t *testing.T) {
	for name, header := range map[string]string{"signed": "", "behind a proxy": "X-Client-Cert"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *setup) { s.CertHeader = header })
			w.putPolicy(floor)
			w.run()
			ctx := context.Background()
			world, stats := sim.NewWorld(), &sim.Stats{}
			opt := sim.Options{
				URL: w.srv.URL, HTTP: w.srv.Client(), Now: w.now, World: world, Keys: sim.NewKeys(1), CertHeader: header, Stats: stats, Pace: time.Hour,
			}
			specs := sim.Specs(8, 1, world, 1)
			specs[0].User = "kim"
			macs := make([]*sim.Mac, len(specs))
			for i, spec := range specs {
				macs[i] = sim.New(spec, sim.Faults{}, opt)
				check(t, macs[i].Enrol(ctx))
			}
			for range 12 {
				for _, mac := range macs {
					if err := errors.Join(mac.Poll(ctx), mac.Step(ctx)); err != nil {
						t.Fatalf("%s: %v", mac.Spec().Serial, err)
					}
				}
				w.pass(time.Hour)
			}
			for _, v := range stats.Violations() {
				t.Error(v)
			}
			if stats.Enrolled.Load() != int64(len(macs)) || stats.Reports.Load() < int64(len(macs)) || stats.Syncs.Load() < int64(len(macs)) {
				t.Errorf("enrolled %d, synced %d, reported %d", stats.Enrolled.Load(), stats.Syncs.Load(), stats.Reports.Load())
			}
			for _, mac := range macs {
				d := w.device(mac.Spec().UDID)
				if d.OS.Version != string(mac.OS().Version) || d.Board != mac.Spec().Hardware.Board || d.Serial != mac.Spec().Serial {
					t.Errorf("the fleet knows %+v, the Mac is %+v with %s", d, mac.Spec(), mac.OS())
				}
			}
		})
	}
}

// A push certificate wakes the Macs that could not be pushed to before.
func TestPushCertificateWakesMacs(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	w.run()
	mac := w.mac(macID)
	mac.enrol()
	certPEM, keyPEM := pushPair(t, pushTopic)
	storagetest.Await(t, "the Mac is pushed to", func() error {
		// The Mac may not be noted as told yet: then the certificate is stored too early, and is stored again.
		want(t, "pushcert", w.put("/v1/pushcert", append(certPEM, keyPEM...)), http.StatusOK)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.pushed[tokenOf(macID)] == "" {
			return errors.New("nothing was pushed")
		}
		return nil
	})
}
