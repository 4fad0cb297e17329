package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/operator/setup"
)

func TestAllIsWell(t *testing.T) {
	w := newWorld(t)
	w.trust()
	w.front = setting(w.front, "X-Forwarded-For", "203.0.113.5")
	before := w.listing()
	var out bytes.Buffer
	r := w.Doctor.Print(t.Context(), &out, io.Discard)
	if r.Health != Well || strings.Contains(out.String(), "to do") {
		t.Errorf("got %s:\n%s", r.Health, &out)
	}
	if lines := strings.Count(out.String(), "\n"); lines != len(r.Findings)+2 {
		t.Errorf("%d findings in %d lines:\n%s", len(r.Findings), lines, &out)
	}
	for _, f := range r.Findings {
		if f.State != health.OK {
			t.Errorf("%s is %s: %s", f.Name, f.State, f.Detail)
		}
	}
	if after := w.listing(); after != before {
		t.Errorf("it changed\n%s\nto\n%s", before, after)
	}
}

// listing is all files with their modes and times.
func (w *world) listing() string {
	var b strings.Builder
	w.must(fs.WalkDir(os.DirFS(w.Doctor.Root), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		fmt.Fprintln(&b, path, info.Mode(), info.ModTime())
		return err
	}))
	return b.String()
}

// setting is a proxy that sets a header; "" takes it away.
func setting(h http.Handler, name, value string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
		h.ServeHTTP(w, r)
	})
}

// TestFindings breaks one thing at a time: each is named with its cause, and with what
// mends it.
func TestFindings(t *testing.T) {
	const failing, warning = health.Failing, health.Warning
	for name, c := range map[string]struct {
		begin       func(*world)
		of          string
		state       health.State
		cause, cure string
		health      string
	}{
		"the broker does not run": {func(w *world) { w.stop() }, "broker", failing, "the broker does not run", "systemctl", admin.NotRunning},
		"no socket":               {func(w *world) { w.Doctor.Caller = admin.NewCaller(w.path("/no.sock")) }, "broker", failing, "no such file", "systemctl enable --now fjmcp-broker.socket", admin.NotRunning},
		"another version":         {func(w *world) { w.desk.status.Version = "1.2.2" }, "broker", warning, "the broker that runs is 1.2.2", "systemctl restart fjmcp-broker.service", Well},
		"drained":                 {func(w *world) { w.desk.status.DrainingSince = time.Now() }, "broker", failing, "a drain is under way", "fjmcpctl drain --resume", Failing},
		"the store":               {func(w *world) { w.check("store", failing, health.StoreFails, "disk is full") }, "store", failing, "disk is full", "make room", Failing},
		"a typo":                  {func(w *world) { w.editFile(envFile, "FORGEJO_URL", "FORGEJO_URI") }, "settings", failing, "FORGEJO_URI is not a setting", "systemctl restart", Failing},
		"no settings":             {func(w *world) { w.must(os.Remove(w.path(envFile))) }, "settings", failing, "no such file", "fjmcp-broker.env(5)", Failing},
		"no secret":               {func(w *world) { w.must(os.Remove(w.path(credentials + "/forgejo-client-secret"))) }, "settings", failing, "forgejo-client-secret is missing", "systemctl restart", Failing},
		"a stopped socket":        {func(w *world) { w.edit(showUnits, "ActiveState=active", "ActiveState=inactive") }, "units", failing, "nobody listens", "systemctl enable --now fjmcp-broker.socket", Failing},
		"not at boot":             {func(w *world) { w.edit(showUnits, "enabled", "disabled") }, "units", warning, "does not start with the machine", "systemctl enable fjmcp-broker.socket", Well},
		"a taken port":            {func(w *world) { w.unit(portSocket, "ActiveState=active", "ActiveState=failed") }, "units", warning, "fjmcp-tcp.socket is failed", "ss -ltnp", Well},
		"metrics later": {func(w *world) {
			w.unit(metricsSocket, "inactive\nUnitFileState=disabled", "failed\nUnitFileState=enabled")
		}, "units", warning, "there are no metrics", "systemctl restart fjmcp-broker.service", Well},
		"a masked launcher":      {func(w *world) { w.unit("fjmcp-launcher.socket", "LoadState=loaded", "LoadState=masked") }, "units", failing, "fjmcp-launcher.socket is masked", "systemctl unmask fjmcp-launcher.socket", Failing},
		"a failed egress":        {func(w *world) { w.unit("fjmcp-egress.service", "ActiveState=active", "ActiveState=failed") }, "units", failing, "fjmcp-egress.service has failed", "journalctl -u fjmcp-egress.service", Failing},
		"an unread file":         {func(w *world) { w.unit("fjmcp-egress.service", "Reload=no", "Reload=yes") }, "units", warning, "have changed", "systemctl daemon-reload", Well},
		"a file of the template": {func(w *world) { w.write("/etc/systemd/system/fjmcp-session@.service", "", 0o644) }, "units", failing, "refuses every session", "rm /etc/systemd/system/fjmcp-session@.service", Failing},
		"low limits":             {func(w *world) { w.edit("systemctl show --property=Id,TasksMax", "32768", "512") }, "limits", failing, "more than TasksMax=512", "systemctl edit fjmcp-sessions.slice", Failing},
		"an open secret":         {func(w *world) { w.must(os.Chmod(w.path(credentials+"/store-key"), 0o644)) }, "permissions", failing, "/store-key: its mode is 0644", "chmod 0600 " + credentials + "/store-key", Failing},
		"root's database":        {func(w *world) { w.must(os.Chown(w.path(stateDir+"/fjmcp.db"), 0, 0)) }, "permissions", failing, "fjmcp.db: it belongs to uid 0", "chown fjmcp:fjmcp", Failing},
		"a directory is missing": {func(w *world) { w.must(os.RemoveAll(w.path("/run/fjmcp-private"))) }, "permissions", failing, "there is no /run/fjmcp-private", "systemd-tmpfiles --create", Failing},
		"no user":                {func(w *world) { w.write("/etc/passwd", "root:x:0:0\n", 0o644) }, "permissions", failing, "no user fjmcp", "systemd-sysusers", Failing},
		"journald": {func(w *world) {
			w.edit("systemctl show --property=Id,LoadState,ActiveState --", "=active", "=inactive")
		}, "journal", warning, "events cannot be written", "systemctl start systemd-journald.service", Well},
		"an opened unit": {func(w *world) { w.edit("systemd-analyze security", "0.7", "9.2") }, "sandbox", warning, "has an exposure of 9.2", "systemctl revert", Well},
		"an override": {func(w *world) {
			w.write("/etc/systemd/system/fjmcp-session@.service.d/50-local.conf", "", 0o644)
			w.check("forgejo-mcp", failing, health.SandboxFails, "it ended")
		}, "sandbox", warning, "50-local.conf", "systemctl revert 'fjmcp-session@.service'", Failing},
		"processes":            {func(w *world) { w.desk.status.Launcher.Kind = "process" }, "sandbox", warning, "child processes of the broker", "with systemd", Well},
		"another redirect URI": {func(w *world) { w.must(w.forge.Redirect(w.forge.App.ClientID, "https://elsewhere.example/cb")) }, "redirect-uri", failing, "/oauth/callback as a redirect URI that the application does not have", "enter it at the forge", Failing},
		"a secret that has just died": {func(w *world) {
			_, err := w.forge.RotateSecret(w.forge.App.ClientID)
			w.must(err)
		}, "redirect-uri", failing, "does not know the OAuth application or its secret", "compare FJMCP_BROKER_FORGEJO_CLIENT_ID", Failing},
		"a forge from a backup": {func(w *world) { w.desk.status.Store = admin.StoreStatus{Users: 5, UsersLost: 3} }, "users", warning, "the tokens of 3 of 5 users", "they log in the next time", Well},
		"a few who have left":   {func(w *world) { w.desk.status.Store = admin.StoreStatus{Users: 50, UsersLost: 3, UsersBroader: 2} }, "users", warning, "2 users have granted more", "/user/settings/applications and log in again, or set", Well},
		"narrower scopes":       {func(w *world) { w.desk.status.Store = admin.StoreStatus{Users: 5, UsersNarrower: 4} }, "users", warning, "4 users have granted less", "revoke the application at", Well},
		"a name of the policy that somebody else has": {func(w *world) {
			w.desk.policy = admin.PolicyCheck{File: "/etc/fjmcp/policy.toml", Rules: 1, Faults: []string{`line 3: users: "alice" was id 7 and is id 9 at the forge now`}}
		}, "policy-file", failing, `/etc/fjmcp/policy.toml: line 3: users: "alice" was id 7`, "systemctl reload fjmcp-broker.service", Failing},
		"an encrypted key": {func(w *world) {
			w.says["systemctl cat"] += "LoadCredentialEncrypted=store-key:" + credentials + "/store-key.cred\n"
			w.says["systemd-creds decrypt"] = strings.Repeat("k", 31)
			w.write(credentials+"/store-key.cred", "sealed", 0o600)
		}, "settings", failing, "want exactly 32 bytes in " + credentials + "/store-key.cred (encrypted: systemd-creds encrypt --name=store-key)", "systemctl restart", Failing},
		"a key in clear": {func(w *world) {
			w.says["systemctl cat"] += "LoadCredentialEncrypted=store-key:" + credentials + "/store-key.cred\n"
			w.says["systemd-creds decrypt"] = strings.Repeat("k", 32)
			w.write(credentials+"/store-key.cred", "sealed", 0o600)
		}, "permissions", warning, "/store-key lies in clear beside " + credentials + "/store-key.cred", "move it to your backup", Well},
		"no encrypted key": {func(w *world) {
			w.says["systemctl cat"] += "LoadCredentialEncrypted=store-key:" + credentials + "/store-key.cred\n"
		}, "settings", failing, "credential store-key is missing or empty; restore it from your backup", "systemctl restart", Failing},
		"a clock that is ahead":  {func(w *world) { w.forge.Advance(2 * time.Hour) }, "clock", warning, " ahead of this machine's; this machine's is synchronized", "timedatectl", Well},
		"an untrusted proxy":     {func(*world) {}, "proxy", warning, "the proxy is not believed", "FJMCP_BROKER_TRUSTED_PROXIES", Well},
		"a credulous proxy":      {func(w *world) { w.trust() }, "proxy", warning, "what a client says of itself", "$remote_addr", Well},
		"a proxy that refuses":   {func(w *world) { w.front = refusing(w.front) }, "proxy", warning, "refuses requests that the broker would take, of up to 64 MB", "client_max_body_size", Well},
		"a proxy without a path": {func(w *world) { w.front = http.NotFoundHandler() }, "proxy", failing, "cannot be read: 404", "must pass every path", Failing},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.begin(w)
			r := w.Doctor.Examine(t.Context())
			if r.Health != c.health {
				t.Errorf("it is %s, want %s: %+v", r.Health, c.health, r.Findings)
			}
			if !has(r, c.of, c.state, c.cause, c.cure) {
				t.Errorf("%s does not say %q, %q: %+v", c.of, c.cause, c.cure, r.Findings)
			}
			text, err := json.Marshal(r)
			if err != nil || strings.Contains(string(text), w.forge.App.ClientSecret) || strings.Contains(string(text), "not to be believed") {
				t.Errorf("%v, %s", err, text)
			}
		})
	}
}

// has reports whether a finding of that state, "" for any, has a problem with that cause and cure.
func has(r Report, of string, state health.State, cause, cure string) bool {
	for _, f := range r.Findings {
		for _, p := range f.Problems {
			if f.Name == of && (state == "" || f.State == state) && strings.Contains(p.Cause, cause) && strings.Contains(p.Cure, cure) {
				return true
			}
		}
	}
	return false
}

// unit changes a property of a unit.
func (w *world) unit(name, old, changed string) {
	w.t.Helper()
	before, block, found := strings.Cut(w.says[showUnits], "Id="+name+"\n")
	if !found || !strings.Contains(block, old) {
		w.t.Fatalf("there is no %s of %s", old, name)
	}
	w.says[showUnits] = before + "Id=" + name + "\n" + strings.Replace(block, old, changed, 1)
}

// refusing is a proxy that takes no body of more than 1 MB, as nginx does by itself.
func refusing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 1<<20 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// A proxy that keeps events back is told from one that does not.
func TestKeptEvents(t *testing.T) {
	w := newWorld(t)
	inner := w.front
	w.front = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b := &kept{header: http.Header{}}
		inner.ServeHTTP(b, r)
		_, _ = rw.Write(b.Bytes())
	})
	if r := w.Doctor.Examine(t.Context()); !has(r, "proxy", health.Warning, "keeps events back", "proxy_buffering off") {
		t.Errorf("got %+v", r.Findings)
	}
}

type kept struct {
	bytes.Buffer
	header http.Header
}

func (k *kept) Header() http.Header { return k.header }
func (k *kept) WriteHeader(int)     {}
func (k *kept) Flush()              {}

// A trial is for one request, and nobody can guess one.
func TestTrialOnce(t *testing.T) {
	w := newWorld(t)
	for method, good := range map[string]int{http.MethodGet: http.StatusOK, http.MethodPost: http.StatusNoContent} {
		trial, err := w.Doctor.Caller.Trial(t.Context())
		w.must(err)
		for i, want := range []int{http.StatusNotFound, good, http.StatusNotFound} {
			address := trial.URL
			if i == 0 {
				address += "x"
			}
			req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(strings.Repeat("x", 1<<20)))
			w.must(err)
			resp, err := w.public.Client().Do(req)
			w.must(err)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s %d: got %d, want %d", method, i, resp.StatusCode, want)
			}
			if want == http.StatusOK && resp.Header.Get("X-Accel-Buffering") != "no" {
				t.Errorf("nginx would keep the stream back: %v", resp.Header)
			}
		}
	}
}

// group has the control group that the doctor is in bounded so.
func (w *world) group(pids, memory string) {
	w.write("/proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n", 0o444)
	w.write("/sys/fs/cgroup/a/b/pids.max", pids+"\n", 0o444)
	w.write("/sys/fs/cgroup/a/b/memory.max", memory+"\n", 0o444)
}

// What fits is said to fit.
func TestControlGroupWithRoom(t *testing.T) {
	for _, within := range []string{"/a/b", "/", "/../.."} {
		w := newWorld(t)
		w.must(os.RemoveAll(w.path("/run/systemd")))
		w.group("max", "max")
		w.write("/proc/self/cgroup", "0::"+within+"\n", 0o444)
		w.write("/sys/fs/cgroup/pids.max", "4096\n", 0o444)
		d, f := w.Doctor, Finding{}
		d.groupLimits(&f, 200)
		if len(f.Problems) != 0 || f.State == Skipped || f.Detail != "200 sessions fit this control group" {
			t.Errorf("%s: %+v", within, f)
		}
	}
}

// A broker that was taken over has root ask nowhere but at the public URL of the settings.
func TestBrokerNamesAnotherPlace(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	w.desk.names, w.desk.status.PublicURL = elsewhere.URL+"/doctor/x", elsewhere.URL
	r := w.Doctor.Examine(t.Context())
	if last := r.Findings[len(r.Findings)-1]; last.Name != "proxy" || last.State != Skipped || asked.Load() != 0 {
		t.Errorf("asked %d times; %+v", asked.Load(), last)
	}
}

// Over the unix socket a proxy that says nothing is told from one that is believed.
func TestSilentProxy(t *testing.T) {
	var f Finding
	judgeSource(&f, admin.Seen{Source: "local", Believed: true})
	if f.State != health.Warning || !strings.Contains(f.Problems[0].Cause, "does not say where requests come from") {
		t.Errorf("got %+v", f)
	}
}

// While the broker does not run, the forge and forgejo-mcp are looked at from here.
func TestWithoutABroker(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.must(os.Chmod(w.path("/usr/bin/forgejo-mcp"), 0o644))
	w.write(credentials+"/forgejo-client-secret", "wrong", 0o600)
	r := w.Doctor.Examine(t.Context())
	if r.Health != admin.NotRunning || !has(r, "forgejo-mcp", health.Failing, "mode -rw-r--r--", "chmod 0755") ||
		!has(r, "oauth-application", health.Failing, "does not know the OAuth application", "compare") {
		t.Errorf("got %+v", r)
	}
	w.forge.Stop()
	if r := w.Doctor.Examine(t.Context()); !has(r, "forge", health.Failing, "refused", "mend the forge") {
		t.Errorf("got %+v", r)
	}
}

// Where there is no systemd it says what that lacks, where the settings come from, and no
// cure that only systemd could carry out.
func TestWithoutSystemd(t *testing.T) {
	for name, c := range map[string]struct {
		begin           func(*world)
		of, cause, cure string
		health          string
	}{
		"all is well": {func(*world) {}, "sandbox", "no uid, root or journal of their own", "", Well},
		"no socket": {func(w *world) { w.Doctor.Caller = admin.NewCaller(w.path("/no.sock")) },
			"broker", "no such file", "start the broker, and give --socket its admin.sock", admin.NotRunning},
		"another version": {func(w *world) { w.desk.status.Version = "1.2.2" }, "broker", "the broker that runs is 1.2.2", "start the broker anew", Well},
		"a typo": {func(w *world) { w.Doctor.Environ = append(w.Doctor.Environ, "FJMCP_BROKER_FORGEJO_URI=x") },
			"settings", "FORGEJO_URI is not a setting", "set it for the broker's process", Failing},
		"the application": {func(w *world) { w.check("oauth-application", health.Failing, health.ApplicationUnknown, "unknown") },
			"oauth-application", "unknown", "the credential forgejo-client-secret", Failing},
		"a clock that is ahead": {func(w *world) { w.forge.Advance(2 * time.Hour) }, "clock", "cannot be seen", "have NTP", Well},
		"few processes":         {func(w *world) { w.group("2048", "max") }, "limits", "FJMCP_BROKER_SESSIONS_MAX=200 is more than 2048 processes", "podman run --pids-limit=3264", Well},
		"little memory":         {func(w *world) { w.group("max", "1073741824") }, "limits", "FJMCP_BROKER_SESSIONS_MAX=200 is more than 1024 MiB", "podman run --memory=1664m", Well},
		"little around it":      {func(w *world) { w.group("4096", "max"); w.write("/sys/fs/cgroup/a/pids.max", "100\n", 0o444) }, "limits", "more than 100 processes", "--pids-limit", Well},
		"an untrusted proxy":    {func(*world) {}, "proxy", "is not believed", "name its address in FJMCP_BROKER_TRUSTED_PROXIES and start the broker anew", Well},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			text, err := os.ReadFile(w.path(envFile))
			w.must(err)
			w.must(os.RemoveAll(w.path("/run/systemd")))
			w.desk.status.Launcher.Kind = "process"
			w.Doctor.Environ = append(setup.Environment(string(text)), "CREDENTIALS_DIRECTORY="+w.path(credentials),
				"FJMCP_BROKER_LAUNCHER=process", "FJMCP_BROKER_STATE_DIR="+w.path(stateDir))
			c.begin(w)
			r := w.Doctor.Examine(t.Context())
			if r.Health != c.health || !has(r, c.of, "", c.cause, c.cure) {
				t.Errorf("got %+v", r)
			}
			said, err := json.Marshal(r)
			w.must(err)
			for _, word := range []string{"systemctl", "journalctl", "timedatectl", "/etc/fjmcp", "/run/fjmcp"} {
				if strings.Contains(strings.ReplaceAll(string(said), w.Doctor.Root, ""), word) {
					t.Errorf("it names %s: %s", word, said)
				}
			}
			for _, f := range r.Findings {
				skipped := strings.Contains(" units permissions journal ", " "+f.Name+" ") || f.Name == "limits" && c.of != "limits"
				if c.health == Well && skipped != (f.State == Skipped) {
					t.Errorf("%s is %s: %s", f.Name, f.State, f.Detail)
				}
			}
		})
	}
}

// What sessions lack without systemd is what docs/security.md calls missing, a row each.
func TestLacksAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.Contains(strings.ToLower(cells[3]), "**missing**") {
			rows = append(rows, line)
		}
	}
	if old, recent := lacks(3), lacks(4); len(rows) != len(old) || len(recent) != len(old)-1 {
		t.Errorf("the page has %d rows, and told are %q, and with ABI 4 %q", len(rows), old, recent)
	}
}

// A broker without a proxy is not made to warn of one.
func TestNoClaimWithoutAProxy(t *testing.T) {
	claimed := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { claimed = r.Header.Get("X-Forwarded-For") }))
	defer server.Close()
	if _, _, err := tryStream(t.Context(), server.Client(), server.URL); err == nil || claimed != "" {
		t.Errorf("got %v, and X-Forwarded-For: %s", err, claimed)
	}
}
