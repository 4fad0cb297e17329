package conformance

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/programs"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// runs are those through the broker, by revision. docs/conformance.md has a heading
// "### <revision> <name>" for each.
var runs = []struct{ revision, name, backend string }{
	{Revision2025, "broker", "everything"},
	{Revision2026, "passed through", "everything"},
	{Revision2026, "translated", "held"},
}

// What everything-server passes by itself it passes behind the broker, but for the
// exceptions in docs/conformance.md, all of which are needed. That page's numbers
// are those of the suite.
func TestConformance(t *testing.T) {
	suite, err := Install(t.Context())
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), "\n") // npm says a lot
		t.Skip("no conformance suite: " + reason)
	}
	bin := t.TempDir()
	if err := programs.Build(t.Context(), bin, "fjmcp-broker", "fjmcp-session", programs.Everything, programs.Held); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	var columns []Column
	var direct Column
	for i, r := range runs {
		if i == 0 || runs[i-1].revision != r.revision {
			direct = runDirect(t, suite, bin, r.revision)
			columns = append(columns, direct)
		}
		name := r.revision + " " + r.name
		c := Column{Revision: r.revision, Name: r.name, Scenarios: runBroker(t, suite, bin, r.backend, r.revision)}
		exceptions, err := Exceptions(string(doc), name)
		if err != nil {
			t.Error(err)
		}
		c.Findings = Compare(direct.Scenarios, c.Scenarios)
		var stale []Finding
		c.Fresh, stale = Judge(c.Findings, exceptions)
		for _, f := range c.Fresh {
			t.Errorf("%s: %s passes directly and not through the broker: %s", name, f.name(), f.Message)
		}
		for _, f := range stale {
			t.Errorf("%s: docs/conformance.md names an exception that passes: %s", name, f.name())
		}
		columns = append(columns, c)
		if row := fmt.Sprintf("\n| %s | %s |", name, c.Count()); !strings.Contains(string(doc), row) {
			t.Errorf("docs/conformance.md does not say %q", row[1:])
		}
	}
	fmt.Fprintf(t.Output(), "\n%s", Table(columns))
}

// runDirect is the ceiling: everything-server over its own HTTP.
func runDirect(t *testing.T, suite *Suite, bin, revision string) Column {
	address, err := localbroker.FreeAddress("0")
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(filepath.Join(bin, "everything"), "-http", address, "-stateless="+strconv.FormatBool(revision == Revision2026))
	ended, err := localbroker.Spawn(server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		<-ended
	}()
	if err := localbroker.Await(t.Context(), ended, http.DefaultClient, "http://"+address); err != nil {
		t.Fatalf("everything-server: %v", err)
	}
	return Column{Revision: revision, Name: "direct", Scenarios: run(t, suite, "http://"+address+"/mcp", revision)}
}

// runBroker runs the suite as one logged-in client of a broker with the backend.
func runBroker(t *testing.T, suite *Suite, bin, backend, revision string) []Scenario {
	forge, err := localbroker.StartForge("0")
	if err != nil {
		t.Fatal(err)
	}
	defer forge.Stop()
	output := &testlog.Buffer{}
	broker, err := localbroker.Start(t.Context(), localbroker.Config{
		Program: filepath.Join(bin, "fjmcp-broker"), Backend: filepath.Join(bin, backend), Port: "0", Dir: t.TempDir(), Forge: forge, Log: output,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	defer func() {
		broker.Stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the broker's log:\n%s", output)
		}
	}()
	target, err := url.Parse(broker.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(Bearer(target, login(t, broker)))
	defer proxy.Close()
	return run(t, suite, proxy.URL+"/mcp", revision)
}

// login returns an access token of a new client.
func login(t *testing.T, broker *localbroker.Broker) string {
	transport := &http.Transport{DialContext: new(localhost.Dialer).DialContext}
	defer transport.CloseIdleConnections()
	client, err := loginclient.Connect(t.Context(), loginclient.Config{
		MCPURL: broker.URL + "/mcp", Transport: transport, Browser: loginclient.NewBrowser(transport, "alice", "alice-password"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	token, err := client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func run(t *testing.T, suite *Suite, url, revision string) []Scenario {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	scenarios, err := suite.Run(ctx, url, revision, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return scenarios
}
