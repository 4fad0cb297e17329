// Package version says which version and commit of fjmcp a program was built from.
package version

import "runtime/debug"

// Version and Commit are set by the linker:
//
//	-ldflags "-X github.com/fjmcp/fjmcp-broker/internal/daemon/version.Version=1.0.0
//	          -X github.com/fjmcp/fjmcp-broker/internal/daemon/version.Commit=abc1234"
//
// Without it Version is "dev", and Commit what the Go toolchain recorded.
var (
	Version = "dev"
	Commit  = ""
)

// String is "<version> (<commit>)", as every program prints after its name.
func String() string { return Version + " (" + CommitID() + ")" }

// CommitID is the commit's twelve first digits, or "unknown commit".
func CommitID() string {
	if Commit != "" {
		return Commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown commit"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return "unknown commit"
}
