package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// ready waits until /readyz answers with want and says word of the check.
func (w *world) ready(want int, check, word string) {
	w.t.Helper()
	client := &http.Client{Transport: w.transport}
	var status int
	var report map[string]string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := client.Get(w.broker.URL + "/readyz")
		if err != nil {
			w.t.Fatal(err)
		}
		report = nil
		err = json.NewDecoder(resp.Body).Decode(&report)
		resp.Body.Close()
		if status = resp.StatusCode; err == nil && status == want && report[check] == word {
			return
		}
	}
	w.t.Errorf("/readyz answers %d %v; want %d with %s %s", status, report, want, check, word)
}

// checked is what fjmcpctl status says of a check.
func (w *world) checked(check string) (r health.Result, exit int) {
	w.t.Helper()
	run := w.ctl("status", "--json")
	var s admin.Status
	if err := json.Unmarshal([]byte(run.out), &s); err != nil {
		w.t.Fatalf("%v: %+v", err, run)
	}
	for _, r := range s.Checks {
		if r.Name == check {
			return r, run.status
		}
	}
	w.t.Fatalf("%s is not among %+v", check, s.Checks)
	return r, 0
}

// A forgejo-mcp that cannot be run shows before a user finds out, and so does its cure;
// nothing has to be restarted. The forge hears nothing of it.
func TestHealthOfTheBackend(t *testing.T) {
	program, err := os.ReadFile(filepath.Join(bin, "standin"))
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(t.TempDir(), "forgejo-mcp")
	if err := os.WriteFile(backend, program, 0o755); err != nil {
		t.Fatal(err)
	}
	w := start(t, backend)
	w.ready(http.StatusOK, "forgejo-mcp", "ok")
	if err := os.Chmod(backend, 0o644); err != nil {
		t.Fatal(err)
	}
	if r, exit := w.checked("forgejo-mcp"); exit != 1 || r.Fault != health.BackendNotExecutable || !strings.Contains(r.Cause, backend) || !strings.Contains(r.Cure, "chmod 0755") {
		t.Errorf("exit status %d, %+v", exit, r)
	}
	w.ready(http.StatusServiceUnavailable, "forgejo-mcp", "failing")
	if err := os.Chmod(backend, 0o755); err != nil {
		t.Fatal(err)
	}
	w.ready(http.StatusOK, "forgejo-mcp", "ok")
	w.mustCall(w.mustConnect("alice"), "get_my_user_info", nil, "alice")
}

// A wrong client secret shows before somebody tries to log in.
func TestHealthOfTheApplication(t *testing.T) {
	w := start(t, "standin")
	w.ready(http.StatusOK, "oauth-application", "ok")
	secret := filepath.Join(w.dir, "forgejo-client-secret")
	right, err := os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	restart := func(secretIs []byte) {
		t.Helper()
		if err := os.WriteFile(secret, secretIs, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.broker.Restart(t.Context(), w.program()); err != nil {
			t.Fatal(err)
		}
	}
	restart([]byte("wrong"))
	w.ready(http.StatusServiceUnavailable, "oauth-application", "failing")
	if r, exit := w.checked("oauth-application"); exit != 1 || r.Fault != health.ApplicationUnknown || strings.Contains(r.Cause, "wrong") || !strings.Contains(r.Cure, "forgejo-client-secret") {
		t.Errorf("exit status %d, %+v", exit, r)
	}
	restart(right)
	w.ready(http.StatusOK, "oauth-application", "ok")
}

// A public URL that leads elsewhere shows.
func TestHealthOfThePublicURL(t *testing.T) {
	w := start(t, "standin")
	w.broker.Setenv("FJMCP_BROKER_PUBLIC_URL", w.forge.URL)
	if err := w.broker.Restart(t.Context(), w.program()); err != nil {
		t.Fatal(err)
	}
	w.ready(http.StatusServiceUnavailable, "public-url", "failing")
	if r, exit := w.checked("public-url"); exit != 1 || r.Fault != health.PublicURLWrong || !strings.Contains(r.Cure, "FJMCP_BROKER_PUBLIC_URL") {
		t.Errorf("exit status %d, %+v", exit, r)
	}
}
