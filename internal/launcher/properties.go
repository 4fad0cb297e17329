package launcher

import (
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

const (
	sessionProgram   = "/usr/libexec/fjmcp/fjmcp-session"
	credentialSocket = "/run/fjmcp-private/credentials.sock"
	sessionSlice     = "fjmcp-sessions.slice"
)

func timerName(id string) string { return "fjmcp-reap@" + id + ".timer" }

// pair is systemd's a(ss) element, mount its a(ssbt) element.
type pair struct{ Name, Value string }

type mount struct {
	Source, Target string
	IgnoreMissing  bool
	Flags          uint64
}

type timerSpec struct {
	Base string
	USec uint64
}

func property(name string, value any) sddbus.Property {
	return sddbus.Property{Name: name, Value: dbus.MakeVariant(value)}
}

// serviceProperties is all that the launcher says of a session's unit. The
// names and types are those of org.freedesktop.systemd1(5), or of systemd's
// src/core/dbus-execute.c where a property can only be set.
func serviceProperties(r launchproto.Request, f view, mcp, control int) []sddbus.Property {
	env := []string{
		"FJMCP_SESSION_FORGEJO_URL=" + f.url,
		"FJMCP_SESSION_FORGEJO_MCP=" + f.forgejoMCP,
		"FJMCP_SESSION_ROUTES=" + f.routes,
	}
	if f.caFile != "" {
		env = append(env, "FJMCP_SESSION_FORGEJO_CA_FILE="+f.caFile)
	}
	if f.plain {
		env = append(env, "FJMCP_SESSION_EGRESS_PLAINTEXT=1")
	}
	props := []sddbus.Property{
		// Every local user sees both, so they name no user: the audit's
		// session_started knows whose session it is.
		property("Description", "MCP session "+r.Session),
		property("Type", "exec"),
		// In spite of its name, the second parameter is systemd's "ignore
		// failure", the "-" before a command.
		sddbus.PropExecStart([]string{sessionProgram}, false),
		// DynamicUser= alone would take the template's name for all sessions,
		// and with it one uid.
		property("User", "fjs-"+r.ID),
		property("Slice", sessionSlice),
		property("Environment", env),
		property("LoadCredential", []pair{{launchproto.CredentialName, credentialSocket}}),
		property("StandardInputFileDescriptor", dbus.UnixFD(mcp)),
		property("StandardOutputFileDescriptor", dbus.UnixFD(control)),
		// The descriptor stands whatever is said here; but were this equal to
		// StandardError=, stderr would become a copy of the control socket.
		property("StandardOutput", "null"),
		property("StandardError", "journal"),
		property("LogExtraFields", [][]byte{[]byte("FJMCP_SESSION=" + r.Session)}),
		// Bounds PID 1's wait for the token as well.
		property("TimeoutStartUSec", uint64(f.startTimeout.Microseconds())),
		property("RuntimeMaxUSec", usec(r.MaxSeconds)),
		property("CollectMode", "inactive-or-failed"),
		// Auxiliary units are made, not started.
		property("Wants", []string{timerName(r.ID)}),
	}
	if len(f.binds) > 0 {
		var mounts []mount
		for _, b := range f.binds {
			mounts = append(mounts, mount{Source: b.source, Target: b.target})
		}
		props = append(props, property("BindReadOnlyPaths", mounts))
	}
	return props
}

// reapTimer is the timer that starts fjmcp-reap@<id>.service, which conflicts
// with the session, when no touch has restarted it for the idle time.
func reapTimer(r launchproto.Request) sddbus.PropertyCollection {
	session := []string{launchproto.UnitName(r.ID)}
	return sddbus.PropertyCollection{
		Name: timerName(r.ID),
		Properties: []sddbus.Property{
			property("Description", "Idle time of MCP session "+r.ID),
			property("TimersMonotonic", []timerSpec{{"OnActiveSec", usec(r.IdleSeconds)}}),
			property("AccuracyUSec", uint64(time.Second/time.Microsecond)),
			property("RemainAfterElapse", false),
			property("CollectMode", "inactive-or-failed"),
			// The session wants it: it ends with the session, however that ends.
			property("StopWhenUnneeded", true),
			// A touch counts as a start; with the default limit the sixth in ten
			// seconds would leave the timer failed and the session unreaped.
			property("StartLimitIntervalUSec", uint64(0)),
			// A touch must fail when the session is gone. BindsTo= would start
			// the session anew.
			property("Requisite", session),
			property("After", session),
		},
	}
}

func usec(seconds int64) uint64 {
	return uint64(time.Duration(seconds) * time.Second / time.Microsecond)
}
