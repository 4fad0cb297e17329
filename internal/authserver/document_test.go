package authserver_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeweb"
)

const (
	appID       = "https://app.example/client.json"
	appDocument = `{"client_id":"` + appID + `","client_name":"App","redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"none"}`
)

func newDocumentWorld(t testing.TB) *world {
	w := newWorld(t)
	w.web = fakeweb.Start(t)
	w.web.JSON(appID, appDocument)
	cfg := clientmeta.Config{Log: slog.New(slog.NewTextHandler(w.trail, nil)), Now: w.now}
	w.web.Configure(&cfg)
	w.documents = clientmeta.New(cfg)
	w.restart()
	return w
}

func appClient() client {
	return client{id: appID, redirectURI: "http://127.0.0.1:9999/cb", verifier: strings.Repeat("v", 43)}
}

func TestDocumentsAreAdvertisedWhereTheyCanBeRead(t *testing.T) {
	w := newDocumentWorld(t)
	v := w.get(w.url + "/.well-known/oauth-authorization-server").json(t)
	if v["client_id_metadata_document_supported"] != true || v["token_endpoint_auth_methods_supported"].([]any)[0] != "none" {
		t.Errorf("%v", v)
	}
}

// Clients that are told of documents do not fall back to registration: while the broker has
// no way out to read one, none is told.
func TestDocumentsAreNotAdvertisedWithoutAWayOut(t *testing.T) {
	w := newDocumentWorld(t)
	advertised := func() bool {
		for _, name := range []string{"oauth-authorization-server", "openid-configuration"} {
			if w.get(w.url + "/.well-known/" + name).json(t)["client_id_metadata_document_supported"] == nil {
				return false
			}
		}
		return true
	}
	var down atomic.Bool
	cfg := clientmeta.Config{Log: slog.New(slog.DiscardHandler), Now: w.now}
	w.web.Configure(&cfg)
	cfg.Allow = func(netip.AddrPort) error {
		if down.Load() {
			return errors.New("down")
		}
		return nil
	}
	w.documents = clientmeta.New(cfg)
	w.restart()
	down.Store(true)
	if w.documents.CheckWay(t.Context()) == nil || advertised() {
		t.Error("advertised without a way out")
	}
	down.Store(false)
	if w.get(w.url+"/oauth/authorize?"+appClient().authorizeQuery().Encode()).StatusCode != 200 || !advertised() {
		t.Error("not advertised again after a fetch")
	}
}

// TestRealDocuments logs in with the documents that clients publish.
func TestRealDocuments(t *testing.T) {
	w := newDocumentWorld(t)
	for file, redirectURI := range map[string]string{
		"claude": "https://claude.ai/api/mcp/auth_callback", "claude-code": "http://localhost:54545/callback",
		"vscode": "http://127.0.0.1:50505/", "zed": "http://127.0.0.1:40001/callback", "goose": "http://127.0.0.1:40001/oauth_callback",
	} {
		body, err := os.ReadFile(filepath.Join("clientmeta", "known", file+".json"))
		w.must(err)
		_, rest, _ := strings.Cut(string(body), `"client_id": "`)
		id, _, _ := strings.Cut(rest, `"`)
		w.web.JSON(id, string(body))
		c := client{id: id, redirectURI: redirectURI, verifier: strings.Repeat("v", 43)}
		access, refresh := w.tokens(c, w.logIn(c))
		w.must(w.bearer(access))
		if a := w.post("/oauth/token", c.refreshForm(refresh)); a.StatusCode != 200 || w.web.Hits(id) != 1 {
			t.Errorf("%s: %d %s after %d requests", file, a.StatusCode, a.body, w.web.Hits(id))
		}
	}
}

func TestRefreshDoesNotNeedTheDocument(t *testing.T) {
	w := newDocumentWorld(t)
	c := appClient()
	_, refresh := w.tokens(c, w.logIn(c))
	w.web.Handle(appID, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.advance(48 * time.Hour)
	hits := w.web.Hits(appID)
	if a := w.post("/oauth/token", c.refreshForm(refresh)); a.StatusCode != 200 || w.web.Hits(appID) != hits {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	a := w.get(w.url+"/oauth/authorize?"+c.authorizeQuery().Encode(), "Accept", "application/json")
	a.wantError(t, 400, "invalid_client", "status 500")
}

func TestChangedDocument(t *testing.T) {
	w := newDocumentWorld(t)
	c := appClient()
	w.logIn(c)
	w.web.JSON(appID, strings.Replace(appDocument, "127.0.0.1/cb", "127.0.0.1/new", 1))
	w.advance(time.Hour)
	if a := w.get(w.url + "/oauth/authorize?" + c.authorizeQuery().Encode()); a.StatusCode != 400 {
		t.Errorf("a redirect URI that was withdrawn: %d", a.StatusCode)
	}
	c.redirectURI = "http://127.0.0.1:1/new"
	access, _ := w.tokens(c, w.logIn(c))
	w.must(w.bearer(access))
}

func TestDocumentRefusals(t *testing.T) {
	w := newDocumentWorld(t)
	c := appClient()
	w.web.JSON("https://app.example/other", appDocument)
	for id, want := range map[string]string{
		"https://app.example/other":        "not its own URL",
		"https://app.example/missing":      "status 404",
		"https://app.example":              "no path",
		"https://u:p@app.example/c":        "user name",
		"https://app.example/client.json#": "fragment",
		"https://app.example/../c":         "..",
		"http://app.example/client.json":   "does not know",
		"HTTPS://app.example/client.json":  "does not know",
	} {
		query := c.authorizeQuery("client_id", id).Encode()
		w.get(w.url+"/oauth/authorize?"+query, "Accept", "application/json").wantError(t, 400, "invalid_client", want)
		page := w.get(w.url+"/oauth/authorize?"+query, "Accept", "text/html")
		if page.StatusCode != 400 || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || page.Header.Get("Location") != "" {
			t.Errorf("%s: %d %v", id, page.StatusCode, page.Header)
		}
	}
	w.get(w.url+"/oauth/authorize?"+c.authorizeQuery("redirect_uri", "https://evil.example/").Encode(), "Accept", "application/json").wantError(t, 400, "invalid_request", "not one that the application registered")
	// Nobody agreed to it, so the token endpoint knows nothing of it, and asks nobody.
	w.post("/oauth/token", client{id: "https://never.example/c"}.tokenForm("fjc_x")).wantError(t, 401, "invalid_client", "not registered")
	if n := w.web.Hits("https://never.example/c"); n != 0 {
		t.Errorf("the token endpoint fetched a document")
	}
}

func TestDocumentsSwitchedOff(t *testing.T) {
	w := newDocumentWorld(t)
	c := appClient()
	_, refresh := w.tokens(c, w.logIn(c))
	w.documents = nil
	w.restart()
	w.get(w.url+"/oauth/authorize?"+c.authorizeQuery().Encode(), "Accept", "application/json").wantError(t, 400, "invalid_client", "does not know")
	if a := w.post("/oauth/token", c.refreshForm(refresh)); a.StatusCode != 200 {
		t.Errorf("who is connected stays connected: %d %s", a.StatusCode, a.body)
	}
	a := w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["http://127.0.0.1/"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://app.example/jwks"}`))
	a.wantError(t, 400, "invalid_client_metadata", "jwks")
}

func TestDeletedAndRemovedClients(t *testing.T) {
	w := newDocumentWorld(t)
	registered, published := w.newClient(), appClient()
	for _, c := range []client{registered, published} {
		access, refresh := w.tokens(c, w.logIn(c))
		waiting := w.logIn(c) // a code that comes too late
		w.must(w.operator().RemoveClient(t.Context(), c.id))
		if err := w.bearer(access); err != model.ErrRevoked {
			t.Errorf("%s: bearer %v", c.id, err)
		}
		w.post("/oauth/token", c.refreshForm(refresh)).wantError(t, 401, "invalid_client", "register again")
		w.post("/oauth/token", c.tokenForm(waiting)).wantError(t, 401, "invalid_client", "register again")
	}
	if w.ended.Load() != 4 || !strings.Contains(w.trail.String(), "client_removed") {
		t.Errorf("%d grants ended", w.ended.Load())
	}
	w.get(w.url+"/oauth/authorize?"+registered.authorizeQuery().Encode(), "Accept", "application/json").wantError(t, 400, "invalid_client", "registers anew")
	access, _ := w.tokens(published, w.logIn(published)) // it needs no registration
	w.must(w.bearer(access))
	// Who registers the same again is another client, and asks users again.
	id := w.register(clientBody)["client_id"]
	if id == registered.id || id != w.register(clientBody)["client_id"] {
		t.Errorf("registered again it is %s", id)
	}
	registered.id = id.(string)
	access, _ = w.tokens(registered, w.logIn(registered))
	w.must(w.bearer(access))
}
