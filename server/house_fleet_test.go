package main_test

import "maps"

// rooms are the packages of the fleet, from the facade down: what each may import of ours.
var rooms = map[string][]string{
	"server/fleet": with("storage", "storage/archive", "storage/beside",
		"server/fleet/access", "server/fleet/answer", "server/fleet/audit", "server/fleet/authority", "server/fleet/book", "server/fleet/catalogue",
		"server/fleet/each", "server/fleet/evidence",
		"server/fleet/inventory", "server/fleet/lead", "server/fleet/notify", "server/fleet/outbox", "server/fleet/reconcile",
		"server/fleet/guard"),
	"server/fleet/lead": with("storage",
		"server/fleet/each", "server/fleet/inventory", "server/fleet/outbox", "server/fleet/reconcile"),
	"server/fleet/evidence":  with("storage", "server/fleet/answer", "server/fleet/reconcile"),
	"server/fleet/reconcile": with("storage", "storage/beside"),
	"server/fleet/access":    with("storage", "server/fleet/answer", "server/fleet/audit", "server/fleet/each"),
	"server/fleet/authority": {"storage", "server/fleet/answer", "server/fleet/each"},
	"server/fleet/book":      with("storage", "server/fleet/answer", "server/fleet/audit"),
	"server/fleet/audit":     with("storage", "server/fleet/answer"),
	"server/fleet/catalogue": with("storage", "server/fleet/answer"),
	"server/fleet/outbox":    with("storage", "server/fleet/each"),
	"server/fleet/guard":     {"storage", "storage/migrate"},
	"server/fleet/notify":    {"server/fleet/each", "server/fleet/inventory", "status"},
	"server/fleet/inventory": with("storage"), // for Record, which is held as it is encoded
	"server/fleet/answer":    with("storage"), // for the kinds of error
	"server/fleet/each":      nil,
}

func init() { maps.Copy(table, rooms) }
