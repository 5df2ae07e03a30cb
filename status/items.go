package status

import (
	"slices"
	"strings"

	"plimsoll/declarations/release"
)

// The status items that this program reads.
const (
	itemCapabilities      = "management.client-capabilities"
	itemDeclarations      = "management.declarations"
	itemSerial            = "device.identifier.serial-number"
	itemUDID              = "device.identifier.udid"
	itemModel             = "device.model.identifier"
	itemModelName         = "device.model.marketing-name"
	itemVersion           = "device.operating-system.version"
	itemBuild             = "device.operating-system.build-version"
	itemSupplementalBuild = "device.operating-system.supplemental.build-version"
	itemSupplementalExtra = "device.operating-system.supplemental.extra-version"
	itemFamily            = "device.operating-system.family"
	itemDeviceID          = "softwareupdate.device-id"
	itemInstallState      = "softwareupdate.install-state"
	itemInstallReason     = "softwareupdate.install-reason"
	itemPendingVersion    = "softwareupdate.pending-version"
	itemFailureReason     = "softwareupdate.failure-reason"
)

// kind is a type of JSON value.
type kind byte

const (
	anyKind kind = iota
	stringKind
	numberKind
	boolKind
	arrayKind
	objectKind
)

func (k kind) String() string {
	return [...]string{"any value", "a string", "a number", "a boolean", "an array", "an object"}[k]
}

// kindOf is the type of the value that begins with c; anyKind for null.
func kindOf(c byte) kind {
	switch c {
	case '"':
		return stringKind
	case '{':
		return objectKind
	case '[':
		return arrayKind
	case 't', 'f':
		return boolKind
	case 'n':
		return anyKind
	}
	return numberKind
}

// shape is what Apple's schema says of a value, as far as something depends on it. What has another type is odd.
// Members that a shape does not name are kept as they are.
type shape struct {
	kind    kind
	name    string            // of an item: its status item name
	members map[string]*shape // of an object
	need    []string          // members without which an object is of no use
	elem    *shape            // of an array
	check   func([]byte) bool // of a string: whether it can be used at all
	values  []string          // of a string: the values known; others are kept, and noted
}

var (
	aString = &shape{kind: stringKind}
	aBool   = &shape{kind: boolKind}
	strs    = &shape{kind: arrayKind, elem: aString}
	object  = &shape{kind: objectKind}
)

func dict(members map[string]*shape, need ...string) *shape {
	return &shape{kind: objectKind, members: members, need: need}
}

var reasonShape = dict(map[string]*shape{"code": aString, "description": aString, "details": object})

var entriesShape = &shape{kind: arrayKind, elem: dict(map[string]*shape{
	"identifier":   aString,
	"server-token": aString,
	"active":       aBool,
	"valid":        {kind: stringKind, values: []string{"valid", "invalid", "unknown"}},
	"reasons":      {kind: arrayKind, elem: reasonShape},
}, "identifier")}

// known are the status items that have a name (Apple's declarative/status up to OS 27): their values are taken whole.
var known = byName(map[string]*shape{
	itemCapabilities: dict(map[string]*shape{
		"supported-versions": strs,
		"supported-features": object,
		// Without a list of configurations it says nothing that could be relied on.
		"supported-payloads": dict(map[string]*shape{
			"declarations": dict(map[string]*shape{
				"activations": strs, "assets": strs, "configurations": strs, "management": strs,
			}, "configurations"),
			"status-items": strs,
		}, "declarations"),
	}, "supported-payloads"),
	itemDeclarations: dict(map[string]*shape{
		"activations": entriesShape, "assets": entriesShape, "configurations": entriesShape, "management": entriesShape,
	}),

	itemSerial:                               fact(nil),
	itemUDID:                                 fact(nil),
	itemModel:                                fact(nil),
	itemModelName:                            aString,
	"device.model.configuration-code":        aString,
	"device.model.family":                    aString,
	"device.model.number":                    aString,
	itemVersion:                              fact(isVersion),
	itemBuild:                                fact(nil),
	itemSupplementalBuild:                    fact(nil),
	itemSupplementalExtra:                    fact(isExtra),
	itemFamily:                               aString,
	"device.operating-system.marketing-name": aString,
	"device.power.battery-health":            {},
	"device.system.health":                   object,
	itemDeviceID:                             fact(nil),
	"softwareupdate.beta-enrollment":         aString,
	itemInstallState: {
		kind:   stringKind,
		values: []string{"none", "waiting", "downloading", "prepared", "installing", "failed"},
	},
	itemPendingVersion: dict(
		map[string]*shape{"os-version": aString, "build-version": aString, "target-local-date-time": aString},
	),
	itemFailureReason: dict(
		map[string]*shape{"count": {}, "reason": aString, "timestamp": aString},
	),
	itemInstallReason:                                      installReason,
	"account.list.caldav":                                  list,
	"account.list.carddav":                                 list,
	"account.list.exchange":                                list,
	"account.list.google":                                  list,
	"account.list.ldap":                                    list,
	"account.list.mail.incoming":                           list,
	"account.list.mail.outgoing":                           list,
	"account.list.subscribed-calendar":                     list,
	"app.managed.list":                                     list,
	"content-cache.info":                                   object,
	"content-cache.parents":                                list,
	"content-cache.peers":                                  list,
	"content-cache.status":                                 object,
	"diskmanagement.filevault.enabled":                     aBool,
	"enhanced-logging.status":                              aString,
	"enhanced-logging.timestamp":                           aString,
	"mdm.app":                                              list,
	"mdm.enrollment-type":                                  {},
	"mdm.is-awaiting-configuration":                        aBool,
	"mdm.is-return-to-service":                             aBool,
	"mdm.is-shared-ipad":                                   aBool,
	"migration-assistant.report":                           object,
	"migration-assistant.state":                            aString,
	"package.list":                                         list,
	"passcode.is-compliant":                                aBool,
	"passcode.is-present":                                  aBool,
	"screensharing.connection.group.unresolved-connection": {},
	"security.certificate.list":                            list,
	"security.lockdown-mode":                               aBool,
	"services.background-task":                             {},
	"test.array-value":                                     {},
	"test.boolean-value":                                   {},
	"test.dictionary-value":                                {},
	"test.error-value":                                     {},
	"test.integer-value":                                   {},
	"test.real-value":                                      {},
	"test.string-value":                                    {},
})

var list = &shape{kind: arrayKind}

var installReason = dict(map[string]*shape{
	"reason": {kind: arrayKind, elem: &shape{kind: stringKind, values: []string{
		"system-settings", "install-tonight", "auto-update", "notification", "setup-assistant", "command-line", "mdm", "declaration",
	}}},
	"declaration-id": aString,
})

// sections are the names above the known items ("device", "device.model").
var sections = func() map[string]bool {
	s := map[string]bool{}
	for name := range known {
		for up := parent(name); up != ""; up = parent(up) {
			s[up] = true
		}
	}
	return s
}()

// parent is the name above an item's ("a.b" of "a.b.c"), empty when there is none.
func parent(name string) string { return name[:max(strings.LastIndexByte(name, '.'), 0)] }

// byName gives each item a shape of its own that carries the name.
func byName(m map[string]*shape) map[string]*shape {
	for name, sh := range m {
		own := *sh
		own.name = name
		m[name] = &own
	}
	return m
}

// fact is a short string that facts are made of; further may narrow it.
func fact(further func(string) bool) *shape {
	return &shape{kind: stringKind, check: func(s []byte) bool {
		return len(s) <= maxFact && (further == nil || further(string(s)))
	}}
}

func isVersion(s string) bool {
	version, letter := lettered(s)
	_, err := release.ParseVersion(version)
	return err == nil && (version == s || release.NormalLetter(letter) != "")
}

func isExtra(s string) bool { return s == "" || release.NormalLetter(s) != "" }

// isKnownValue tells whether a value is one that Apple names, or that the field has seen.
func (sh *shape) isKnownValue(s []byte) bool {
	return sh.values == nil || slices.ContainsFunc(sh.values, func(v string) bool { return v == string(s) })
}
