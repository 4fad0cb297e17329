package integration

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
)

const rulesFile = "../../../packaging/prometheus/fjmcp.rules.yml"

var unpackPrometheus = sync.OnceValues(func() (string, error) {
	dir, err := testcache.Unpacked(context.Background(), "prometheus")
	return filepath.Join(dir, "usr/bin"), err
})

// prometheusIn is the directory of Debian's prometheus and promtool.
func prometheusIn(t *testing.T) string {
	t.Helper()
	dir, err := unpackPrometheus()
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	return dir
}

// promtool runs it, and returns what it says.
func promtool(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(prometheusIn(t), "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// cause is series that have an alert fire, one sample a minute, and what is nearly the same
// and does not. {} stands for what tells of one broker.
type cause struct {
	fires, not []string
	after      int    // the minute from which on it fires; by when not has not
	labels     string // of the alert, where there are more
}

var causes = map[string]cause{
	"FjmcpDown":       {fires: []string{"up{} 1 0x10"}, not: []string{"up{} 1 0 1x10"}, after: 3},
	"FjmcpNotScraped": {fires: []string{`up{job="node"} 1x20`}, not: []string{"up{} 0x20"}, after: 5, labels: `job="fjmcp"`},
	"FjmcpRestarts": {fires: []string{"fjmcp_start_time_seconds{} 100 200 300 400 500 500x10"},
		not: []string{"fjmcp_start_time_seconds{} 100 200 300 400 400x10"}, after: 4},
	"FjmcpCheckFailing": {fires: []string{`fjmcp_health_check{,check="forge",state="failing"} 0 1x10`},
		not: []string{`fjmcp_health_check{,check="forge",state="failing"} 0 1 0x10`, `fjmcp_health_check{,check="forge",state="pending"} 1x10`}, after: 3, labels: `check="forge",state="failing"`},
	"FjmcpCheckWarns": {fires: []string{`fjmcp_health_check{,check="audit",state="warning"} 1x40`},
		not: []string{`fjmcp_health_check{,check="audit",state="warning"} 1x20 0x20`}, after: 30, labels: `check="audit",state="warning"`},
	"FjmcpTokenLeaked": {fires: []string{`fjmcp_audit_events_total{,event="token_leaked"} 0 0 1x20`},
		not: []string{`fjmcp_audit_events_total{,event="token_leaked"} 1x20`, `fjmcp_audit_events_total{,event="token_issued"} 0+1x20`}, after: 2, labels: `event="token_leaked"`},
	"FjmcpTokenReused": {fires: []string{`fjmcp_audit_events_total{,event="token_reused"} 0 0 1x20`},
		not: []string{`fjmcp_audit_events_total{,event="token_refreshed"} 0+1x20`}, after: 2, labels: `event="token_reused"`},
	"FjmcpAuditWaiting": {fires: []string{"fjmcp_audit_waiting_events{} 0 7x10"}, not: []string{"fjmcp_audit_waiting_events{} 0 7 0x10"}, after: 2},
	"FjmcpAuditLost":    {fires: []string{"fjmcp_audit_lost_events_total{} 0 0 3x10"}, not: []string{"fjmcp_audit_lost_events_total{} 3x10"}, after: 2},
	"FjmcpCallsRefused": {fires: []string{"fjmcp_audit_refused_calls_total{} 0 0 3x10"}, not: []string{"fjmcp_audit_refused_calls_total{} 3x10"}, after: 2},
	"FjmcpLoginsFail": {fires: []string{`fjmcp_logins_total{,outcome="ok"} 0+1x30`, `fjmcp_logins_total{,outcome="down"} 0+1x30`},
		not: []string{`fjmcp_logins_total{,outcome="ok"} 0+1x30`, `fjmcp_logins_total{,outcome="denied"} 0+9x30`, `fjmcp_logins_total{,outcome="down"} 0 0 0 1x30`}, after: 8},
	"FjmcpSessionsFail": {fires: []string{`fjmcp_session_failures_total{,reason="crashed"} 0+1x30`, `fjmcp_session_start_duration_seconds_count{,kind="start"} 0+1x30`},
		not: []string{`fjmcp_session_failures_total{,reason="crashed"} 0+1x30`, `fjmcp_session_start_duration_seconds_count{,kind="start"} 0+5x30`, `fjmcp_session_start_duration_seconds_count{,kind="wake"} 0+5x30`}, after: 8},
	"FjmcpCallsFail": {fires: []string{`fjmcp_calls_total{,method="tools/call",tool="create_issue",outcome="crashed"} 0+1x30`, `fjmcp_calls_total{,method="tools/call",tool="create_issue",outcome="ok"} 0+5x30`},
		not: []string{`fjmcp_calls_total{,method="tools/call",tool="create_issue",outcome="error"} 0+9x30`, `fjmcp_calls_total{,method="tools/call",tool="create_issue",outcome="read_only"} 0+5x30`}, after: 7},
	"FjmcpForgeUnreachable": {fires: []string{`fjmcp_forge_requests_total{,endpoint="version",code="none"} 0+1x30`, `fjmcp_forge_requests_total{,endpoint="version",code="2xx"} 5x30`},
		not: []string{`fjmcp_forge_requests_total{,endpoint="version",code="4xx"} 0+1x30`, `fjmcp_forge_requests_total{,endpoint="version",code="5xx"} 5x30`}, after: 6},
	"FjmcpForgeSlow": {fires: []string{`fjmcp_forge_request_duration_seconds_bucket{,endpoint="version",le="1"} 0x30`, `fjmcp_forge_request_duration_seconds_bucket{,endpoint="version",le="5"} 0+1x30`, `fjmcp_forge_request_duration_seconds_bucket{,endpoint="version",le="+Inf"} 0+1x30`},
		not: []string{`fjmcp_forge_request_duration_seconds_bucket{,endpoint="version",le="1"} 0+1x30`, `fjmcp_forge_request_duration_seconds_bucket{,endpoint="version",le="5"} 0+1x30`, `fjmcp_forge_request_duration_seconds_bucket{,endpoint="version",le="+Inf"} 0+1x30`}, after: 11},
	"FjmcpStoreSlow": {fires: []string{`fjmcp_store_operation_duration_seconds_bucket{,operation="write",le="0.25"} 0x30`, `fjmcp_store_operation_duration_seconds_bucket{,operation="write",le="1"} 0+1x30`, `fjmcp_store_operation_duration_seconds_bucket{,operation="write",le="+Inf"} 0+1x30`},
		not: []string{`fjmcp_store_operation_duration_seconds_bucket{,operation="read",le="0.25"} 0x30`, `fjmcp_store_operation_duration_seconds_bucket{,operation="read",le="1"} 0+1x30`, `fjmcp_store_operation_duration_seconds_bucket{,operation="read",le="+Inf"} 0+1x30`,
			`fjmcp_store_operation_duration_seconds_bucket{,operation="write",le="0.25"} 0+1x30`, `fjmcp_store_operation_duration_seconds_bucket{,operation="write",le="+Inf"} 0+1x30`}, after: 11},
	"FjmcpStoreFull": {fires: []string{"fjmcp_store_free_bytes{} 900000000x20", "fjmcp_store_size_bytes{} 500000000x20"},
		not: []string{"fjmcp_store_free_bytes{} 900000000x20", "fjmcp_store_size_bytes{} 400000000x20"}, after: 5},
	"FjmcpSessionsNearLimit": {fires: []string{`fjmcp_sessions{,state="running"} 180x20`, `fjmcp_sessions{,state="starting"} 5x20`, `fjmcp_sessions{,state="dormant"} 500x20`, "fjmcp_sessions_limit{} 200x20"},
		not: []string{`fjmcp_sessions{,state="running"} 170x20`, `fjmcp_sessions{,state="starting"} 5x20`, `fjmcp_sessions{,state="dormant"} 500x20`, "fjmcp_sessions_limit{} 200x20"}, after: 10},
	"FjmcpPolicyNotLoaded": {fires: []string{"fjmcp_policy_last_load_successful{} 1 0x10"}, not: []string{"fjmcp_policy_last_load_successful{} 1 0 0 1x10"}, after: 6},
	"FjmcpDrained":         {fires: []string{"fjmcp_draining{} 1x80"}, not: []string{"fjmcp_draining{} 1x40 0x40"}, after: 60},
}

// broker is what Prometheus adds to a broker's series.
const brokerLabels = `job="fjmcp",instance="127.0.0.1:9464"`

// test is a cause in promtool's words: whether the alert fires by then.
func (c cause) test(alert, severity string, series []string, fires bool) string {
	var b strings.Builder
	b.WriteString("  - interval: 1m\n    input_series:\n")
	for _, s := range series {
		at := strings.LastIndexByte(s, '}') + 1
		name, values := strings.Replace(s[:at], "{,", "{"+brokerLabels+",", 1), s[at+1:]
		fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", strings.Replace(name, "{}", "{"+brokerLabels+"}", 1), values)
	}
	fmt.Fprintf(&b, "    promql_expr_test:\n      - expr: ALERTS{alertname=%q,alertstate=\"firing\"}\n        eval_time: %dm\n        exp_samples:", alert, c.after)
	if !fires {
		return b.String() + " []\n"
	}
	labels := brokerLabels
	if alert == "FjmcpNotScraped" {
		labels = c.labels
	} else if c.labels != "" {
		labels += "," + c.labels
	}
	fmt.Fprintf(&b, "\n          - {labels: 'ALERTS{alertname=%q,alertstate=\"firing\",severity=%q,%s}', value: 1}\n", alert, severity, labels)
	return b.String()
}

// alertRules are the shipped alerts with their severities.
func alertRules(t *testing.T) (text string, severities map[string]string) {
	t.Helper()
	file, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	severities = map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)- alert: (\w+)\n.*?severity: (\w+)\n`).FindAllStringSubmatch(string(file), -1) {
		severities[m[1]] = m[2]
	}
	return string(file), severities
}

// Each alert fires for its cause, not for what is nearly that, and not before.
func TestAlertRules(t *testing.T) {
	promtool(t, "", "check", "rules", rulesFile)
	_, severities := alertRules(t)
	if got, want := slices.Sorted(maps.Keys(causes)), slices.Sorted(maps.Keys(severities)); !slices.Equal(got, want) {
		t.Fatalf("causes are known of\n%v, alerts are\n%v", got, want)
	}
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: ['%s']\nevaluation_interval: 1m\ntests:\n", rules)
	for alert, severity := range severities {
		c := causes[alert]
		b.WriteString(c.test(alert, severity, c.fires, true))
		b.WriteString(c.test(alert, severity, c.not, false))
		early := c
		early.after--
		b.WriteString(early.test(alert, severity, c.fires, false))
	}
	file := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "test", "rules", file)
}

// Each alert says what to do, where the page tells more of it, and stands in the pages.
func TestAlertsSayWhatToDo(t *testing.T) {
	text, severities := alertRules(t)
	read := func(file string) string {
		page, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil {
			t.Fatal(err)
		}
		return string(page)
	}
	operations, metrics := read("docs/operations.md"), read("docs/metrics.md")
	rules := strings.Split(text, "- alert: ")[1:]
	if len(rules) != len(severities) {
		t.Fatalf("%d rules, %d of them with a severity", len(rules), len(severities))
	}
	for _, rule := range rules {
		name, _, _ := strings.Cut(rule, "\n")
		for _, want := range []string{"summary", "description", "command"} {
			if !regexp.MustCompile(want + `: '\S.{8,}'`).MatchString(rule) {
				t.Errorf("%s has no %s", name, want)
			}
		}
		m := regexp.MustCompile(`runbook_url: 'https://github.com/fjmcp/fjmcp-broker/blob/main/docs/operations.md#([\w-]+)'`).FindStringSubmatch(rule)
		if m == nil || !strings.Contains(headings(operations), "\n"+m[1]+"\n") {
			t.Errorf("%s leads to no section of docs/operations.md: %v", name, m)
		}
		if !strings.Contains(metrics, "\n| `"+name+"` | "+cmp.Or(severities[name], "none")+" |") {
			t.Errorf("docs/metrics.md does not list %s as %s", name, severities[name])
		}
		for _, metric := range regexp.MustCompile(`fjmcp_\w+`).FindAllString(rule, -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(metric, "_bucket"), "_count")
			if !strings.Contains(metrics, "`"+base+"`") {
				t.Errorf("%s asks for %s, which there is not", name, metric)
			}
		}
	}
}

// headings are a page's, as they are linked, each on a line.
func headings(page string) string {
	all := "\n"
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		all += strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-") + "\n"
	}
	return all
}

// What a broker tells keeps to Prometheus's conventions, in both formats.
func TestScrapeKeepsToConventions(t *testing.T) {
	prometheusIn(t)
	w, url := startMeasured(t, "standin")
	w.mustCall(w.mustConnect("alice"), "get_my_user_info", nil, "alice")
	resp := w.get(url, "")
	if said := promtool(t, resp, "check", "metrics"); said != "" {
		t.Errorf("promtool says\n%s", said)
	}
	if open := w.get(url, "application/openmetrics-text;version=1.0.0"); !strings.HasSuffix(open, "\n# EOF\n") || !strings.Contains(open, "\n# TYPE fjmcp_calls counter\n") {
		t.Errorf("as OpenMetrics it is\n%s", open)
	}
}

func (w *world) get(url, accept string) string {
	w.t.Helper()
	r, err := w.fetch(w.t.Context(), "GET", url, nil, "Accept", accept)
	w.must(err)
	return r.body
}
