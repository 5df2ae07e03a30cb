package web_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"plimsoll/status"
)

// BenchmarkPages measures server time per page with 2000 Macs.
func BenchmarkPages(b *testing.B) {
	w := newWorld(b)
	ctx := context.Background()
	for i := range 2000 {
		id := fmt.Sprintf("MAC-%05d", i)
		m := hardware[i%len(hardware)]
		w.must(w.Authenticate(ctx, id, status.CheckIn{UDID: id, Serial: fmt.Sprintf("C02%05d", i), Name: id, Model: m.model, Version: "26.5", Build: "25F71"}))
		w.must(w.TokenUpdate(ctx, id, "com.apple.mgmt.External.1"))
	}
	w.put(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14}}`)
	c := w.client().signIn(adminToken)
	for _, path := range []string{"/", "/devices", "/devices?sort=deadline", "/devices?q=c0201999", "/devices/MAC-01000", "/policies", "/releases"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				if p := c.get(path); p.status != http.StatusOK {
					b.Fatal(p.status)
				}
			}
		})
	}
}
