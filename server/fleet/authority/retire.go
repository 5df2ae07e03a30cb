package authority

import (
	"context"
	"fmt"
	"slices"
	"time"

	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// Macs is what is known of the identities of Macs.
type Macs struct {
	// Count counts those that have not expired, by the id of the CA; "" are enrolled Macs of which it is not known.
	Count func(now time.Time) map[string]int
	// Knows tells whether this replica knows the device.
	Knows func(id string) bool
	// DeviceOf tells whose current identity one is, given by its fingerprint, and whether a device ever showed it; nil: no device
	// enrols by itself.
	DeviceOf func(ctx context.Context, fingerprint string) (device string, seen bool, err error)
}

// DeviceCA is a device CA as the API shows it (docs/api.md 5).
type DeviceCA struct {
	Fingerprint string    `json:"fingerprint"` // SHA-256, hex
	Subject     string    `json:"subject"`
	CreatedAt   time.Time `json:"created_at"` // when it came into use
	ExpiresAt   time.Time `json:"expires_at"`
	Issuing     bool      `json:"issuing"`
	Devices     int       `json:"devices"` // whose identities it issued
}

// DeviceCAs are the trusted device CAs, the one that issues first.
type DeviceCAs struct {
	CAs []DeviceCA `json:"cas"`
}

const (
	endsSoon    = 365 * 24 * time.Hour
	retireEvery = 2 * time.Second
)

// List lists the trusted device CAs with the devices that each carries.
func (a *Authorities) List() DeviceCAs {
	list := DeviceCAs{CAs: []DeviceCA{}}
	counts := a.o.Macs.Count(a.o.Now())
	old := a.Old()
	for _, ca := range a.Current().Trusted {
		n := counts[ca.ID]
		if n == 0 && !ca.Issuing && !ca.Further && !slices.Contains(old, ca) { // kept for when the supplied one is taken away
			continue
		}
		list.CAs = append(list.CAs, DeviceCA{
			Fingerprint: ca.Fingerprint, Subject: ca.Cert.Subject.String(), CreatedAt: ca.CreatedAt, ExpiresAt: ca.Cert.NotAfter.UTC(),
			Issuing: ca.Issuing, Devices: n,
		})
	}
	return list
}

// Confirm asks whether a new CA is to be made.
func (a *Authorities) Confirm() error {
	if a.External() {
		return errExternal()
	}
	return answer.Conflict("confirm_required", fmt.Sprintf(
		"identities come from a new CA from then on; those of the present one (%d in use) stay trusted",
		a.o.Macs.Count(a.o.Now())[a.Current().Issuing.ID]))
}

// Run stops trusting old CAs once their last identity is gone, until ctx ends. The leader does it.
func (a *Authorities) Run(ctx context.Context) {
	tick := time.NewTicker(retireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := a.RetireUnused(ctx); err != nil && ctx.Err() == nil {
				a.o.Log.Warn("old device CAs could not be looked at", "error", err)
			}
		}
	}
}

// RetireUnused stops trusting the old CAs whose last identity is gone: expired, replaced, or its device deleted or checked out.
// While the CA of some Mac is not known, none is retired. Run does the same by itself.
func (a *Authorities) RetireUnused(ctx context.Context) error {
	old := a.Old()
	if len(old) == 0 {
		return nil
	}
	now := a.o.Now()
	counts := a.o.Macs.Count(now)
	unused := slices.DeleteFunc(old, func(ca *CA) bool {
		return (counts[ca.ID] > 0 || counts[""] > 0) && now.Before(ca.Cert.NotAfter)
	})
	if len(unused) == 0 {
		return nil
	}
	issued, err := a.o.Store.IssuedLately(ctx, now)
	if err != nil {
		return fmt.Errorf("read what was issued lately: %w", err)
	}
	for _, i := range issued {
		n := slices.IndexFunc(unused, func(ca *CA) bool { return ca.ID == i.CA })
		if n < 0 {
			continue
		}
		awaited, err := a.awaited(ctx, i)
		if err != nil {
			return fmt.Errorf("look whose an identity is: %w", err)
		}
		if awaited {
			unused = slices.Delete(unused, n, n+1)
		}
	}
	if err := a.Retire(ctx, unused); err != nil {
		return err
	}
	for _, ca := range unused {
		a.o.Log.InfoContext(ctx, "an old device CA is not trusted any more: its last identity is gone", "fingerprint", ca.Fingerprint)
	}
	return nil
}

// awaited tells whether an identity that was issued lately may yet be shown by its Mac, or was shown on another replica.
func (a *Authorities) awaited(ctx context.Context, i storage.Issued) (bool, error) {
	if i.Identity == "" || a.o.Macs.DeviceOf == nil {
		return true, nil
	}
	device, seen, err := a.o.Macs.DeviceOf(ctx, i.Identity)
	if err != nil || !seen {
		return true, err
	}
	return device != "" && !a.o.Macs.Knows(device), nil // one that was seen, and is nobody's, was revoked or replaced
}

// Warn says at the start what is wrong with the CAs: whose identities are not trusted, and that the CA ends soon.
func (a *Authorities) Warn() {
	now, set := a.o.Now(), a.Current()
	counts := a.o.Macs.Count(now)
	for id, n := range counts {
		if id != "" && set.ByID(id) == nil {
			a.o.Log.Warn("Macs are refused: the CA of their identities is not trusted. Give it with --device-ca, or have them enrol again",
				"macs", n, "ca", id)
		}
	}
	if end := set.Issuing.Cert.NotAfter; end.Sub(now) < endsSoon {
		a.o.Log.Warn("the device CA ends soon, and every identity with it at the latest: rotate it, or supply another one",
			"expires_at", end.UTC().Format(time.RFC3339), "macs", counts[set.Issuing.ID])
	}
}
