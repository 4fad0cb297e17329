package setup

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

const (
	publicURL = "https://mcp.example.org"
	redirect  = publicURL + "/oauth/callback"
)

// world is a machine with a fresh package, below a root of its own, and a forge.
type world struct {
	*fakeforge.Server
	forge string // its URL
	root  string
	token string // of alice's
	unit  string // the broker's, as systemctl cat shows it, with what is encrypted
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, fakeforge.Config{})
}

func newWorldOf(t *testing.T, cfg fakeforge.Config) *world {
	t.Helper()
	w := &world{Server: fakeforge.Start(t, cfg, "https://other.example/callback"), root: t.TempDir()}
	w.forge = strings.Replace(w.URL, "127.0.0.1", "forgejo.localhost", 1)
	env, err := os.ReadFile("../../../packaging/broker.env")
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(w.root, credentialsDir), 0o700))
	w.write(t, settingsFile, string(env), 0o644)
	w.write(t, storeKeyFile, strings.Repeat("k", 32), 0o600)
	w.token, err = w.PersonalToken("alice", "write:user")
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) write(t *testing.T, name, text string, mode fs.FileMode) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(w.root, name), []byte(text), mode))
}

func (w *world) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(w.root, name))
	return string(b)
}

// options are those of a first run.
func (w *world) options(t *testing.T) Options {
	t.Helper()
	return Options{PublicURL: publicURL, ForgejoURL: w.forge, Name: "MCP broker", TokenFile: secretIn(t, w.token), Yes: true}
}

func secretIn(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	return path
}

// new returns a run, and what it will have written.
func (w *world) new(t *testing.T, o Options) (*setup, *bytes.Buffer) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	must(t, err)
	t.Cleanup(func() { null.Close() })
	o.Root = w.root
	out := new(bytes.Buffer)
	s := &setup{
		Config:   Config{Options: o, In: null, Out: out, Backend: func(string) (string, error) { return "", nil }, Exec: Exec},
		terminal: newTerminal(null, out), files: files{root: w.root},
	}
	if w.unit != "" {
		s.Systemctl = w.systemctl
	}
	return s, out
}

func (w *world) run(t *testing.T, o Options) (string, error) {
	t.Helper()
	s, out := w.new(t, o)
	err := s.run(t.Context())
	return out.String(), err
}

// tree is every file below root, with its mode.
func (w *world) tree(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		info, statErr := d.Info()
		if err != nil || statErr != nil {
			return errors.Join(err, statErr)
		}
		b, _ := os.ReadFile(path)
		all[strings.TrimPrefix(path, w.root)] = info.Mode().String() + " " + info.ModTime().String() + " " + string(b)
		return nil
	}))
	return all
}

// pair is what the broker would begin with.
func (w *world) pair() (id, secret string) {
	if w.unit != "" {
		secret, _ = Exec(context.Background(), "", "systemd-creds", "decrypt", "--name=forgejo-client-secret", filepath.Join(w.root, secretFile+".cred"), "-")
	} else {
		secret = w.read(secretFile)
	}
	return setting(w.read(settingsFile), clientName), strings.TrimSpace(secret)
}

// good reports whether the forge knows id and secret.
func (w *world) good(t *testing.T, id, secret string) bool {
	t.Helper()
	if id == "" || secret == "" {
		return false
	}
	client, err := forgejo.New(forgejo.Config{URL: w.forge, ClientID: id, ClientSecret: secret, RedirectURL: redirect})
	must(t, err)
	return client.CheckClient(context.Background()) == nil
}

// settled checks a complete setup, with n applications at the forge besides Start's.
func (w *world) settled(t *testing.T, n int) {
	t.Helper()
	id, secret := w.pair()
	apps := w.Apps()
	if !w.good(t, id, secret) || len(apps) != 1+n {
		t.Errorf("the forge does not know %q, or has %d applications, want %d besides its own", id, len(apps), n)
	}
	kind := ""
	if w.unit != "" {
		kind = ".cred"
	}
	for name := range w.tree(t) {
		switch name {
		case "", "/etc", "/etc/fjmcp", settingsFile, credentialsDir, secretFile + kind, storeKeyFile + kind:
		default:
			t.Errorf("left: %s", name)
		}
	}
	for name, want := range map[string]fs.FileMode{secretFile + kind: 0o600, storeKeyFile + kind: 0o600, settingsFile: 0o644} {
		if info, err := os.Stat(filepath.Join(w.root, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// A first run sets all up; a second one, without the token, changes nothing.
func TestFirstAndSecondRun(t *testing.T) {
	w := newWorld(t)
	before := w.read(settingsFile)
	out, err := w.run(t, w.options(t))
	must(t, err)
	w.settled(t, 1)
	_, secret := w.pair()
	for _, hidden := range []string{secret, w.token} {
		if strings.Contains(out, hidden) {
			t.Errorf("a secret is shown:\n%s", out)
		}
	}
	for _, want := range []string{"for the account alice", w.forge + "/admin/applications", "apt install caddy", "written: " + settingsFile, "delete it at " + w.forge} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	after := w.read(settingsFile)
	for _, name := range []string{publicName, forgeName, clientName} {
		after = strings.Replace(after, "\n"+name+"="+setting(after, name), "", 1)
	}
	if after != before {
		t.Errorf("other lines of the settings have changed:\n%s", w.read(settingsFile))
	}
	if app := w.Apps()[1]; len(app.RedirectURIs) != 1 || app.RedirectURIs[0] != redirect {
		t.Errorf("redirects to %v", app.RedirectURIs)
	}
	tree := w.tree(t)
	out, err = w.run(t, Options{})
	if err != nil || !maps.Equal(tree, w.tree(t)) || !strings.Contains(out, "unchanged: "+settingsFile) {
		t.Errorf("the second run: %v\n%s", err, out)
	}
}

// With another public URL the application is kept, and so is what users granted to it.
func TestAnotherPublicURL(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(t, w.options(t))
	must(t, err)
	id, secret := w.pair()
	o := w.options(t)
	o.PublicURL = "https://new.example.org/mcp/"
	_, err = w.run(t, o)
	must(t, err)
	w.settled(t, 1)
	if nowID, now := w.pair(); nowID != id || now == secret || setting(w.read(settingsFile), publicName) != "https://new.example.org/mcp" {
		t.Errorf("the client ID was %s and is %s; settings:\n%s", id, nowID, w.read(settingsFile))
	}
}

// A forge that has moved keeps client ID and secret, as docs/incidents.md says.
func TestForgeMoves(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(t, w.options(t))
	must(t, err)
	id, secret := w.pair()
	w.forge = strings.Replace(w.forge, "forgejo.", "moved.", 1)
	_, err = w.run(t, Options{ForgejoURL: w.forge, ClientID: id, ClientSecretFile: filepath.Join(w.root, secretFile), Yes: true})
	must(t, err)
	w.settled(t, 1)
	if nowID, now := w.pair(); nowID != id || now != secret || setting(w.read(settingsFile), forgeName) != w.forge {
		t.Errorf("the client ID was %s and is %s; settings:\n%s", id, nowID, w.read(settingsFile))
	}
}

// An application whose secret is lost gets another.
func TestLostSecret(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(t, w.options(t))
	must(t, err)
	id, _ := w.pair()
	_, err = w.RotateSecret(id)
	must(t, err)
	tree := w.tree(t)
	if _, err := w.run(t, Options{Yes: true}); err == nil || !strings.Contains(err.Error(), "--token-file") || !maps.Equal(tree, w.tree(t)) {
		t.Errorf("without a token: %v", err)
	}
	_, err = w.run(t, w.options(t))
	must(t, err)
	w.settled(t, 1)
	if now, _ := w.pair(); now != id {
		t.Errorf("the client ID was %s and is %s", id, now)
	}
}

func TestByHand(t *testing.T) {
	w := newWorld(t)
	out, err := w.run(t, Options{PublicURL: publicURL, ForgejoURL: w.forge, Name: "MCP broker", Manual: true, Yes: true})
	if err == nil || !strings.Contains(err.Error(), "--client-secret-file") {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{redirect, w.forge + "/admin/applications", "MCP broker"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	app, err := w.Register(fakeforge.App{Name: "by hand", RedirectURIs: []string{redirect}})
	must(t, err)
	o := Options{PublicURL: publicURL, ForgejoURL: w.forge, ClientID: app.ClientID, ClientSecretFile: secretIn(t, "wrong"), Yes: true}
	tree := w.tree(t)
	if _, err := w.run(t, o); err == nil || !strings.Contains(err.Error(), "does not know the OAuth application or its secret") || !maps.Equal(tree, w.tree(t)) {
		t.Errorf("a wrong secret: %v", err)
	}
	o.ClientSecretFile = secretIn(t, app.ClientSecret)
	_, err = w.run(t, o)
	must(t, err)
	w.settled(t, 1)
}

// What cannot be is said in the words of the configuration, and nothing is changed.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	narrow, err := w.PersonalToken("alice", "read:repository")
	must(t, err)
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"http":         {func(o *Options) { o.PublicURL = "http://mcp.example.org" }, "want https; http is allowed on loopback only"},
		"no URL":       {func(o *Options) { o.ForgejoURL = "git.example.org" }, "FJMCP_BROKER_FORGEJO_URL=\"git.example.org\": want an absolute URL"},
		"both":         {func(o *Options) { o.PublicURL, o.ForgejoURL = "x", "y" }, "FJMCP_BROKER_FORGEJO_URL=\"y\""},
		"no answer":    {func(o *Options) { o.PublicURL = "" }, "FJMCP_BROKER_PUBLIC_URL is missing"},
		"another host": {func(o *Options) { o.ForgejoURL = "http://forgejo.localhost:1" }, "connection refused"},
		"wrong token":  {func(o *Options) { o.TokenFile = secretIn(t, "4711") }, "does not know this token"},
		"narrow token": {func(o *Options) { o.TokenFile = secretIn(t, narrow) }, "write:user"},
		"two words":    {func(o *Options) { o.TokenFile = secretIn(t, "token two") }, "want the token alone on one line"},
		"no consent":   {func(o *Options) { o.Yes = false }, "--yes"},
		"client ID":    {func(o *Options) { o.ClientID, o.ClientSecretFile = "a b", o.TokenFile }, "client ID \"a b\""},
	} {
		t.Run(name, func(t *testing.T) {
			tree, o := w.tree(t), w.options(t)
			tt.change(&o)
			out, err := w.run(t, o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q\n%s", err, tt.want, out)
			}
			delete(tree, credentialsDir) // its time changes with the look for what is pending
			now := w.tree(t)
			delete(now, credentialsDir)
			if !maps.Equal(tree, now) || len(w.Apps()) != 1 || err != nil && strings.Contains(err.Error()+out, w.token) {
				t.Error("something has changed, or the token is shown")
			}
		})
	}
}

// Who has no forgejo-mcp is told where it is, and what to do with it.
func TestWithoutForgejoMCP(t *testing.T) {
	w := newWorld(t)
	s, out := w.new(t, w.options(t))
	s.Backend = func(string) (string, error) { return "", errors.New("there is none") }
	must(t, s.run(t.Context()))
	w.settled(t, 1)
	for _, want := range []string{"One thing is missing: there is none.", "https://git.b4mad.industries/agentic-forges/forgejo-mcp", "install -m 0755 forgejo-mcp /usr/local/bin/forgejo-mcp"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	readme, err := os.ReadFile("../../../README.md")
	must(t, err)
	if !strings.Contains(string(readme), "<https://git.b4mad.industries/agentic-forges/forgejo-mcp>") {
		t.Error("README names another place")
	}
}

func TestDryRun(t *testing.T) {
	w := newWorld(t)
	w.write(t, secretFile, "loose\n", 0o644)
	must(t, os.Chmod(filepath.Join(w.root, secretFile), 0o644))
	tree := w.tree(t)
	for _, file := range []string{"", secretIn(t, w.token)} {
		o := w.options(t)
		o.DryRun, o.TokenFile, o.Yes = true, file, false
		out, err := w.run(t, o)
		if err != nil || !strings.Contains(out, "would write "+settingsFile) || !strings.Contains(out, secretFile+": to be taken") {
			t.Errorf("%v\n%s", err, out)
		}
		if !maps.Equal(tree, w.tree(t)) || len(w.Apps()) != 1 {
			t.Error("something has changed")
		}
	}
	_, err := w.run(t, w.options(t))
	must(t, err)
	w.settled(t, 1) // with the mode mended
}

// Where only the broker may send secrets to the forge, setup sends none.
func TestForgeOfAUser(t *testing.T) {
	w := newWorld(t)
	w.write(t, settingsFile, "FJMCP_BROKER_LAUNCHER=systemd\nFJMCP_BROKER_FORGEJO_USER=root\n", 0o644)
	w.Stop()
	if _, err := w.run(t, w.options(t)); err == nil || !strings.Contains(err.Error(), "--manual") {
		t.Errorf("with a token: %v", err)
	}
	o := w.options(t)
	o.TokenFile, o.ClientID, o.ClientSecretFile = "", "some-id", secretIn(t, "some-secret")
	_, err := w.run(t, o)
	must(t, err)
	if id, secret := w.pair(); id != "some-id" || secret != "some-secret" {
		t.Errorf("client ID %q", id)
	}
}

// An interrupt while the forge makes the application does not lose the secret; one before
// changes nothing.
func TestInterrupt(t *testing.T) {
	for _, tt := range []struct{ method, want string }{{http.MethodGet, "nothing was changed"}, {http.MethodPost, "the files are complete"}} {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorldOf(t, fakeforge.Config{Around: func(forge http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method == tt.method && strings.Contains(r.URL.Path, "/applications/") {
					cancel()
				}
				forge.ServeHTTP(rw, r)
			})
		}})
		s, _ := w.new(t, w.options(t))
		s.Systemctl = func(ctx context.Context, _ ...string) (string, error) { return "", ctx.Err() }
		if err := Run(ctx, s.Config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.method, err)
		}
		if tt.method == http.MethodPost {
			w.settled(t, 1)
		} else if id, secret := w.pair(); id+secret != "" || len(w.Apps()) != 1 {
			t.Error("something has changed")
		}
	}
}
