package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// route is one route with the scope that it needs; without a scope it needs no token. Every GET answers HEAD too.
type route struct {
	method, path string
	scope        fleet.Scope
	handler      echo.HandlerFunc
}

// nanomdmPaths are the paths of NanoMDM's own routes, on which its clients find what they know.
var nanomdmPaths = []string{"/v1/pushcert", "/v1/push/:ids", "/v1/enqueue/:ids"}

// alsoFor are the scopes that open a route beside its own.
var alsoFor = map[string]fleet.Scope{"/v1/devices/:id/commands": fleet.ScopeMDM, "/v1/devices/:id/commands/:uuid": fleet.ScopeMDM}

func (a *API) routes(o Options) []route {
	const (
		get    = http.MethodGet
		post   = http.MethodPost
		put    = http.MethodPut
		del    = http.MethodDelete
		read   = fleet.ScopeRead
		admin  = fleet.ScopeAdmin
		single = fleet.ScopeOperator // acts on single Macs
		device = "/v1/devices/:id"
	)
	list := []route{
		{get, "/v1/policies", read, a.listPolicies},
		{post, "/v1/policies", admin, a.createPolicy},
		{get, "/v1/policies/:name", read, a.getPolicy},
		{put, "/v1/policies/:name", admin, a.putPolicy},
		{del, "/v1/policies/:name", admin, a.deletePolicy},
		{get, "/v1/policies/:name/rings", read, a.getRings},
		{post, "/v1/policies/:name/rings/:build/open", admin, a.openRing},

		{get, "/v1/groups", read, a.listGroups},
		{get, "/v1/groups/:name", read, a.getGroup},
		{put, "/v1/groups/:name", admin, a.putGroup},
		{post, "/v1/groups/:name", single, a.editGroup},
		{del, "/v1/groups/:name", admin, a.deleteGroup},

		{get, "/v1/releases", read, a.listReleases},
		{get, "/v1/holds", read, a.listHolds},
		{put, "/v1/holds/:subject", admin, a.putHold},
		{del, "/v1/holds/:subject", admin, a.deleteHold},
		{get, "/v1/freezes", read, a.listFreezes},
		{get, "/v1/freezes/:name", read, a.getFreeze},
		{put, "/v1/freezes/:name", admin, a.putFreeze},
		{del, "/v1/freezes/:name", admin, a.deleteFreeze},
		{get, "/v1/exemptions", read, a.listExemptions},
		{get, "/v1/exemptions/:id", read, a.getExemption},
		{put, "/v1/exemptions/:id", single, a.putExemption},
		{del, "/v1/exemptions/:id", single, a.deleteExemption},
		{get, "/v1/pause", read, a.getPause},
		{put, "/v1/pause", admin, a.setPause},
		{del, "/v1/pause", admin, a.clearPause},
		{post, "/v1/catalog/refresh", admin, a.refresh},
		{post, "/v1/apply", read, a.apply}, // a dry run; else it asks for admin itself

		{get, "/v1/devices", read, a.listDevices},
		{post, "/v1/devices/import", admin, a.importDevices},
		{get, device, read, a.getDevice},
		{del, device, admin, a.forgetDevice},
		{get, device + "/plan", read, a.getPlan},
		{get, device + "/declarations", read, a.getDeclarations},
		{get, device + "/status", read, a.getStatus},
		{get, device + "/reports", read, a.listReports},
		{get, device + "/reports/:report_id", read, a.getReport},
		{get, device + "/events", read, a.listDeviceEvents},
		{get, device + "/commands", read, a.listCommands},
		{get, device + "/commands/:uuid", read, a.getCommand},
		{post, device + "/sync", single, a.syncDevice},
		{put, device + "/update", single, a.putUpdate},
		{del, device + "/update", single, a.deleteUpdate},

		{get, "/v1/compliance", read, a.getCompliance},
		{get, "/v1/compliance/history", read, a.getHistory},
		{get, "/v1/mechanisms", read, a.getMechanisms},
		{get, "/v1/reports/patching", read, a.getPatching},
		{get, "/v1/reports/evidence", read, a.getEvidence},
		{get, "/v1/events", read, a.listEvents},
		{get, "/v1/audit", read, a.listAudit},
		{get, "/v1/audit/head", read, a.getAuditHead},

		{get, "/v1/tokens", read, a.listTokens},
		{post, "/v1/tokens", admin, a.createToken},
		{del, "/v1/tokens/:name", admin, a.deleteToken},
		// A code lets one enrol: whoever may only read must not see it.
		{get, "/v1/enrollment-codes", admin, a.listCodes},
		{post, "/v1/enrollment-codes", admin, a.createCode},
		{del, "/v1/enrollment-codes/:id", admin, a.deleteCode},

		{get, "/v1/backup", fleet.ScopeBackup, a.backup},
		{get, "/v1/ca", read, a.getCAs},
		{post, "/v1/ca/rotate", admin, a.rotateCA},

		{get, "/healthz", "", a.health},
		{get, "/readyz", "", a.ready},
		{get, "/version", "", a.getVersion},
		{get, "/openapi.json", "", a.openapi},
		{get, "/schemas/:file", "", a.schema},
		{get, "/metrics", fleet.ScopeMetrics, echo.WrapHandler(a.metrics.Handler())},
	}
	if a.fleet.IsCompanion() { // notHere stands before them
		o.Push, o.Enqueue, o.PushCert = http.NotFoundHandler(), http.NotFoundHandler(), http.NotFoundHandler()
	}
	if o.PushCert != nil {
		list = append(list, route{put, "/v1/pushcert", admin, a.entered(pushCertActs, o.PushCert)})
	}
	if o.Push != nil {
		list = append(list, route{get, "/v1/push/:ids", fleet.ScopeMDM, nanomdm(o.Push)})
	}
	if o.Enqueue != nil {
		list = append(list, route{put, "/v1/enqueue/:ids", fleet.ScopeMDM, a.entered(commandActs, o.Enqueue)})
	}
	return list
}
