package integration

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/npm"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

const deviceGrant = "FJMCP_BROKER_DEVICE_GRANT=on"

// enter has alice enter a code, wherever the verification URI has it.
func (w *world) enter(uri, code string) {
	w.t.Helper()
	b := loginclient.NewBrowser(w.transport, "alice", "alice-password")
	b.UserCode = code
	if text, err := b.EnterCode(w.t.Context(), uri); err != nil || !strings.Contains(text, "The device is connected") {
		w.t.Fatalf("%q, %v", text, err)
	}
}

// A client of another's making, golang.org/x/oauth2, logs in by a code; the broker restarts
// between all steps, and is killed once.
func TestDeviceLogin(t *testing.T) {
	w := start(t, "standin", deviceGrant)
	made := w.doAt("POST", "/oauth/register", "", `{"client_name":"Box","token_endpoint_auth_method":"none","grant_types":["urn:ietf:params:oauth:grant-type:device_code"]}`)
	var client struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal([]byte(made.body), &client); err != nil || made.status != http.StatusCreated {
		t.Fatalf("registration: %d %s", made.status, made.body)
	}
	var metadata struct {
		Device string `json:"device_authorization_endpoint"`
		Token  string `json:"token_endpoint"`
	}
	if err := json.Unmarshal([]byte(w.doAt("GET", "/.well-known/oauth-authorization-server", "", "").body), &metadata); err != nil {
		t.Fatal(err)
	}
	config := oauth2.Config{ClientID: client.ID, Endpoint: oauth2.Endpoint{DeviceAuthURL: metadata.Device, TokenURL: metadata.Token, AuthStyle: oauth2.AuthStyleInParams}}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: w.transport})
	restart := func(signal syscall.Signal) {
		t.Helper()
		w.broker.Stop(signal)
		if err := w.broker.Restart(t.Context(), w.program()); err != nil {
			t.Fatal(err)
		}
	}
	asked, err := config.DeviceAuth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	restart(syscall.SIGTERM)
	w.enter(asked.VerificationURI, asked.UserCode)
	restart(syscall.SIGKILL)
	token, err := config.DeviceAccessToken(ctx, asked)
	if err != nil {
		t.Fatal(err)
	}
	const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`
	if r := w.post(token.AccessToken, "", initialize); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
	var refused *oauth2.RetrieveError
	if _, err = config.DeviceAccessToken(ctx, asked); !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
		t.Errorf("a code that comes again: %v", err)
	}
	if r := w.post(token.AccessToken, "", initialize); r.status != http.StatusUnauthorized {
		t.Errorf("after that: %d %s", r.status, r.body)
	}
}

var verification = regexp.MustCompile(`http://\S+/device\?user_code=\S+`)

// mcp-remote, which finds all by itself and registers, logs in by a code at the address of a
// toolset, and calls a tool. A second run has the tokens of the first, which are for that
// address.
func TestMcpRemoteLogsInByACode(t *testing.T) {
	dir, err := npm.Install(t.Context(), "testdata/npm")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs npm")
	}
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, "standin", deviceGrant)
	home := t.TempDir()
	said := &testlog.Buffer{}
	connect := func() (*mcp.ClientSession, error) {
		modules := filepath.Join(dir, "node_modules")
		node := filepath.Join(modules, "node-linux-"+strings.Replace(runtime.GOARCH, "amd64", "x64", 1), "bin", "node")
		cmd := exec.Command(node, filepath.Join(modules, "mcp-remote", "dist", "proxy.js"), w.url+"/mcp/x/users/readonly", "--device-code")
		cmd.Env, cmd.Stderr = []string{"HOME=" + home, "MCP_REMOTE_CONFIG_DIR=" + home, "PATH=" + os.Getenv("PATH")}, said
		return mcp.NewClient(&mcp.Implementation{Name: "x", Version: "1"}, nil).Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mcp-remote said:\n%s", said)
		}
	})
	var entering sync.WaitGroup
	entering.Go(func() {
		for verification.FindString(said.String()) == "" {
			select {
			case <-t.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		w.enter(verification.FindString(said.String()), "")
	})
	for run := range 2 {
		session, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		r, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "get_my_user_info"})
		if err != nil || r.IsError || !strings.Contains(r.Content[0].(*mcp.TextContent).Text, "alice") {
			t.Errorf("run %d: %+v, %v", run, r, err)
		}
		if err := session.Close(); err != nil {
			t.Errorf("run %d: %v", run, err)
		}
	}
	entering.Wait()
	if n := strings.Count(said.String(), "To authorize this client, visit:"); n != 1 {
		t.Errorf("asked for a login %d times", n)
	}
	if got := w.query("SELECT group_concat(resource || ' ' || requested) FROM grants"); got != w.url+"/mcp/x/users/readonly forgejo:read" {
		t.Errorf("logged in for %s", got)
	}
}
