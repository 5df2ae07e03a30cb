package reconcile

import (
	"plimsoll/status"
)

// declares is the first major that updates reach by declaration; below it they are told by command (rules 14).
const declares = 14

// Commanded tells whether a Mac is one to which updates are told by command, as far as is known.
func Commanded(f *status.Facts) bool {
	return f.Enrolled && f.IsMac() && f.Version != "" && f.Version.Major() < declares
}

// Query is a question to a Mac: its RequestType, and the queries of DeviceInformation.
type Query struct {
	RequestType string
	Queries     []string
}

const deviceInformation = "DeviceInformation"

var versionQueries = Query{deviceInformation, []string{"OSVersion", "BuildVersion"}}
