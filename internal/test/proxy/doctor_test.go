package proxy

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/doctor"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// ill is a fault of the shipped file, and what the doctor says of it.
type ill struct {
	name        string
	caddy       []edit // none where Caddy cannot be given the fault
	nginx       []edit
	of          string // the finding
	state       health.State
	cause, cure string
	onlyNginx   string // a part of the cure for nginx, "" for the same
}

const (
	caddyUpstream = "reverse_proxy unix//run/fjmcp/http.sock {\n"
	nginxUpstream = "proxy_pass http://unix:/run/fjmcp/http.sock;"
	nginxSource   = "proxy_set_header X-Forwarded-For $remote_addr;"
)

// up adds a line to what Caddy does with requests for the broker.
func up(line string) []edit { return []edit{{caddyUpstream, caddyUpstream + "\t\t" + line + "\n"}} }

var ills = []ill{
	{name: "events are kept back", caddy: []edit{buffered["caddy"]}, nginx: []edit{buffered["nginx"]},
		of: "proxy", state: health.Warning, cause: "keeps events back", cure: "flush_interval -1", onlyNginx: "proxy_buffering off"},
	{name: "the body is bounded by its announced length", nginx: []edit{{"client_max_body_size 64m;", ""}},
		of: "proxy", state: health.Warning, cause: "of up to 64 MB: it answers 413", cure: "client_max_body_size 64m"},
	{name: "the body is bounded as it comes", caddy: []edit{{caddyUpstream, "request_body {\n\t\tmax_size 1MB\n\t}\n\t" + caddyUpstream}},
		of: "proxy", state: health.Warning, cause: "of up to 64 MB: it ", cure: "no request_body max_size below 64MiB"},
	{name: "the body is bounded a little below", caddy: []edit{{caddyUpstream, "request_body {\n\t\tmax_size 60MB\n\t}\n\t" + caddyUpstream}}, nginx: []edit{{"client_max_body_size 64m;", "client_max_body_size 63m;"}},
		of: "proxy", state: health.Warning, cause: "of up to 64 MB: it ", cure: "client_max_body_size 64m"},
	{name: "what a client claims is passed on", caddy: up("header_up X-Forwarded-For {http.request.header.X-Forwarded-For}"), nginx: []edit{{nginxSource, ""}},
		of: "proxy", state: health.Warning, cause: "passes on what a client says of itself", cure: "without header_up lines", onlyNginx: nginxSource[:len(nginxSource)-1]},
	{name: "nothing is said of the client", caddy: up("header_up -X-Forwarded-For"), nginx: []edit{{nginxSource, `proxy_set_header X-Forwarded-For "";`}},
		of: "proxy", state: health.Warning, cause: "does not say where requests come from", cure: "without header_up lines", onlyNginx: nginxSource[:len(nginxSource)-1]},
	{name: "another program is the upstream", caddy: []edit{{"unix//run/fjmcp/http.sock", "127.0.0.1:3000"}}, nginx: []edit{{nginxUpstream, "proxy_pass http://127.0.0.1:3000;"}},
		of: "public-url", state: health.Failing, cause: "HTTP 404", cure: "FJMCP_BROKER_PUBLIC_URL"},
	{name: "nobody is the upstream", caddy: []edit{{"unix//run/fjmcp/http.sock", "127.0.0.1:9"}}, nginx: []edit{{nginxUpstream, "proxy_pass http://127.0.0.1:9;"}},
		of: "public-url", state: health.Failing, cause: "502", cure: "have the proxy send to the broker's port"},
}

// authority is the file with the root of the proxy's certificate.
func (w *world) authority(kind string) string {
	return filepath.Join(w.dir, map[string]string{"caddy": "caddy/pki/authorities/local/root.crt", "nginx": "fullchain.pem"}[kind])
}

// examine has the doctor look at the broker behind a proxy, whose certificate both trust.
func (w *world) examine(kind string) (r doctor.Report) {
	w.t.Helper()
	w.broker.Setenv("FJMCP_BROKER_FORGEJO_CA_FILE", w.authority(kind))
	if err := w.broker.Restart(w.t.Context(), w.program()); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(bin, "fjmcpctl"), "doctor", "--json", "--socket", w.broker.AdminSocket())
	cmd.Env = w.broker.Environ()
	out, err := cmd.Output() // its exit status says what the report says
	if json.Unmarshal(out, &r) != nil {
		w.t.Fatalf("fjmcpctl doctor: %v\n%s", err, out)
	}
	return r
}

// well wants the doctor to find nothing wrong.
func (w *world) well(kind string) {
	w.t.Helper()
	r := w.examine(kind)
	for _, f := range r.Findings {
		if f.State != health.OK && f.State != doctor.Skipped && f.Name != "sandbox" {
			w.t.Errorf("%+v", f)
		}
		if f.Name == "proxy" && (f.State != health.OK || f.Detail != "streams pass, and requests come from 127.0.0.1") {
			w.t.Errorf("%+v", f)
		}
	}
	if r.Health != doctor.Well {
		w.t.Errorf("it is %s", r.Health)
	}
}

// Behind the shipped files the doctor finds nothing wrong; each fault of them it names with
// its cure, and nothing else.
func TestDoctorBehindTheProxy(t *testing.T) {
	for _, kind := range proxies {
		t.Run(kind.name, func(t *testing.T) {
			t.Run("as shipped", func(t *testing.T) {
				w := start(t, "standin")
				kind.start(w)
				w.well(kind.name)
			})
			for _, i := range ills {
				edits := map[string][]edit{"caddy": i.caddy, "nginx": i.nginx}[kind.name]
				if edits == nil {
					continue
				}
				t.Run(i.name, func(t *testing.T) {
					w := start(t, "standin")
					kind.start(w, edits...)
					i.told(t, kind.name, w.examine(kind.name))
				})
			}
		})
	}
}

// told wants the fault to be the one thing that the report has.
func (i ill) told(t *testing.T, kind string, r doctor.Report) {
	t.Helper()
	cure := i.cure
	if kind == "nginx" && i.onlyNginx != "" {
		cure = i.onlyNginx
	}
	for _, f := range r.Findings {
		switch {
		case f.Name == i.of:
			if f.State != i.state || len(f.Problems) != 1 || !strings.Contains(f.Problems[0].Cause, i.cause) || !strings.Contains(f.Problems[0].Cure, cure) {
				t.Errorf("%s is %s: %+v; want %q and %q", f.Name, f.State, f.Problems, i.cause, cure)
			}
		case f.State != health.OK && f.State != doctor.Skipped && f.Name != "sandbox":
			t.Errorf("%s is %s, too: %+v", f.Name, f.State, f.Problems)
		}
	}
	if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Name == i.of }) {
		t.Errorf("there is no %s: %+v", i.of, r)
	}
}
