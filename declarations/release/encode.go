package release

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A catalogue names the same few lists of boards again and again: in its JSON each list stands once,
// under "device_sets", and a release says which one is its own ("set"). This keeps years of releases
// small, and after reading the releases share the lists in memory.

type plainCatalog Catalog

type catalogJSON struct {
	*plainCatalog
	Releases   []releaseJSON `json:"releases"`
	DeviceSets [][]string    `json:"device_sets"`
}

type releaseJSON struct {
	Release
	Devices []string `json:"devices,omitempty"` // instead of Set, as a plain encoding has it
	Set     *int     `json:"set,omitempty"`
}

// MarshalJSON writes the compact form.
func (c Catalog) MarshalJSON() ([]byte, error) {
	out := catalogJSON{
		plainCatalog: (*plainCatalog)(&c),
		Releases:     make([]releaseJSON, len(c.Releases)),
		DeviceSets:   [][]string{},
	}
	sets := map[string]int{}
	for i, r := range c.Releases {
		key := strings.Join(r.Devices, "\n")
		n, ok := sets[key]
		if !ok {
			n = len(out.DeviceSets)
			sets[key] = n
			out.DeviceSets = append(out.DeviceSets, r.Devices)
		}
		out.Releases[i] = releaseJSON{Release: r, Set: &n}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes, and releases that list their devices themselves.
func (c *Catalog) UnmarshalJSON(b []byte) error {
	var plain plainCatalog
	in := catalogJSON{plainCatalog: &plain}
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	for i, r := range in.Releases {
		r.Release.Devices = r.Devices
		if r.Set != nil {
			if *r.Set < 0 || *r.Set >= len(in.DeviceSets) {
				return fmt.Errorf("catalogue: releases[%d] refers to device set %d of %d", i, *r.Set, len(in.DeviceSets))
			}
			r.Release.Devices = in.DeviceSets[*r.Set]
		}
		plain.Releases = append(plain.Releases, r.Release)
	}
	*c = Catalog(plain)
	return nil
}
