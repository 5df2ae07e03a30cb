package main_test

// What does not keep to a measure of the house yet, with its present figure. A figure may only shrink (that of tests: only grow), and no
// name may be added.
var (
	excusedPackages = map[string]int{
		"examples/macs/sim": 3324,
		"server/fleet":      2925,
		"storage":           2851,
	}
	excusedBranches = map[string]int{
		"examples/macs/sim.ParseProfile": 27,
		"server/app.Options.check":       24,
	}
	excusedLocks = map[string]int{
		"examples/macs/sim": 1,
		"storage/bolt":      4,
	}
	excusedColumns = map[string]int{
		"examples/macs/sim":   4,
		"schemas":             2,
		"server/app":          20,
		"server/cli":          8,
		"status":              2,
		"status/compliance":   16,
		"storage/nano":        1,
		"storage/redis":       1,
		"storage/storagetest": 2,
	}
	excusedUpward = map[string]int{
		"server/fleet":      21,
		"server/fleet/book": 21,
	}
	// lines of tests for each hundred lines
	excusedTests = map[string]int{
		"server/fleet/reconcile": 77,
		"server/fleet":           76,
		"server/fleet/book":      72,
	}
)
