package fleet

import (
	"context"
	"crypto/x509"
	"fmt"

	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/authority"
)

// What the Macs' side and the API see of the device CAs.
type (
	// CA issues identities, or did.
	CA = authority.CA
	// Authorities are the device CAs.
	Authorities = authority.Authorities
	// AuthoritySet is the device CAs at one moment.
	AuthoritySet = authority.Set
	// DeviceCAs lists them.
	DeviceCAs = authority.DeviceCAs
)

// ParseCA reads a CA from PEM, IDOf is short for one in the records of Macs.
var (
	ParseCA = authority.Parse
	IDOf    = authority.IDOf
)

// Identities say where the identities of Macs come from.
type Identities struct {
	// CA issues them in place of a generated one (--data); nil: one is generated.
	CA *CA
	// Further CAs are trusted (--device-ca).
	Further []*x509.Certificate
	// DeviceOf tells whose current identity one is, given by its fingerprint, and whether a device ever showed it; nil: no device
	// enrols by itself.
	DeviceOf func(ctx context.Context, fingerprint string) (device string, seen bool, err error)
}

func (f *Fleet) newAuthorities(i *Identities) *Authorities {
	knows := func(id string) bool {
		known, _ := f.index.Knows(id)
		return known
	}
	return authority.New(authority.Options{
		Store: f.store, Supplied: i.CA, Further: i.Further, Alone: f.o.Alone, Log: f.log, Now: f.now,
		Macs: authority.Macs{Count: f.index.Identities, Knows: knows, DeviceOf: i.DeviceOf},
	})
}

// Authorities are the device CAs; nil when no identities are issued here.
func (f *Fleet) Authorities() *Authorities { return f.authorities }

func noAuthorities() error {
	return answer.Conflict("external_ca", "the identities of Macs do not come from this server")
}

// DeviceCAs lists the trusted device CAs with the devices that each carries.
func (f *Fleet) DeviceCAs(ctx context.Context) (DeviceCAs, error) {
	if f.authorities == nil {
		return DeviceCAs{}, noAuthorities()
	}
	if err := f.authorities.Refresh(ctx); err != nil { // another replica may have made one just now
		return DeviceCAs{}, fmt.Errorf("list the device CAs: %w", err)
	}
	return f.authorities.List(), nil
}

// RotateCA issues identities from a new CA from now on. The old ones are trusted until their last identity is gone.
func (f *Fleet) RotateCA(ctx context.Context, o WriteOptions) (DeviceCAs, error) {
	switch {
	case f.authorities == nil:
		return DeviceCAs{}, noAuthorities()
	case !o.Confirm:
		return DeviceCAs{}, f.authorities.Confirm()
	}
	err := f.audit.Do(ctx, o.By, func() error { return f.authorities.Rotate(ctx) }, Act{Action: "ca.rotate", Object: "ca"})
	if err != nil {
		return DeviceCAs{}, fmt.Errorf("rotate the device CA: %w", err)
	}
	ca := f.authorities.Current().Issuing
	f.log.InfoContext(ctx, "identities come from a new device CA", "fingerprint", ca.Fingerprint, "by", o.By.Actor)
	return f.authorities.List(), nil
}
