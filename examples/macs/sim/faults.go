package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faults is how a Mac misbehaves. Every field may be changed at any time between two calls of the Mac's methods.
type Faults struct {
	NeverFetches   bool          `json:"never_fetches,omitempty"`   // acknowledges the command, never asks for the manifest
	Reject         string        `json:"reject,omitempty"`          // rejects enforcement, with this as Apple's text
	FailInstalls   int           `json:"fail_installs,omitempty"`   // so many installs fail; below 0: all
	FailText       string        `json:"fail_text,omitempty"`       // what failure-reason says then; left out: BatteryText
	OffAtDeadline  bool          `json:"off_at_deadline,omitempty"` // off from 1 h before its deadline until 26 h after it
	RemovesBSI     bool          `json:"removes_bsi,omitempty"`     // its user removes a BSI, once, soon after it was installed
	UpdatesItself  bool          `json:"updates_itself,omitempty"`  // installs the newest release for its board, asked by nobody
	ReEnrols       bool          `json:"re_enrols,omitempty"`       // is erased and enrols again, once
	ClockSkew      time.Duration `json:"clock_skew,omitempty"`      // its wall clock is so much ahead
	BadReports     int           `json:"bad_reports,omitempty"`     // so many broken reports precede good ones; below 0: always
	StopsReporting bool          `json:"stops_reporting,omitempty"` // syncs and polls, reports nothing after its first report
	SlowDownload   time.Duration `json:"slow_download,omitempty"`   // time it takes to download
	NoBootstrap    bool          `json:"no_bootstrap,omitempty"`    // never escrows a bootstrap token
}

// Apple's texts for installs that fail are descriptions of NSError: long, nested, not made for parsing.
const (
	BatteryText = `Error Domain=SUMacControllerError Code=7723 "[SUMacControllerErrorBatteryTooLow=7723] Power requirements are not met: the battery is too low to install the update" UserInfo={NSLocalizedDescription=Connect to a power source before updating., NSDebugDescription=[SUMacControllerErrorBatteryTooLow=7723] Battery level 12% is below the required 20%, NSUnderlyingError=0x600003d1c5a0 {Error Domain=SUOSUErrorDomain Code=61 "Insufficient battery" UserInfo={SUErrorRelatedCode=7723}}}`
	DiskText    = `Error Domain=SUMacControllerError Code=7724 "[SUMacControllerErrorInsufficientDiskSpace=7724] Not enough free disk space: 18253611008 bytes are required, 9126805504 are available" UserInfo={NSLocalizedDescription=There is not enough disk space available to install the update., NSUnderlyingError=0x600002a4e1f0 {Error Domain=MobileAssetError.Download Code=12 "MADownloadNoSpace" UserInfo={additionalSpaceRequired=9126805504}}}`
	// RejectText is how macOS words that it cannot take a target.
	RejectText = `[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: software update is managed by another configuration`
)

var faultKinds = map[string]Faults{
	"never-fetches":   {NeverFetches: true},
	"rejects":         {Reject: RejectText},
	"install-fails":   {FailInstalls: 2},
	"fails-battery":   {FailInstalls: -1, FailText: BatteryText},
	"fails-disk":      {FailInstalls: -1, FailText: DiskText},
	"off-at-deadline": {OffAtDeadline: true},
	"removes-bsi":     {RemovesBSI: true},
	"updates-itself":  {UpdatesItself: true},
	"re-enrols":       {ReEnrols: true},
	"clock-skew":      {ClockSkew: 37 * time.Hour},
	"bad-json":        {BadReports: 3},
	"stops-reporting": {StopsReporting: true},
	"slow-download":   {SlowDownload: 30 * time.Hour},
	"no-bootstrap":    {NoBootstrap: true},
	duplicateSerial:   {},
}

// duplicateSerial is a fault of two Macs together, so it stands in their Specs.
const duplicateSerial = "duplicate-serial"

// FaultNames are the names that -misbehave takes, sorted.
func FaultNames() []string {
	names := make([]string, 0, len(faultKinds))
	for n := range faultKinds {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// FaultsFor is the fault of that name.
func FaultsFor(name string) (Faults, error) {
	f, ok := faultKinds[name]
	if !ok {
		return Faults{}, fmt.Errorf("unknown misbehaviour %q: known are %s", name, strings.Join(FaultNames(), ", "))
	}
	return f, nil
}

// assignFaults reads -misbehave: "20%" gives that share of the Macs one fault each, in turn;
// "rejects,fails-disk=3" gives each fault named to one Mac, or to so many; "all" gives each to one.
// The Macs are taken from the end of the fleet, so that its first ones stay well.
func assignFaults(arg string, n int) ([]string, error) {
	out := make([]string, n)
	if arg == "" {
		return out, nil
	}
	var wanted []string
	if share, ok := strings.CutSuffix(arg, "%"); ok {
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || p < 0 || p > 100 {
			return nil, fmt.Errorf("-misbehave %q is not a share between 0%% and 100%%", arg)
		}
		names := FaultNames()
		for i := range int(float64(n)*p/100 + 0.5) {
			wanted = append(wanted, names[i%len(names)])
		}
	} else {
		if arg == "all" {
			arg = strings.Join(FaultNames(), ",")
		}
		for item := range strings.SplitSeq(arg, ",") {
			name, count, counted := strings.Cut(strings.TrimSpace(item), "=")
			if _, err := FaultsFor(name); err != nil {
				return nil, err
			}
			k := 1
			if counted {
				var err error
				if k, err = strconv.Atoi(count); err != nil || k < 1 {
					return nil, fmt.Errorf("-misbehave %q: %q is not a number of Macs", arg, count)
				}
			}
			for range k {
				wanted = append(wanted, name)
			}
		}
	}
	if len(wanted) > n {
		return nil, fmt.Errorf("-misbehave asks for %d Macs, there are %d", len(wanted), n)
	}
	for i, name := range wanted {
		out[n-1-i] = name
	}
	return out, nil
}
