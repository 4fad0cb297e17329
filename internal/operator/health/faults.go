package health

import "strings"

// Fault is one thing that can be wrong, by which its cure is found.
type Fault string

// Faults.
const (
	StoreFails           Fault = "store-fails"
	StoreKeyMissing      Fault = "store-key-missing"
	LauncherFails        Fault = "launcher-fails"
	AuditFails           Fault = "audit-fails"
	BackendMissing       Fault = "backend-missing"
	BackendNotExecutable Fault = "backend-not-executable"
	BackendTooOld        Fault = "backend-too-old"
	BackendCrashes       Fault = "backend-crashes"
	BackendHangs         Fault = "backend-hangs"
	BackendStrange       Fault = "backend-strange"
	SandboxFails         Fault = "sandbox-fails"
	ForgeDown            Fault = "forge-down"
	ForgeURLWrong        Fault = "forge-url-wrong"
	ApplicationUnknown   Fault = "application-unknown"
	PublicURLWrong       Fault = "public-url-wrong"
	PublicURLProxy       Fault = "public-url-proxy"
	PublicURLSilent      Fault = "public-url-silent"
	NoWayOut             Fault = "no-way-out"
	PolicyFaulty         Fault = "policy-faulty"
	PolicyGone           Fault = "policy-gone"
	PolicyUnloaded       Fault = "policy-unloaded"
	PolicyNames          Fault = "policy-names"
)

const probeLog = "journalctl --namespace=+fjmcp FJMCP_SESSION=healthprobe _SYSTEMD_SLICE=fjmcp-sessions.slice -n 20"

// cures say what mends each fault: a command, a setting, or where to look.
var cures = map[Fault]string{
	StoreFails: "make room, and give the files to user fjmcp, mode 0600: df -h /var/lib/fjmcp; ls -l /var/lib/fjmcp",
	StoreKeyMissing: "add the key they were sealed with to /etc/fjmcp/credentials/store-key-old and systemctl restart fjmcp-broker.service; " +
		"if it is lost, fjmcpctl key rotate deletes them, and those users log in again",
	LauncherFails: "journalctl -u fjmcp-launcher.service -n 20 says why; then systemctl restart fjmcp-broker.socket",
	AuditFails:    "systemctl start systemd-journald.service; journalctl -u systemd-journald.service -n 20 says why it ended",

	BackendMissing:       "install -m 0755 forgejo-mcp /usr/local/bin/forgejo-mcp, or set FJMCP_BROKER_FORGEJO_MCP in /etc/fjmcp/broker.env and systemctl restart fjmcp-broker.service",
	BackendNotExecutable: "chmod 0755 the file, which must be a program for this machine; forgejo-mcp's releases are",
	BackendTooOld:        "install forgejo-mcp 2.18.0 or later",
	BackendCrashes:       probeLog + " shows its last words; try another release of forgejo-mcp",
	BackendHangs:         "is the machine overloaded (uptime)? Else try another release of forgejo-mcp; " + probeLog,
	BackendStrange:       "put forgejo-mcp there, or name its path in FJMCP_BROKER_FORGEJO_MCP",
	SandboxFails:         probeLog + " says why; what was changed of the sandbox, systemctl cat fjmcp-session@x.service shows",

	ForgeDown:          "mend the forge, DNS or TLS; with a private CA set FJMCP_BROKER_FORGEJO_CA_FILE. Nobody has to log in again",
	ForgeURLWrong:      "set FJMCP_BROKER_FORGEJO_URL in /etc/fjmcp/broker.env to the forge's ROOT_URL, then systemctl restart fjmcp-broker.service",
	ApplicationUnknown: "compare FJMCP_BROKER_FORGEJO_CLIENT_ID and /etc/fjmcp/credentials/forgejo-client-secret with the application at the forge, then systemctl restart fjmcp-broker.service; if it was deleted there, fjmcpctl setup registers another",

	PublicURLWrong:  "set FJMCP_BROKER_PUBLIC_URL in /etc/fjmcp/broker.env to the URL that clients use, then systemctl restart fjmcp-broker.service",
	PublicURLProxy:  "systemctl status fjmcp-tcp.socket, and have the proxy send to the broker's port or /run/fjmcp/http.sock",
	PublicURLSilent: "try it from another machine; if that works nothing is wrong, else mend DNS, firewall, certificate or proxy",

	NoWayOut: "let the broker reach port 443 of public addresses, or name the proxy that does in FJMCP_BROKER_CLIENT_METADATA_PROXY, " +
		"or set FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS=off, then systemctl restart fjmcp-broker.service",

	PolicyFaulty:   "fjmcpctl policy check tells all faults; mend them, then systemctl reload fjmcp-broker.service",
	PolicyGone:     "put the file back; if everybody is to have all rights, systemctl restart fjmcp-broker.service",
	PolicyUnloaded: "fjmcpctl policy check, then systemctl reload fjmcp-broker.service",
	PolicyNames:    "mend the forge, or write their numbers in the policy (alice#7), then systemctl reload fjmcp-broker.service",
}

// Cure says what mends the fault; "" for one that is not known.
func (f Fault) Cure() string { return cures[f] }

const itsLog = "the broker's standard error"

var withoutSystemd = strings.NewReplacer(
	cures[StoreFails], "make room where the database is, and give its files to the broker's user, mode 0600",
	cures[AuditFails], "have "+itsLog+" read",
	cures[SandboxFails], itsLog+" says why",
	cures[PublicURLProxy], "have the proxy send to the broker's port",
	"let it connect to /run/fjmcp/http.sock, or ", "",
	"fjmcpctl setup registers another", "register another",
	probeLog, itsLog,
	"journalctl -u fjmcp-launcher.service -n 20", itsLog,
	"journalctl -u fjmcp-broker.service -n 20", itsLog,
	"systemctl status fjmcp-broker.service fjmcp-broker.socket", itsLog+" says why",
	"is the broker enabled? systemctl enable --now fjmcp-broker.socket", "start the broker, and give --socket its admin.sock, in FJMCP_BROKER_STATE_DIR",
	"systemctl restart fjmcp-broker.service", "start the broker anew",
	"systemctl reload fjmcp-broker.service", "fjmcpctl policy reload",
	"systemctl restart fjmcp-broker.socket", "start the broker anew",
	" in /etc/fjmcp/broker.env", "",
	"/etc/fjmcp/credentials/", "the credential ",
)

// WithoutSystemd is a cure as it is where systemd does not run, such as in a container.
func WithoutSystemd(cure string) string { return withoutSystemd.Replace(cure) }
