package e2e

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// atForges is a step that is taken at the forge.
func atForges(do func(*bench) error) step {
	return func(t *testing.T, b *bench) {
		t.Helper()
		must(t, do(b))
	}
}

const (
	forgeFailing = `"forge":"failing"`
	mendForge    = " … to do: mend the forge, DNS or TLS"
	unreachable  = "Forgejo cannot be reached"
	noWay        = "cannot reach the forge"
)

const refusedToken = "the forge has refused the token of 1, who log in again"

const lostLogin = "401 Unauthorized … forgejo no longer accepts this login"

// expire has the forge show a certificate that has expired.
func expire(t *testing.T, b *bench) {
	t.Helper()
	leaf, key := certificate(t, b.ca, b.caKey, time.Now().Add(-time.Minute))
	b.shown.Store(&tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key})
	b.endConnections(t)
}

// newApplication has another one at the forge, and the broker know it.
func newApplication(t *testing.T, b *bench) {
	const secret = "gto_another"
	app, err := b.Forge.Register(fakeforge.App{Name: "another", ClientSecret: secret, RedirectURIs: []string{PublicURL + "/oauth/callback"}})
	must(t, err)
	must(t, b.SetClientSecret(secret))
	edit("FJMCP_BROKER_FORGEJO_CLIENT_ID", app.ClientID)(t, b)
}

// forgeBreaks are of the forge and the way to it.
var forgeBreaks = []broken{{
	what:  "the forge is stopped",
	begin: atForges(func(b *bench) error { b.Forge.Stop(); return nil }),
	mend:  atForges(func(b *bench) error { return b.Forge.Resume() }),
	cure:  "the forge",
	login: "connection refused", call: "cannot reach the forge https://" + benchHost,
	exit: 1, status: "no usable answer came: connection refused" + mendForge,
	ready:   forgeFailing,
	journal: "health check fails … connection refused",
}, {
	what:  "the forge's URL is another server's",
	begin: edit("FJMCP_BROKER_FORGEJO_URL", "http://forgejo.localhost:8080"),
	mend:  edit("FJMCP_BROKER_FORGEJO_URL", "https://"+benchHost),
	cure:  "the right one, " + restartBroker,
	login: "There is nothing here", call: "the forgejo-mcp program ended unexpectedly",
	exit: 1, status: "there is nothing at this path … to do: set FJMCP_BROKER_FORGEJO_URL",
	ready:   forgeFailing,
	journal: "health check fails … there is nothing at this path",
}, {
	what: "the forge's name cannot be resolved",
	begin: func(t *testing.T, b *bench) {
		sh("cp /etc/hosts /root/; echo 127.0.0.1 localhost >/etc/hosts; systemctl restart fjmcp-egress.service")(t, b)
		b.endConnections(t)
	},
	mend:  sh("cp /root/hosts /etc/hosts"),
	cure:  "DNS",
	login: unreachable, call: noWay,
	exit: 1, status: "the name " + benchHost + " cannot be resolved" + mendForge,
	ready:   forgeFailing,
	journal: "health check fails … the name " + benchHost + " cannot be resolved",
}, {
	what:  "the forge's private CA is not set",
	begin: sh("sed -i 's/^FJMCP_BROKER_FORGEJO_CA_FILE/#&/' " + envFile + "; systemctl restart fjmcp-broker.service"),
	mend:  sh("sed -i 's/^#FJMCP_BROKER_FORGEJO_CA_FILE/FJMCP_BROKER_FORGEJO_CA_FILE/' " + envFile),
	cure:  "FJMCP_BROKER_FORGEJO_CA_FILE, " + restartBroker,
	login: unreachable, call: unreachable,
	exit: 1, status: "signed by an unknown authority: name its CA in FJMCP_BROKER_FORGEJO_CA_FILE",
	ready:   forgeFailing,
	journal: "health check fails … signed by an unknown authority: name its CA in FJMCP_BROKER_FORGEJO_CA_FILE",
}, {
	what:  "the forge's certificate has expired",
	begin: expire,
	mend:  atForges(func(b *bench) error { b.shown.Store(b.good); return nil }),
	cure:  "another",
	login: "certificate has expired", call: noWay,
	exit: 1, status: "certificate has expired" + mendForge,
	ready:   forgeFailing,
	journal: "health check fails … certificate has expired",
}, {
	what: "a proxy before the forge answers 502",
	begin: atForges(func(b *bench) error {
		return b.Forge.Inject(fakeforge.Fault{Kind: "status", Status: http.StatusBadGateway})
	}),
	mend:  atForges(func(b *bench) error { b.Forge.ClearFaults(); return nil }),
	cure:  "the forge behind it",
	login: "Something went wrong", call: "502 Bad Gateway",
	exit: 1, status: "HTTP 502" + mendForge,
	ready:   forgeFailing,
	journal: "health check fails … HTTP 502",
}, {
	what:  "the forge's CA file cannot be read",
	begin: sh("chmod 0600 " + caFile + "; systemctl restart fjmcp-broker.service || true"),
	cure:  "`chmod 0644 " + caFile + "`, " + restartBroker,
	login: unavailable, call: cannotStart,
	exit: 3, status: "FJMCP_BROKER_FORGEJO_CA_FILE … permission denied",
	ready:   cannotStart,
	journal: "FJMCP_BROKER_FORGEJO_CA_FILE … permission denied",
}, {
	what:  "the client secret is wrong",
	begin: sh("echo wrong >" + secretFile + "; systemctl restart fjmcp-broker.service"),
	mend:  atForges(func(b *bench) error { return b.SetClientSecret(ClientSecret) }),
	cure:  "the right one, " + restartBroker,
	login: "This server is not set up correctly",
	exit:  1, status: "forgejo does not know the OAuth application or its secret … to do: compare",
	ready:   `"oauth-application":"failing"`,
	journal: "health check fails … forgejo does not know the OAuth application or its secret",
}, {
	what:  "the application has another redirect URI",
	begin: atForges(func(b *bench) error { return b.Forge.Redirect(ClientID, "https://mcp.example.org/oauth/callback") }),
	mend:  atForges(func(b *bench) error { return b.Forge.Redirect(ClientID, PublicURL+"/oauth/callback") }),
	cure:  "the right one, at the forge",
	login: "Unregistered Redirect URI",
	worse: true, doctor: "redirect URI that the application does not have … to do: enter it at the forge",
}, {
	what:    "the forge was restored from a backup",
	begin:   atForges(func(b *bench) error { b.restore(); return nil }),
	cure:    "a login, with the forge as with the broker",
	call:    lostLogin,
	doctor:  refusedToken,
	journal: "forgejo refresh failed … already used or has expired",
	again:   true,
}, {
	what:  "a user revoked the application",
	begin: atForges(func(b *bench) error { _, err := b.Forge.RevokeGrants("alice"); return err }),
	cure:  "a login of that user",
	call:  lostLogin,
	again: true, doctor: refusedToken,
}, {
	what:  "a user is suspended at the forge",
	begin: atForges(func(b *bench) error { return b.Forge.Suspend("alice", true) }),
	mend:  atForges(func(b *bench) error { return b.Forge.Suspend("alice", false) }),
	cure:  "the end of that, and a login of that user",
	call:  "401 Unauthorized",
	again: true, doctor: refusedToken,
}, {
	what:   "the forge's clock is two hours ahead",
	begin:  atForges(func(b *bench) error { b.Forge.Advance(2 * time.Hour); return nil }),
	cure:   "nothing needs to",
	doctor: "the forge's clock is",
}, {
	what: "the application was deleted at the forge", // last: its ID does not come back
	begin: func(t *testing.T, b *bench) {
		must(t, b.Forge.DeleteApp(ClientID))
		if b.call(t) == nil { // by which it is seen
			t.Error("a call works")
		}
	},
	mend:  newApplication,
	cure:  "another one (fjmcpctl setup), and a login of each user",
	login: "Client ID not registered", call: "its operator finds the cause in the journal",
	exit: 1, status: "forgejo does not know the OAuth application or its secret … to do: compare",
	ready:   `"oauth-application":"failing"`,
	journal: "health check fails … forgejo does not know the OAuth application or its secret",
	again:   true,
}}
