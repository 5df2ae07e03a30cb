package main_test

// What does not keep to a measure of the house yet, with its present figure. A figure may only shrink (that of tests: only grow), and no name
// may be added.
var (
	excusedPackages = map[string]int{
		"examples/macs/sim": 3217,
	}
	excusedBranches = map[string]int{
		"examples/macs/sim.ParseProfile": 27,
		"server/app.Options.check":       24,
		"server/mdm.readSignature":       40,
	}
	excusedLocks = map[string]int{
		"examples/macs/sim": 1,
		"storage/bolt":      4,
	}
	excusedColumns = map[string]int{
		"declarations":             7,
		"declarations/release":     9,
		"examples/macs":            5,
		"examples/macs/sim":        20,
		"schemas":                  4,
		"server":                   2,
		"server/api":               39,
		"server/app":               24,
		"server/cli":               13,
		"server/feed":              4,
		"server/mdm":               14,
		"server/sheet":             2,
		"status":                   5,
		"status/compliance":        93,
		"storage":                  38,
		"storage/archive":          16,
		"storage/bolt":             12,
		"storage/bolt/wal":         7,
		"storage/bolt/wal/waltest": 2,
		"storage/nano":             11,
		"storage/redis":            6,
		"storage/storagetest":      6,
	}
	// lines of tests for each hundred lines
	excusedTests = map[string]int{
		"server/fleet/book": 74,
	}
)
