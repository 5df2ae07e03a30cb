package main_test

import "maps"

// pagesRooms are the rooms of the dashboard.
var pagesRooms = map[string][]string{
	"server/web": with("server/fleet", "server/sheet", "server/web/editor", "server/web/reports", "server/web/rollout", "server/web/self", "server/web/session",
		"server/web/view"),
	"server/web/editor":  with("server/fleet", "schemas", "server/web/view"),
	"server/web/session": with("server/fleet", "server/web/view"),
	"server/web/reports": with("server/fleet", "server/proof", "server/web/view"),
	"server/web/rollout": with("server/fleet", "server/web/view"),
	"server/web/self":    with("server/fleet", "server/web/view"),
	"server/web/view":    with("server/fleet"),
}

func init() {
	maps.Copy(table, pagesRooms)
	contained["github.com/labstack/echo/"] = append(contained["github.com/labstack/echo/"], "server/web/reports", "server/web/rollout", "server/web/self", "server/web/session")
}
