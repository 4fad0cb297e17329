package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// prometheus is a running one, of Debian.
type prometheus struct {
	t   *testing.T
	url string
	log testlog.Buffer
}

// startPrometheus scrapes brokers each second, and looks at the shipped alerts as often.
func startPrometheus(t *testing.T, metrics ...string) *prometheus {
	t.Helper()
	program, dir := filepath.Join(prometheusIn(t), "prometheus"), t.TempDir()
	var targets []string
	for _, m := range metrics {
		targets = append(targets, instance(m))
	}
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	err = os.WriteFile(config, fmt.Appendf(nil, `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ['%s']
scrape_configs:
  - job_name: fjmcp
    static_configs: [{targets: ['%s']}]
`, rules, strings.Join(targets, "','")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	address, err := localbroker.FreeAddress("0")
	if err != nil {
		t.Fatal(err)
	}
	p := &prometheus{t: t, url: "http://" + address}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	ended, err := localbroker.Spawn(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("Prometheus says:\n%s", p.log.String())
		}
	})
	if err := localbroker.Await(t.Context(), ended, http.DefaultClient, p.url+"/-/ready"); err != nil {
		t.Fatalf("%v\n%s", err, p.log.String())
	}
	return p
}

// ask asks the HTTP API, and decodes data.
func (p *prometheus) ask(path string, data any) {
	p.t.Helper()
	resp, err := http.Get(p.url + "/api/v1/" + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	answer := struct {
		Status string
		Data   any
	}{Data: data}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || answer.Status != "success" {
		p.t.Fatalf("%s gives %.500s, %v", path, body, err)
	}
}

// sample is one series' value.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

func (s sample) number() float64 {
	text, _ := s.Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

func (p *prometheus) query(expr string) []sample {
	p.t.Helper()
	var v struct{ Result []sample }
	p.ask("query?query="+url.QueryEscape(expr), &v)
	return slices.DeleteFunc(v.Result, func(s sample) bool { return math.IsNaN(s.number()) })
}

// firing are the alerts that fire, with their brokers.
func (p *prometheus) firing() map[string]bool {
	p.t.Helper()
	var v struct {
		Alerts []struct {
			Labels, Annotations map[string]string
			State               string
		}
	}
	p.ask("alerts", &v)
	all := map[string]bool{}
	for _, a := range v.Alerts {
		for name, text := range a.Annotations {
			if strings.Contains(text, "error") && strings.Contains(text, "template") || strings.Contains(text, "no value") {
				p.t.Errorf("%s: %s is %q", a.Labels["alertname"], name, text)
			}
		}
		if a.State == "firing" {
			all[a.Labels["alertname"]+" "+a.Labels["instance"]] = true
		}
	}
	return all
}

// dashboard are the queries of the shipped dashboard, by their panels' titles.
func dashboard(t *testing.T) map[string]string {
	t.Helper()
	file, err := os.ReadFile("../../../packaging/grafana/fjmcp.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			ID                int
			Type, Title       string
			GridPos           struct{ X, Y, W, H int }
			Targets           []struct{ Expr, RefID string }
			Datasource        *struct{ UID string }
			Description, Unit string
		}
		Annotations struct {
			List []struct{ Name, Expr string }
		}
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(file, &d); err != nil {
		t.Fatal(err)
	}
	all, ids, taken := map[string]string{}, map[int]bool{}, map[[2]int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Type != "row" && (len(p.Targets) == 0 || p.Datasource == nil || p.Datasource.UID != "${datasource}") {
			t.Errorf("panel %q has another's number, no query or a data source of its own", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if taken[[2]int{x, y}] || x >= 24 {
					t.Fatalf("panel %q lies over another", p.Title)
				}
				taken[[2]int{x, y}] = true
			}
		}
		for _, q := range p.Targets {
			all[p.Title+" "+q.RefID] = q.Expr
		}
	}
	for _, a := range d.Annotations.List {
		all[a.Name] = a.Expr
	}
	for what, expr := range all {
		all[what] = strings.NewReplacer("$__rate_interval", "30s", "$job", "fjmcp", "$instance", ".+").Replace(expr)
	}
	return all
}

// load is two users' calls, until ctx ends.
func (w *world) load(ctx context.Context) (ended func() error) {
	var all errgroup.Group
	for _, user := range []string{"alice", "bob"} {
		c := w.mustConnect(user)
		all.Go(func() error {
			for ctx.Err() == nil {
				if _, err := call(ctx, c, "get_my_user_info", nil); err != nil && ctx.Err() == nil {
					return err
				}
				_, _ = call(ctx, c, "no_such_tool", nil)
				time.Sleep(5 * time.Millisecond) // the machine has other things to do
			}
			return nil
		})
	}
	return all.Wait
}

// visit is a user who comes, does what is not done every day, and goes.
func (w *world) visit() {
	w.t.Helper()
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	id := w.begin(token)
	for _, body := range []string{`"method":"prompts/get","params":{"name":"p"}`, `"method":"resources/read","params":{"uri":"forgejo://owner/alice"}`} {
		w.post(token, id, `{"jsonrpc":"2.0","id":1,`+body+`}`)
	}
	w.doAt("POST", "/oauth/token", "", "grant_type=none")
	w.do("DELETE", token, id, "")
}

// startMute is startMeasured with an audit that can be cut off.
func startMute(t *testing.T, required string) (w *world, url string, cut func()) {
	t.Helper()
	address, err := localbroker.FreeAddress("0")
	if err != nil {
		t.Fatal(err)
	}
	events, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stderr.Close() })
	w = startLogging(t, stderr, "", "standin", "FJMCP_BROKER_AUDIT_REQUIRED="+required, "FJMCP_BROKER_METRICS_LISTEN="+address, "FJMCP_BROKER_CALLS_PER_MINUTE=0")
	return w, "http://" + address + "/metrics", func() { events.Close() }
}

// instance is how Prometheus calls a broker.
func instance(metrics string) string {
	return strings.TrimSuffix(strings.TrimPrefix(metrics, "http://"), "/metrics")
}

// A real Prometheus scrapes a broker under load, for $FJMCP_SCRAPED at least, such as 1m:
// each query of the dashboard gives data, no alert fires, and then each alert without a
// delay does when its cause is there.
func TestPrometheus(t *testing.T) {
	prometheusIn(t)
	w, metrics := startMeasured(t, "standin", "FJMCP_BROKER_FORGEJO_ROUTES=open:lfs", "FJMCP_BROKER_SESSIONS_PER_USER=20", "FJMCP_BROKER_CALLS_PER_MINUTE=0")
	refused, refusedMetrics, cutRefused := startMute(t, "on")
	lost, lostMetrics, cutLost := startMute(t, "off")
	p := startPrometheus(t, metrics, refusedMetrics, lostMetrics)
	p.watch(w, p.least())
	if firing := p.firing(); len(firing) > 0 {
		t.Errorf("under load there fire %v", firing)
	}
	if failed := p.query("min_over_time(up[1h]) == 0"); len(failed) > 0 {
		t.Errorf("scrapes failed: %v", failed)
	}
	t.Logf("%v scrapes, the slowest took %v s", p.query("sum(count_over_time(up[1h]))"), p.query("max(max_over_time(scrape_duration_seconds[1h]))"))

	w.leak()
	w.reuse()
	cutRefused()
	refused.flood(func(body string) bool { return strings.Contains(body, "cannot write its audit") })
	cutLost()
	lost.flood(func(string) bool { return len(p.query("fjmcp_audit_lost_events_total > 0")) > 0 })
	started := "fjmcp_start_time_seconds{instance=\"" + instance(metrics) + "\"}"
	for range 4 {
		before := p.query(started)[0].number()
		w.must(w.broker.Restart(t.Context(), w.program()))
		w.until("Prometheus sees that the broker has started again", func() bool {
			now := p.query(started)
			return len(now) == 1 && now[0].number() != before
		})
	}
	for _, want := range []string{
		"FjmcpTokenLeaked " + instance(metrics), "FjmcpTokenReused " + instance(metrics), "FjmcpRestarts " + instance(metrics),
		"FjmcpCallsRefused " + instance(refusedMetrics), "FjmcpAuditLost " + instance(lostMetrics),
	} {
		w.until(want+" fires", func() bool { return p.firing()[want] })
	}
}

// least is $FJMCP_SCRAPED.
func (p *prometheus) least() time.Duration {
	text := os.Getenv("FJMCP_SCRAPED")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

// watch has w under load until all queries of the dashboard have given data, and for least.
func (p *prometheus) watch(w *world, least time.Duration) {
	p.t.Helper()
	queries, began := dashboard(p.t), time.Now()
	if len(queries) < 40 {
		p.t.Fatalf("the dashboard has only %d queries", len(queries))
	}
	ctx, stop := context.WithCancel(p.t.Context())
	ended := w.load(ctx)
	w.forge.ExpireAccessTokens() // once: a user's token is refreshed six times a minute at most
	defer func() {
		stop()
		if err := ended(); err != nil {
			p.t.Error(err)
		}
		if p.t.Failed() {
			p.t.Logf("no data of %v", queries)
		}
	}()
	w.until("all queries of the dashboard give data", func() bool {
		w.visit()
		maps.DeleteFunc(queries, func(_, expr string) bool { return len(p.query(expr)) > 0 })
		return len(queries) == 0
	})
	for time.Since(began) < least {
		w.visit()
		time.Sleep(time.Second)
	}
}

// leak has the forge give a session its user's token.
func (w *world) leak() {
	w.t.Helper()
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	w.tool(token, w.begin(token), "fetch_url", map[string]any{"url": w.forge.URL + "/alice/hello.git/info/lfs/objects/batch", "method": "POST"})
}

// reuse redeems a code twice.
func (w *world) reuse() {
	w.t.Helper()
	client, err := w.register(w.t.Context())
	w.must(err)
	code, err := w.code(w.t.Context(), client, "bob")
	w.must(err)
	for range 2 {
		_, err = w.redeem(w.t.Context(), w.broker.URL, codeForm(client, code))
		w.must(err)
	}
}

// flood makes calls until done says so of an answer.
func (w *world) flood(done func(body string) bool) {
	w.t.Helper()
	token := w.token(w.mustConnect("alice"))
	session := w.oldSession(token)
	w.until("enough calls are made", func() bool { return done(w.batch(token, session).body) })
}
