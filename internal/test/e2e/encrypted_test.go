package e2e

import (
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/doctor"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// TestE2EEncryptedCredentials encrypts the credentials as docs/operations.md says, with the
// host's key, and lives with that: the broker, the doctor, setup, another store key and
// another client secret. Nothing lies in clear again.
func TestE2EEncryptedCredentials(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { encrypted(t, suite) })
	}
}

func encrypted(t *testing.T, suite string) {
	s := installIn(t, suite, standin(t))
	must(t, s.Configure(map[string]string{"FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS": "off"}))
	must(t, s.Enable(t.Context()))
	alice := connect(t, s, "alice")
	useTools(t, alice, "alice")
	steps := commandsOf(t, "Encrypt the keys on the disk")
	if len(steps) != 3 {
		t.Fatalf("%d blocks of commands", len(steps))
	}
	sh := func(what, script string) string {
		t.Helper()
		out, err := s.C.Shell(t.Context(), "set -e; "+script)
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		return out
	}
	inClear := func(want string) {
		t.Helper()
		if got := sh("the files", "cd /etc/fjmcp/credentials; stat -c '%a %U %n' *"); got != want {
			t.Errorf("there are\n%s", got)
		}
	}
	const files = "600 root forgejo-client-secret.cred\n600 root store-key.cred\n"

	if out := sh("encrypt", steps[0]); strings.Count(out, "same\n") != 2 || !strings.Contains(out, "\nwell: ") {
		t.Errorf("encrypting said\n%s", out)
	}
	inClear(files)
	useTools(t, alice, "alice") // her tokens, sealed before, can be opened
	wellBut(t, s, "")

	key := func() string {
		return sh("the key", "systemd-creds decrypt --name=store-key /etc/fjmcp/credentials/store-key.cred - | sha256sum")
	}
	before := key()
	sh("another key", steps[1])
	if key() == before {
		t.Error("the key is that of before")
	}
	inClear(files)
	useTools(t, alice, "alice")
	sh("the old key is not needed", "systemctl restart fjmcp-broker.service")
	useTools(t, alice, "alice")
	wellBut(t, s, "")

	// The client secret is dead: setup gets another, and a person does.
	token, err := s.Forge.PersonalToken("alice", "write:user")
	must(t, err)
	must(t, s.C.WriteFile("/root/token", []byte(token+"\n"), 0o600))
	if out := sh("setup", "fjmcpctl setup --dry-run; fjmcpctl setup --yes"); strings.Count(out, "unchanged: "+envFile) != 2 {
		t.Errorf("setup said\n%s", out)
	}
	inClear(files)
	const secretCred = secretFile + ".cred"
	_, err = s.Forge.RotateSecret(ClientID)
	must(t, err)
	if out := sh("setup", "fjmcpctl setup --token-file /root/token --yes"); !strings.Contains(out, "written: "+secretCred) || !strings.Contains(out, "\nbroker             ok ") {
		t.Errorf("setup said\n%s", out)
	}
	inClear(files)
	useTools(t, connect(t, s, "bob"), "bob")
	id := strings.TrimSpace(run(t, s, "sed", "-n", "s/^FJMCP_BROKER_FORGEJO_CLIENT_ID=//p", envFile))
	secret, err := s.Forge.RotateSecret(id)
	must(t, err)
	if r := examine(t, s, doctor.Failing); !names(r, "oauth-application", "does not know") && !names(r, "redirect-uri", "does not know") {
		t.Errorf("a dead secret: %+v", r)
	}
	sh("another secret", strings.Replace(steps[2], `systemd-ask-password -n "Client secret:"`, "echo "+secret, 1)+"systemctl restart fjmcp-broker.service")
	inClear(files)
	wellBut(t, s, "")
	useTools(t, connect(t, s, "bob"), "bob")

	// What is wrong with them is named.
	for _, c := range []struct{ begin, end, of, cause string }{
		{"cp /root/fjmcp-keys/store-key /etc/fjmcp/credentials/", "rm /etc/fjmcp/credentials/store-key", "permissions", "store-key lies in clear beside"},
		{"mv " + secretCred + " /root/x; systemctl restart fjmcp-broker.service || true", "mv /root/x " + secretCred, "settings", "forgejo-client-secret is missing or empty"},
		{"cp " + secretCred + " /root/x; echo rubbish >" + secretCred + "; systemctl restart fjmcp-broker.service || true", "cp /root/x " + secretCred, "settings", "cannot decrypt " + secretCred},
		{"mv /var/lib/systemd/credential.secret /root/y; systemctl restart fjmcp-broker.service || true", "mv -f /root/y /var/lib/systemd/credential.secret", "settings", "cannot decrypt /etc/fjmcp/credentials/"},
	} {
		sh("begin", c.begin)
		if r := examine(t, s, ""); !names(r, c.of, c.cause) {
			t.Errorf("after %s: %+v", c.begin, r)
		}
		sh("end", c.end+"; systemctl reset-failed 'fjmcp-*'; systemctl restart fjmcp-broker.socket fjmcp-broker.service")
	}
	wellBut(t, s, "")
	useTools(t, connect(t, s, "alice"), "alice")

	// A backup comes back, and neither key nor database with it in clear.
	sh("a backup", "fjmcpctl backup /root/backup.tar; fjmcpctl restore /root/backup.tar --yes")
	inClear(files)
	useTools(t, connect(t, s, "alice"), "alice")

	// Neither an upgrade nor a removal makes another key.
	must(t, s.InstallDeb(t.Context()))
	inClear(files)
	useTools(t, connect(t, s, "alice"), "alice")
}

// wellBut wants the doctor to find all well but for that finding.
func wellBut(t *testing.T, s *System, but string) {
	t.Helper()
	for _, f := range examine(t, s, doctor.Well).Findings {
		if f.State != health.OK && f.Name != but {
			t.Errorf("%s is %s: %s %+v", f.Name, f.State, f.Detail, f.Problems)
		}
	}
}

// commandsOf are the blocks of commands in a section of docs/operations.md.
func commandsOf(t *testing.T, section string) (all []string) {
	t.Helper()
	_, text, _ := strings.Cut(read(t, "docs/operations.md"), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, part := range strings.Split(text, "\n```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		all = append(all, block)
	}
	return all
}
