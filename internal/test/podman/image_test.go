package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// Four commands, as the page has them, and then a login and a call.
func TestFirstCall(t *testing.T) {
	h := start(t)
	h.mustBe(h.connect("alice", "first"), "alice")
	if got := h.podman("exec", container, "/usr/bin/fjmcp-broker", "--version"); !strings.HasPrefix(got, "fjmcp-broker "+version+" ") || strings.Contains(got, "unknown") {
		t.Errorf("the image says that it is %q", got)
	}
	if got := h.podman("exec", container, "/usr/bin/fjmcpctl", "--socket", "/data/admin.sock", "status"); !strings.Contains(got, "healthy") {
		t.Errorf("fjmcpctl status: %s", got)
	}
	h.checkIsolation()
	h.checkOpen()
	h.checkArchive()
}

// checkArchive takes the image out of a release's archive.
func (h *host) checkArchive() {
	h.t.Helper()
	const image = "localhost/fjmcp-broker:" + version
	dir := h.t.TempDir()
	h.sh("make image-archive", "RELEASE="+dir)
	id := h.podman("image", "inspect", "--format", "{{.Id}}", image)
	h.podman("untag", image, image) // alone it would take all names away
	archives, err := filepath.Glob(filepath.Join(dir, "fjmcp-broker_"+version+"_*_image.tar"))
	if err != nil || len(archives) != 1 {
		h.t.Fatalf("the archives are %q, %v", archives, err)
	}
	h.podman("load", "--quiet", "--input", archives[0])
	if got := h.podman("image", "inspect", "--format", "{{.Id}}", image); got != id {
		h.t.Errorf("the archive has the image %s, not %s", got, id)
	}
}

// checkIsolation looks at what the kernel says of the container's processes.
func (h *host) checkIsolation() {
	h.t.Helper()
	pid := h.process("fjmcp-broker")
	status := h.read("/proc/" + pid + "/status")
	for _, want := range []string{"Uid:\t65532\t65532", "NoNewPrivs:\t1", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "Seccomp:\t2"} {
		if !strings.Contains(status, "\n"+want) {
			h.t.Errorf("the broker's status lacks %q", want)
		}
	}
	root := "/proc/" + pid + "/root"
	for _, name := range []string{"store-key", "forgejo-client-secret"} {
		var st unix.Stat_t
		h.must(unix.Stat(root+"/run/secrets/"+name, &st))
		if st.Uid != 65532 || st.Mode&0o7777 != 0o400 {
			h.t.Errorf("%s: uid %d, mode %o", name, st.Uid, st.Mode&0o7777)
		}
	}
	for _, name := range []string{"fjmcp.db", "fjmcp.db-wal", "fjmcp.db-shm"} {
		if _, err := os.Stat(filepath.Join(h.volume(), name)); err != nil {
			h.t.Error(err)
		}
	}
	if err := os.WriteFile(root+"/usr/bin/new", nil, 0o644); !errors.Is(err, syscall.EROFS) {
		h.t.Errorf("the container's root can be written: %v", err)
	}
	if got := h.podman("port", container); got != "8080/tcp -> 127.0.0.1:8080" {
		h.t.Errorf("published is %q", got)
	}
}

// checkOpen looks for secrets where every local user may look, and what Podman tells.
func (h *host) checkOpen() {
	h.t.Helper()
	key := h.read("/proc/" + h.process("fjmcp-broker") + "/root/run/secrets/store-key")
	places := map[string]string{"inspect": h.podman("inspect", container), "the image's history": h.podman("history", "--no-trunc", "localhost/fjmcp-broker")}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range append(files, environs...) {
		text, _ := os.ReadFile(f) // some end meanwhile
		places[f] = string(text)
	}
	for place, text := range places {
		for _, secret := range append(h.forgeTokens(), h.app.ClientSecret, key) {
			if strings.Contains(text, secret) {
				h.t.Errorf("a secret stands in %s", place)
			}
		}
	}
}

// forgeTokens are those that sessions have used, at least one.
func (h *host) forgeTokens() []string {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.tokens) == 0 {
		h.t.Fatal("no token has come to the forge")
	}
	return slices.Clone(h.tokens)
}

// process finds the one process of that name. All here are of this test.
func (h *host) process(name string) string {
	h.t.Helper()
	found := processes(name)
	if len(found) != 1 {
		h.t.Fatalf("there are processes %q of %s", found, name)
	}
	return found[0]
}

func processes(name string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, f := range files {
		if comm, err := os.ReadFile(f); err == nil && string(comm) == name+"\n" {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

func (h *host) read(path string) string {
	h.t.Helper()
	b, err := os.ReadFile(path)
	h.must(err)
	return string(b)
}

// volume is where this host has /data.
func (h *host) volume() string {
	h.t.Helper()
	return h.podman("volume", "inspect", "--format", "{{.Mountpoint}}", "fjmcp-state")
}

// A container that is killed and made anew, and an image of another version, go on
// with the same clients, logins and refresh tokens.
func TestSwapAndUpgrade(t *testing.T) {
	h := start(t)
	alice := h.connect("alice", "kept")
	h.mustBe(alice, "alice")
	refreshed := h.login()
	first := h.refresh(refreshed)

	h.podman("rm", "--force", "--time", "0", container)
	h.sh("make image-run")
	h.untilHealthy()
	h.mustBe(h.again(alice), "alice")
	if again := h.refresh(refreshed); again != first {
		t.Error("the token that was refreshed before the swap does not give the same successor after it")
	}
	second := h.refresh(first)

	const later = "0.1.1"
	h.sh("make image", "VERSION="+later)
	defer h.podman("tag", "localhost/fjmcp-broker:"+version, "localhost/fjmcp-broker:latest")
	h.podman("stop", container)
	h.sh("make image-run")
	h.untilHealthy()
	if got := h.podman("exec", container, "/usr/bin/fjmcp-broker", "--version"); !strings.HasPrefix(got, "fjmcp-broker "+later+" ") {
		t.Errorf("after the upgrade runs %q", got)
	}
	h.mustBe(h.again(alice), "alice")
	if third := h.refresh(second); third == second {
		t.Error("a refresh token is not exchanged after the upgrade")
	}
	clients := h.podman("exec", container, "/usr/bin/fjmcpctl", "--socket", "/data/admin.sock", "clients", "list")
	if strings.Count(clients, "kept") != 1 || strings.Count(clients, "plain") != 1 {
		t.Errorf("clients are\n%s", clients)
	}
}

// plain is an OAuth client whose tokens can be seen.
var plain = oauth2.Config{
	RedirectURL: loginclient.RedirectURI,
	Endpoint:    oauth2.Endpoint{AuthURL: publicURL + "/oauth/authorize", TokenURL: publicURL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
}

// login registers plain, logs bob in and returns the refresh token.
func (h *host) login() string {
	h.t.Helper()
	var registered struct {
		ID string `json:"client_id"`
	}
	status, body := h.register("plain", "")
	if err := json.Unmarshal([]byte(body), &registered); status != http.StatusCreated || err != nil {
		h.t.Fatalf("registration: %d %s", status, body)
	}
	plain.ClientID = registered.ID
	verifier := oauth2.GenerateVerifier()
	r, err := loginclient.NewBrowser(h.transport, "bob", "bob-password").Authorize(h.t.Context(), plain.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)))
	h.must(err)
	token, err := plain.Exchange(h.context(), r.Code, oauth2.VerifierOption(verifier))
	h.must(err)
	return token.RefreshToken
}

// register registers a client, from address if that is not empty.
func (h *host) register(name, address string) (status int, body string) {
	h.t.Helper()
	text := fmt.Sprintf(`{"client_name":%q,"redirect_uris":[%q],"token_endpoint_auth_method":"none"}`, name, loginclient.RedirectURI)
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, publicURL+"/oauth/register", strings.NewReader(text))
	h.must(err)
	req.Header.Set("Content-Type", "application/json")
	if address != "" {
		req.Header.Set("X-Forwarded-For", address)
	}
	resp, err := (&http.Client{Transport: h.transport}).Do(req)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	return resp.StatusCode, string(b)
}

// refresh returns the successor of a refresh token.
func (h *host) refresh(token string) string {
	h.t.Helper()
	h.transport.CloseIdleConnections()
	next, err := plain.TokenSource(h.context(), &oauth2.Token{RefreshToken: token}).Token()
	h.must(err)
	return next.RefreshToken
}

func (h *host) context() context.Context {
	return context.WithValue(h.t.Context(), oauth2.HTTPClient, &http.Client{Transport: h.transport})
}

// Without Landlock a session could read all that the broker can, so nothing is served.
func TestNoLandlock(t *testing.T) {
	h := prepareHost(t)
	lines := documented(t)
	for _, line := range lines[:len(lines)-1] {
		h.follow(line)
	}
	profile := filepath.Join(t.TempDir(), "seccomp.json")
	text := h.read(seccompProfile)
	without := strings.ReplaceAll(text, `"landlock_`, `"no_landlock_`)
	if text == without {
		t.Fatal("Podman's profile does not name the calls of Landlock")
	}
	h.must(os.WriteFile(profile, []byte(without), 0o644))
	args := strings.Fields(h.makeRuns())
	at := slices.Index(args, "--detach")
	args = slices.Replace(args, at, at+1, "--security-opt", "seccomp="+profile)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 78 || !strings.Contains(string(out), "FJMCP_BROKER_REQUIRE_LANDLOCK=on: there is no Landlock") {
		t.Errorf("the container ended with %v:\n%s", err, out)
	}
}

// makeRuns is the command that make image-run runs.
func (h *host) makeRuns() string {
	h.t.Helper()
	out, err := command("make", "--no-print-directory", "-n", "-C", top, "image-run", "IMAGE_ENV="+h.env)
	h.must(err)
	return strings.ReplaceAll(out, "\\\n", " ")
}

// A session that is killed leaves no process behind, dead or alive, and the next call
// is served.
func TestKilledSession(t *testing.T) {
	h := start(t)
	c := h.connect("alice", "killed")
	h.mustBe(c, "alice")
	for _, pid := range processes("fjmcp-session") {
		h.must(exec.Command("kill", "-KILL", pid).Run())
	}
	h.until("nothing is left of it", func() bool { return len(processes("fjmcp-session"))+len(processes("forgejo-mcp")) == 0 })
	h.mustBe(h.again(c), "alice")
}

// The limits count users, not the proxy, once the proxy's address is trusted.
func TestTrustedProxy(t *testing.T) {
	h := prepareHost(t)
	text := h.read(h.env)
	trusted := strings.Replace(text, "\n#FJMCP_BROKER_TRUSTED_PROXIES=", "\nFJMCP_BROKER_TRUSTED_PROXIES=", 1)
	if trusted == text {
		t.Fatal("the settings do not name FJMCP_BROKER_TRUSTED_PROXIES")
	}
	h.must(os.WriteFile(h.env, []byte(trusted), 0o644))
	for _, line := range documented(t) {
		h.follow(line)
	}
	h.untilHealthy()
	refused := false
	for range 1000 { // the limit is some hundred
		if status, _ := h.register("flood", "192.0.2.1"); status == http.StatusTooManyRequests {
			refused = true
			break
		}
	}
	if status, body := h.register("other", "192.0.2.2"); !refused || status != http.StatusCreated {
		t.Errorf("one user was stopped: %v; another got %d %s", refused, status, body)
	}
}
