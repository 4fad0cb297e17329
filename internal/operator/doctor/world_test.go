package doctor

import (
	"context"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/operator"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

const (
	brokerUID = 990
	secret    = "host-client-secret-77aa"
)

// world is a host in a directory, a forge, a broker's admin socket and its public URL,
// which is a real TLS server.
type world struct {
	t         *testing.T
	Doctor    Doctor
	forge     *fakeforge.Server
	says      map[string]string // by the command's beginning
	desk      *desk
	public    *httptest.Server
	addresses ratelimit.Addresses
	front     http.Handler // before the broker, at the public URL
	stop      func()       // of the broker
}

// desk is the broker's admin side: of the operator the trials are real.
type desk struct {
	admin.Operator
	trials *operator.Operator
	status admin.Status
	names  string // instead of a trial's URL
	policy admin.PolicyCheck
}

func (d *desk) CheckPolicy(context.Context, admin.PolicyText) (admin.PolicyCheck, error) {
	return d.policy, nil
}

func (d *desk) Status(context.Context) admin.Status { return d.status }

func (d *desk) Trial(ctx context.Context) (admin.Trial, error) {
	if d.names != "" {
		return admin.Trial{URL: d.names}, nil
	}
	return d.trials.Trial(ctx)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("files of other owners can be made by root alone")
	}
	w := &world{t: t, says: wellSaid()}
	public := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.front.ServeHTTP(rw, r) }))
	t.Cleanup(public.Close)
	w.public = public
	w.forge = fakeforge.Start(t, fakeforge.Config{}, public.URL+"/oauth/callback")
	w.Doctor = Doctor{Root: t.TempDir(), Command: w.command, Version: "1.2.3"}
	w.files(public)
	settings := &config.Config{}
	settings.PublicURL, _ = forge.ParseURL(public.URL)
	w.desk = &desk{trials: operator.New(operator.Config{Settings: settings, Now: time.Now, Believed: func(r *http.Request) bool { return w.addresses.Believed(r) }})}
	w.desk.status = admin.Status{Version: "1.2.3", PublicURL: public.URL, Launcher: admin.LauncherStatus{Kind: "systemd"}, Checks: []health.Result{
		{Name: "store", State: health.OK}, {Name: "forgejo-mcp", State: health.OK}, {Name: "forge", State: health.OK},
		{Name: "oauth-application", State: health.OK}, {Name: "public-url", State: health.OK},
	}}
	mux := http.NewServeMux()
	w.desk.trials.Routes(mux)
	w.front = w.addresses.Audited(mux)
	w.serve()
	return w
}

// trust has the broker believe proxies on this machine.
func (w *world) trust() { w.addresses.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func (w *world) serve() {
	path := filepath.Join(w.t.TempDir(), "admin.sock")
	l, err := admin.Listen(path)
	w.must(err)
	s := &http.Server{Handler: admin.Handler(w.desk, slog.New(slog.DiscardHandler))}
	go func() { _ = s.Serve(admin.Peers(l)) }()
	w.stop = func() { s.Close() }
	w.t.Cleanup(w.stop)
	w.Doctor.Caller = admin.NewCaller(path)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.Doctor.Root, name) }

func (w *world) write(name, text string, mode os.FileMode) {
	w.t.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	w.must(os.WriteFile(w.path(name), []byte(text), mode))
	w.must(os.Chmod(w.path(name), mode))
}

// files are those of an installed, configured host.
func (w *world) files(public *httptest.Server) {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public.Certificate().Raw})
	w.write("/etc/ca.pem", string(ca), 0o644)
	w.write(envFile, "# settings\nFJMCP_BROKER_PUBLIC_URL=\""+public.URL+"\"\nFJMCP_BROKER_FORGEJO_URL="+w.forgeURL()+
		"\nFJMCP_BROKER_FORGEJO_CLIENT_ID="+w.forge.App.ClientID+"\nFJMCP_BROKER_FORGEJO_CA_FILE="+w.path("/etc/ca.pem")+"\n", 0o644)
	w.write(credentials+"/forgejo-client-secret", w.forge.App.ClientSecret+"\n", 0o600)
	w.write(credentials+"/store-key", strings.Repeat("k", 32), 0o600)
	w.must(os.Chmod(w.path(credentials), 0o700))
	w.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nfjmcp:x:990:990::/var/lib/fjmcp:/usr/sbin/nologin\n", 0o644)
	w.write(stateDir+"/fjmcp.db", "", 0o600)
	w.must(os.Chmod(w.path(stateDir), 0o700))
	w.must(os.Chown(w.path(stateDir), brokerUID, brokerUID))
	w.must(os.Chown(w.path(stateDir+"/fjmcp.db"), brokerUID, brokerUID))
	w.write("/run/fjmcp-private/x", "", 0o600)
	w.must(os.Chown(w.path("/run/fjmcp-private"), 0, brokerUID))
	w.must(os.Chmod(w.path("/run/fjmcp-private"), 0o750))
	w.write("/usr/bin/forgejo-mcp", "", 0o755)
	for _, dir := range []string{"/run/systemd/system", "/var/log/journal"} {
		w.must(os.MkdirAll(w.path(dir), 0o755))
	}
}

// forgeURL is by a name, for a literal loopback address is refused.
func (w *world) forgeURL() string {
	return strings.Replace(w.forge.URL, "127.0.0.1", "forgejo.localhost", 1)
}

const showUnits = "systemctl show --property=Id,LoadState,ActiveState,UnitFileState"

// wellSaid is what the host's programs say where all is well.
func wellSaid() map[string]string {
	units := "Id=fjmcp-broker.socket\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"
	for _, name := range append([]string{portSocket}, parts...) {
		units += "\nId=" + name + "\nLoadState=loaded\nActiveState=active\nUnitFileState=static\nNeedDaemonReload=no\n"
	}
	units += "\nId=" + metricsSocket + "\nLoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\nNeedDaemonReload=no\n"
	return map[string]string{
		showUnits:       units,
		"systemctl cat": "[Service]\nEnvironmentFile=-/etc/fjmcp/broker.env\n",
		"systemctl show --property=Id,TasksMax": "Id=fjmcp-sessions.slice\nTasksMax=32768\n\nId=fjmcp-launcher.service\nLimitNOFILE=8192\n\n" +
			"Id=fjmcp-broker.service\nFileDescriptorStoreMax=6144\n",
		"systemctl show --property=Id,LoadState,ActiveState --": "Id=systemd-journald.service\nLoadState=loaded\nActiveState=active\n\nId=systemd-journald@fjmcp.socket\nLoadState=loaded\n",
		"systemctl list-units":     "fjmcp-session@abc.service loaded active running\n",
		"systemd-analyze security": "→ Overall exposure level for fjmcp-broker.service: 0.7 SAFE 😀\n",
		"timedatectl show":         "yes\n",
	}
}

func (w *world) command(_ context.Context, argv ...string) (string, error) {
	line, best := strings.Join(argv, " "), ""
	for begin := range w.says {
		if strings.HasPrefix(line, begin) && len(begin) > len(best) {
			best = begin
		}
	}
	if best == "" {
		w.t.Errorf("nothing is known of %q", line)
	}
	return w.says[best], nil
}

// edit changes what a program says.
func (w *world) edit(begin, old, changed string) {
	w.t.Helper()
	if !strings.Contains(w.says[begin], old) {
		w.t.Fatalf("%q is not in %q", old, w.says[begin])
	}
	w.says[begin] = strings.Replace(w.says[begin], old, changed, 1)
}

// editFile is edit for a file.
func (w *world) editFile(name, old, changed string) {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name))
	w.must(err)
	if !strings.Contains(string(text), old) {
		w.t.Fatalf("%q is not in %s", old, name)
	}
	w.must(os.WriteFile(w.path(name), []byte(strings.Replace(string(text), old, changed, 1)), 0o600))
	w.must(os.Chmod(w.path(name), 0o644))
}

// check changes what the broker says of one of its checks.
func (w *world) check(name string, state health.State, fault health.Fault, cause string) {
	for i := range w.desk.status.Checks {
		if c := &w.desk.status.Checks[i]; c.Name == name {
			c.State, c.Fault, c.Cause, c.Cure = state, fault, cause, "what a broker says that is not to be believed"
		}
	}
}
