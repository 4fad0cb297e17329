package health

// Fault is one thing that can be wrong, by which its cure is found.
type Fault string

// Faults.
const (
	StoreFails    Fault = "store-fails"
	LauncherFails Fault = "launcher-fails"
)

// cures say what mends each fault: a command, a setting, or where to look.
var cures = map[Fault]string{
	StoreFails:    "make room and give the file back to user fjmcp: df /var/lib/fjmcp; ls -l /var/lib/fjmcp",
	LauncherFails: "journalctl -u fjmcp-launcher.service -n 20 says why; systemctl restart fjmcp-launcher.socket",
}

// Cure says what mends the fault; "" for one that is not known.
func (f Fault) Cure() string { return cures[f] }
