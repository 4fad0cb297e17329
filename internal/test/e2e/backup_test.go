package e2e

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

const (
	keyFile   = "/etc/fjmcp/credentials/store-key"
	backupTar = "/root/backup.tar"
	oldLogs   = "/root/journal"
)

// formerly is what was on the machine that is lost.
type formerly struct {
	backup, key, journal []byte
	members              []*member // of the fleet, each with a session
	alice                tokens    // refreshed twice since the backup
	givenBack            tokens    // alice's, since
	bob                  tokens    // blocked since
	carol                tokens    // Forgejo has replaced her token since
	dave                 tokens    // whose client was removed since
}

// A backup that was made under load goes to another machine. Clients keep their logins,
// sessions wake, and what has ended since has ended there.
func TestE2EBackup(t *testing.T) {
	one := enabled(t, standin(t), fleetSettings)
	one.Forge.AddUser("carol")
	one.Forge.AddUser("dave")
	was := lose(t, one)
	two := another(t, one, was)
	t.Run("refused", func(t *testing.T) { refusesToRestore(t, two, was) })
	out := run(t, two, "fjmcpctl", "restore", backupTar, "--journal", oldLogs, "--yes")
	for _, want := range []string{"The backup of 20", "1 user blocked", "1 client removed"} {
		if !strings.Contains(out, want) {
			t.Errorf("restore does not say %q: %s", want, out)
		}
	}
	must(t, two.Enable(t.Context()))
	t.Run("sessions wake", func(t *testing.T) {
		for _, m := range was.members {
			if m.user != "alice" {
				continue
			}
			c := newRaw(two, m.token)
			c.session = m.session
			if _, err := c.tool(t.Context(), 1, "get_my_user_info", nil); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	})
	t.Run("clients keep their logins", func(t *testing.T) {
		next := refresh(t, two, was.alice)
		if next.Refresh == "" {
			t.Fatal("alice has to log in")
		}
		works(t, two, next.Access)
		if next = refresh(t, two, next); next.Refresh == "" {
			t.Error("alice has to log in an hour later")
		}
	})
	t.Run("what has ended stays so", func(t *testing.T) { staysEnded(t, two, was) })
	t.Run("one login", func(t *testing.T) { logsInOnce(t, two, was) })
	events := "\n" + run(t, two, "journalctl", "-u", brokerUnit, "-o", "cat", "--output-fields=FJMCP_EVENT,FJMCP_OUTCOME,FJMCP_OPERATOR")
	for _, want := range []string{"restored", "replayed", "root (uid 0)", "grant_dead"} {
		if !strings.Contains(events, "\n"+want+"\n") {
			t.Errorf("the audit has no %q", want)
		}
	}
	if strings.Contains(events, "token_reused") {
		t.Error("somebody is taken for a thief")
	}
	t.Run("once more, in place", func(t *testing.T) { restoresInPlace(t, two) })
}

// lose makes a backup under load, has life go on, and keeps what an operator would.
func lose(t *testing.T, s *System) formerly {
	t.Helper()
	was := formerly{alice: logIn(t, s, "alice"), givenBack: logIn(t, s, "alice"), bob: logIn(t, s, "bob"), carol: logIn(t, s, "carol"), dave: logIn(t, s, "dave")}
	works(t, s, was.carol.Access)
	f := launch(t, s, fleetSize, "alice", "bob")
	was.members = f.members
	f.next(func() {})
	began, before := time.Now(), f.answered()
	f.next(func() { t.Logf("%s", run(t, s, "fjmcpctl", "backup", backupTar)) })
	before, took := f.answered()-before, time.Since(began)
	answered, failed := f.settle()
	t.Logf("%.0f calls a second", float64(before)/took.Seconds())
	if failed > 0 {
		t.Errorf("%d of %d calls failed", failed, answered+failed)
	}

	was.alice = refresh(t, s, refresh(t, s, was.alice))
	must(t, answer(s.post(t.Context(), "/oauth/revoke", formType, url.Values{"client_id": {was.givenBack.client}, "token": {was.givenBack.Refresh}}.Encode()), nil))
	run(t, s, "fjmcpctl", "users", "block", "bob", "--yes")
	run(t, s, "fjmcpctl", "clients", "remove", was.dave.client, "--yes")
	s.Forge.ExpireAccessTokens()
	works(t, s, was.carol.Access) // by a token that Forgejo gives for hers

	run(t, s, "systemctl", "stop", "fjmcp-broker.socket")
	run(t, s, "sh", "-c", "journalctl --sync; id=$(cat /etc/machine-id); cd /var/log/journal/$id 2>/dev/null || cd /run/log/journal/$id; tar -cf /root/journal.tar .")
	for path, to := range map[string]*[]byte{backupTar: &was.backup, keyFile: &was.key, "/root/journal.tar": &was.journal} {
		text, err := s.C.ReadFile(path)
		must(t, err)
		*to = text
	}
	return was
}

// answered counts the fleet's calls that were answered, while it is still.
func (f *fleet) answered() (n int) {
	for _, m := range f.members {
		n += int(m.answers.Load())
	}
	return n
}

// refresh trades a refresh token for the next pair, which is empty if that is refused.
func refresh(t *testing.T, s *System, l tokens) tokens {
	t.Helper()
	next, err := s.token(t.Context(), url.Values{"grant_type": {"refresh_token"}, "client_id": {l.client}, "refresh_token": {l.Refresh}})
	if err != nil {
		if !strings.Contains(err.Error(), "invalid_grant") && !strings.Contains(err.Error(), "invalid_client") {
			t.Errorf("a refresh is refused with %v", err)
		}
		return tokens{client: l.client}
	}
	return next
}

// works begins a session with an access token and calls in it.
func works(t *testing.T, s *System, access string) {
	t.Helper()
	c, err := rawClient(t.Context(), s, access)
	must(t, err)
	_, err = c.tool(t.Context(), 1, "get_my_user_info", nil)
	must(t, err)
}

// another is a machine with the package, the former settings, a key of its own, and what was
// kept. The forge is the same.
func another(t *testing.T, one *System, was formerly) *System {
	t.Helper()
	deb, err := Deb()
	must(t, err)
	root, err := nspawn.Root(t.Context(), "bookworm")
	must(t, err)
	c, err := nspawn.Boot(t.Context(), root)
	must(t, err)
	s := &System{C: c, transport: &http.Transport{DialContext: c.DialContext}}
	closeAfter(t, s)
	must(t, c.CopyIn(deb, "/root/fjmcp-broker.deb", 0o644))
	must(t, s.InstallDeb(t.Context()))
	must(t, s.InstallBackend(standin(t)))
	s.Forge = &fakeforge.Server{Forge: one.Forge.Forge, URL: ForgeURL, Listen: func() (net.Listener, error) {
		return c.Listen(t.Context(), "tcp", strings.TrimPrefix(ForgeURL, "http://"))
	}}
	must(t, s.Forge.Resume())
	must(t, s.Configure(fleetSettings))
	must(t, c.WriteFile(backupTar, was.backup, 0o600))
	must(t, c.WriteFile("/root/journal.tar", was.journal, 0o600))
	run(t, s, "sh", "-c", "mkdir "+oldLogs+" && tar -xf /root/journal.tar -C "+oldLogs)
	return s
}

// refusesToRestore tries what must not be restored, and ends with the right key in place.
func refusesToRestore(t *testing.T, s *System, was formerly) {
	refused := func(want string, args ...string) {
		t.Helper()
		out, err := s.C.Shell(t.Context(), "fjmcpctl restore --yes "+strings.Join(args, " ")+" 2>&1")
		if err == nil || !strings.Contains(out+err.Error(), want) {
			t.Errorf("restore %v: %v %s, want %q", args, err, out, want)
		}
		if out := run(t, s, "sh", "-c", "ls -A /var/lib/fjmcp"); strings.TrimSpace(out) != "" {
			t.Errorf("restore %v leaves %s", args, out)
		}
	}
	refused("it was made with another store key", backupTar, "--accept-stale") // the package's new one
	must(t, s.C.WriteFile(keyFile, was.key, 0o600))
	refused("the journal does not tell what has ended since", backupTar)
	must(t, s.C.WriteFile("/root/cut.tar", was.backup[:len(was.backup)/2], 0o600))
	refused("it is cut off", "/root/cut.tar", "--accept-stale")
	altered := append([]byte{}, was.backup...)
	altered[len(altered)/2] ^= 1
	must(t, s.C.WriteFile("/root/altered.tar", altered, 0o600))
	refused("it was altered", "/root/altered.tar", "--accept-stale")
}

// staysEnded looks at what ended after the backup.
func staysEnded(t *testing.T, s *System, was formerly) {
	for name, l := range map[string]tokens{"given back": was.givenBack, "of a blocked user": was.bob, "of a removed client": was.dave} {
		if refresh(t, s, l).Refresh != "" {
			t.Errorf("a login %s is back", name)
		}
		if _, err := rawClient(t.Context(), s, l.Access); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("a call by a login %s: %v", name, err)
		}
	}
	if out := run(t, s, "fjmcpctl", "users", "list", "--json"); !regexp.MustCompile(`"user":"bob","user_id":"\d+","blocked":true`).MatchString(out) {
		t.Errorf("bob is not blocked: %s", out)
	}
}

// logsInOnce is carol, whose token Forgejo has replaced: she logs in once, with one client,
// and the other one works again. Nobody else notices.
func logsInOnce(t *testing.T, s *System, was formerly) {
	c, err := rawClient(t.Context(), s, was.carol.Access)
	if err == nil {
		_, err = c.tool(t.Context(), 1, "get_my_user_info", nil)
	}
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Fatalf("carol's call: %v", err)
	}
	if refresh(t, s, was.carol).Refresh != "" {
		t.Error("carol need not log in")
	}
	works(t, s, logIn(t, s, "carol").Access)
	if next := refresh(t, s, was.carol); next.Refresh == "" {
		t.Error("carol's former client has to log in, too")
	}
	for _, m := range was.members {
		if m.user == "alice" {
			works(t, s, m.token)
			return
		}
	}
}

// restoresInPlace restores on a machine that serves, whose own journal tells what has ended.
func restoresInPlace(t *testing.T, s *System) {
	run(t, s, "fjmcpctl", "backup", "/root/second.tar")
	run(t, s, "fjmcpctl", "users", "unblock", "bob")
	pid := mainPID(t, s)
	out := run(t, s, "fjmcpctl", "restore", "/root/second.tar", "--yes", "--json")
	if !strings.Contains(out, `"outcome":"replayed"`) || !strings.Contains(out, `"former":"/var/lib/fjmcp/fjmcp.db.before-restore-`) {
		t.Errorf("restore says %s", out)
	}
	if now := mainPID(t, s); now == pid || now == "0" {
		t.Errorf("the broker's pid was %s and is %s", pid, now)
	}
	if out := run(t, s, "fjmcpctl", "users", "list", "--json"); strings.Contains(out, `"blocked":true`) {
		t.Errorf("bob is blocked again: %s", out)
	}
	if out := run(t, s, "sh", "-c", "stat -c '%U %a' /var/lib/fjmcp/fjmcp.db*"); strings.Count(out, "fjmcp 600") != strings.Count(out, "\n") {
		t.Errorf("the database and what is beside it: %s", out)
	}
}
