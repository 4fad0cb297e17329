//go:build race

package sandbox_test

// The session of a race-enabled test run is race-enabled as well.
func init() { sessionBuildFlags = append(sessionBuildFlags, "-race") }
