package e2e

import "testing"

// edit sets a setting, as with an editor, and has the broker take it.
func edit(name, value string) step {
	return sh(`sed -i 's|^` + name + `=.*|` + name + `=` + value + `|' ` + envFile + `; systemctl restart fjmcp-broker.service || true`)
}

const (
	restartBroker = "`systemctl restart fjmcp-broker.service`"

	// What everybody is told while the broker cannot start.
	unavailable  = "Service Unavailable"
	cannotStart  = "fjmcp-broker cannot start"
	credentials  = "/etc/fjmcp/credentials/"
	storeFailing = `"store":"failing"`
)

// brokerBreaks are of the broker's own: its disk, keys and settings.
var brokerBreaks = []broken{{
	what:  "the disk of `/var/lib/fjmcp` is full",
	begin: sh("dd if=/dev/zero of=/var/lib/fjmcp/filler bs=64k 2>/dev/null || true"),
	mend:  sh("rm /var/lib/fjmcp/filler"),
	cure:  "room on it",
	login: "The server cannot answer at the moment",
	exit:  1, status: "cannot write to the database … disk is full … to do: make room",
	ready:   storeFailing,
	journal: "health check fails … disk is full … make room",
}, {
	what:  "that disk is read-only",
	begin: sh("systemctl stop fjmcp-broker.service; mount -o remount,ro /var/lib/fjmcp; systemctl start fjmcp-broker.service"),
	cure:  "`mount -o remount,rw /var/lib/fjmcp`, " + restartBroker,
	login: unavailable, call: cannotStart,
	// It sees the file system as it was when it was started (mount_namespaces(7)).
	exit: 3, status: "its file system is read-only … mount -o remount,rw /var/lib/fjmcp, and start the broker anew",
	doctor:  "its file system is read-only … mount -o remount,rw /var/lib/fjmcp",
	ready:   cannotStart,
	journal: "its file system is read-only … mount -o remount,rw /var/lib/fjmcp, and start the broker anew",
}, {
	what:  "the database belongs to root",
	begin: sh("chown root:root /var/lib/fjmcp/fjmcp.db*; systemctl restart fjmcp-broker.service"),
	cure:  "`chown fjmcp:fjmcp /var/lib/fjmcp/fjmcp.db*`",
	login: unavailable, call: cannotStart,
	exit: 3, status: "/var/lib/fjmcp/fjmcp.db: it belongs to uid 0 … run: chown",
	ready:   cannotStart,
	journal: "/var/lib/fjmcp/fjmcp.db: it belongs to uid 0 … run: chown",
}, {
	what: "the database is damaged",
	begin: sh("systemctl stop fjmcp-broker.service; cp -a /var/lib/fjmcp/fjmcp.db /root/backup.db; " +
		"head -c 65536 /dev/urandom >/var/lib/fjmcp/fjmcp.db; systemctl restart fjmcp-broker.service"),
	// As docs/operations.md has it.
	mend: sh("systemctl stop fjmcp-broker.socket; rm -f /var/lib/fjmcp/fjmcp.db-wal /var/lib/fjmcp/fjmcp.db-shm; " +
		"install -o fjmcp -g fjmcp -m 0600 /root/backup.db /var/lib/fjmcp/fjmcp.db; systemctl start fjmcp-broker.socket"),
	cure:  "[a backup of it](#backup)",
	login: unavailable, call: cannotStart,
	exit: 3, status: "/var/lib/fjmcp/fjmcp.db: file is not a database … restore a backup",
	ready:   cannotStart,
	journal: "/var/lib/fjmcp/fjmcp.db: file is not a database … restore a backup",
}, {
	what:  "the store key is another",
	begin: sh("mv " + credentials + "store-key /root/; (umask 077; head -c 32 /dev/urandom >" + credentials + "store-key); systemctl restart fjmcp-broker.service || true"),
	mend:  sh("mv /root/store-key " + credentials),
	cure:  "the right one, " + restartBroker,
	login: unavailable, call: cannotStart,
	exit: 3, status: "store-key: it is not the key of /var/lib/fjmcp/fjmcp.db … restore the key from your backup to " + credentials + "store-key",
	ready:   cannotStart,
	journal: "store-key: it is not the key of /var/lib/fjmcp/fjmcp.db … restore the key from your backup",
}, {
	what:  "the store key is missing",
	begin: sh("mv " + credentials + "store-key /root/; systemctl restart fjmcp-broker.service || true"),
	mend:  sh("mv /root/store-key " + credentials),
	cure:  "its backup, " + restartBroker,
	login: unavailable, call: cannotStart,
	exit: 3, status: "store-key is missing or empty; restore it from your backup",
	ready:   cannotStart,
	journal: "store-key is missing or empty; restore it from your backup",
}, {
	what:  "the client secret is missing",
	begin: sh("mv " + secretFile + " /root/; systemctl restart fjmcp-broker.service || true"),
	mend:  sh("mv /root/forgejo-client-secret " + credentials),
	cure:  "the file, " + restartBroker,
	login: unavailable, call: cannotStart,
	exit: 3, status: "forgejo-client-secret is missing or empty; write the client secret … to " + secretFile,
	ready:   cannotStart,
	journal: "forgejo-client-secret is missing or empty; write the client secret … to " + secretFile,
}, {
	what:  "a typo in `broker.env`",
	begin: sh("sed -i s/FORGEJO_URL/FORGEJO_URI/ " + envFile + "; systemctl restart fjmcp-broker.service || true"),
	mend:  sh("sed -i s/FORGEJO_URI/FORGEJO_URL/ " + envFile),
	cure:  "its correction, " + restartBroker,
	login: unavailable, call: cannotStart,
	exit: 3, status: "FORGEJO_URI is not a setting … correct its spelling … FJMCP_BROKER_FORGEJO_URL is missing",
	ready:   cannotStart,
	journal: "FORGEJO_URI is not a setting … correct its spelling … FJMCP_BROKER_FORGEJO_URL is missing",
}, {
	what:  "`fjmcp-broker.socket` is stopped",
	begin: sh("systemctl disable --now fjmcp-broker.socket"),
	cure:  "`systemctl enable --now fjmcp-broker.socket`",
	login: "connection refused", call: "connection refused",
	doctor: "fjmcp-broker.socket is stopped: nobody listens … to do: systemctl enable --now fjmcp-broker.socket",
	exit:   3, status: "is the broker enabled? systemctl enable --now fjmcp-broker.socket",
	ready:   noAnswer,
	journal: "Closed fjmcp-broker.socket",
}, {
	what:  "a drain was forgotten",
	begin: sh("fjmcpctl drain"),
	cure:  "`fjmcpctl drain --resume`",
	login: unavailable, call: "503 Service Unavailable … under maintenance",
	exit: 1, status: "fjmcpctl drain --resume ends it",
	doctor: "a drain is under way … to do: fjmcpctl drain --resume",
}, {
	what:  "nothing answers at the public URL",
	begin: edit("FJMCP_BROKER_PUBLIC_URL", "http://127.0.0.1:8081"),
	mend:  edit("FJMCP_BROKER_PUBLIC_URL", PublicURL),
	cure:  "the right FJMCP_BROKER_PUBLIC_URL, " + restartBroker,
	login: "does not match issuer URL",
	worse: true, doctor: "http://127.0.0.1:8081 cannot be reached from this machine … redirect URI that the application does not have",
	exit: 0, status: "http://127.0.0.1:8081 cannot be reached from this machine … to do: try it from another machine",
	journal: "health check warns … http://127.0.0.1:8081 cannot be reached from this machine",
}, {
	what:  "the public URL is another server's",
	begin: edit("FJMCP_BROKER_PUBLIC_URL", "https://"+benchHost),
	mend:  edit("FJMCP_BROKER_PUBLIC_URL", PublicURL),
	cure:  "the right FJMCP_BROKER_PUBLIC_URL, " + restartBroker,
	login: "does not match issuer URL",
	exit:  1, status: "what answers at https://" + benchHost + " is not this broker … to do: set FJMCP_BROKER_PUBLIC_URL",
	ready:   `"public-url":"failing"`,
	journal: "health check fails … what answers at https://" + benchHost + " is not this broker",
}, {
	what: "another program has the port",
	begin: sh("systemctl stop fjmcp-broker.socket; systemd-run --quiet --unit=squatter systemd-socket-activate -l 127.0.0.1:8080 -a --inetd /bin/cat; " +
		"until ss -ltn | grep -q 127.0.0.1:8080; do sleep 0.1; done; systemctl start fjmcp-broker.socket"),
	mend:  sh("systemctl stop squatter.service"),
	cure:  "the end of that program, " + restartBroker,
	login: "malformed HTTP", call: "malformed HTTP",
	exit: 0, status: PublicURL + " cannot be reached from this machine",
	doctor:  "fjmcp-tcp.socket is … perhaps another program has it … to do: ss -ltnp",
	ready:   noAnswer,
	journal: "fjmcp-tcp.socket: Failed to listen on sockets: Address already in use",
}, {
	what: "journald is stopped",
	begin: func(t *testing.T, b *bench) {
		sh("systemctl stop "+journald)(t, b)
		must(t, b.call(t)) // or there is nothing to write
	},
	cure: "`systemctl start systemd-journald.service`",
	exit: 0, status: "events cannot be written since … to do: systemctl start systemd-journald.service",
}}
