package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

// startMeasured is start with metrics, which are at the URL it returns.
func startMeasured(t *testing.T, backend string, env ...string) (w *world, url string) {
	t.Helper()
	address, err := localbroker.FreeAddress("0")
	if err != nil {
		t.Fatal(err)
	}
	w = start(t, backend, append(env, "FJMCP_BROKER_METRICS_LISTEN="+address)...)
	return w, "http://" + address + "/metrics"
}

// scrape returns all metrics by their names.
func (w *world) scrape(url string) map[string]*dto.MetricFamily {
	w.t.Helper()
	resp, err := http.Get(url)
	w.must(err)
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("a scrape gives %s, %v", resp.Status, err)
	}
	return families
}

// documented are the metrics of docs/metrics.md, each with its type and labels.
func documented(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(fjmcp_\\w+)` \\| (\\w+) \\| (.*?) ?\\| \\S").FindAllStringSubmatch(string(page), -1) {
		labels := regexp.MustCompile(`\w+`).FindAllString(m[3], -1)
		slices.Sort(labels)
		all[m[1]] = fmt.Sprint(m[2], labels)
	}
	return all
}

// busy are users who do all that is counted, badly and well.
func (w *world) busy() {
	w.t.Helper()
	ctx := w.t.Context()
	for _, user := range []string{"alice", "bob"} {
		c := w.mustConnect(user)
		token := w.token(c)
		w.mustCall(c, "get_my_user_info", nil, user)
		w.mustCall(c, "list_repo_issues", map[string]any{"owner": "alice", "repo": "hello"}, "")
		for i := range 30 {
			_, _ = call(ctx, c, fmt.Sprintf("%s_%d", user, i), map[string]any{"owner": user, "repo": "hello"})
			w.post(token, c.ID(), fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"%s/%d"}`, user, i))
			w.post(token, c.ID(), fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"%s\n%d"}}`, user, i))
			w.post(token, c.ID(), fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"forgejo://owner/%s%d"}}`, user, i))
			w.doAt("GET", fmt.Sprintf("/%s/%d", user, i), "no token "+user, "")
			w.doAt(strings.ToUpper(user), "/mcp", token, "")
		}
		w.do("DELETE", token, c.ID(), "")
		w.doAt("POST", "/oauth/token", "", "grant_type="+user)
		if _, err := w.connect(user + "\n"); err == nil {
			w.t.Error("a user who does not exist logs in")
		}
	}
}

// Each metric of a real scrape is in docs/metrics.md, with type and labels, and the reverse;
// no label holds what tells of a user; and what clients send does not make it grow.
func TestMetrics(t *testing.T) {
	w, url := startMeasured(t, "standin")
	w.busy()
	families := w.scrape(url)
	got := map[string]string{}
	for name, f := range families {
		if !strings.HasPrefix(name, "fjmcp_") {
			continue
		}
		labels := map[string]bool{}
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		got[name] = fmt.Sprint(strings.ToLower(f.GetType().String()), slices.Sorted(maps.Keys(labels)))
	}
	if want := documented(t); !maps.Equal(got, want) {
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("docs/metrics.md has %s %s, a scrape %q", name, want[name], got[name])
			}
		}
		for name := range got {
			if want[name] == "" {
				t.Errorf("docs/metrics.md does not list %s %s", name, got[name])
			}
		}
	}
	w.tellsNobody(families)

	series := count(families)
	w.busy()
	if more := count(w.scrape(url)); more > series+5 {
		t.Errorf("more of the same made %d series of %d", more, series)
	}
	if series > 600 {
		t.Errorf("a scrape has %d series", series)
	}
}

func count(families map[string]*dto.MetricFamily) (n int) {
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

// tellsNobody looks in every value of a label for what the broker knows of people: from its
// audit, where all of it is.
func (w *world) tellsNobody(families map[string]*dto.MetricFamily) {
	w.t.Helper()
	secret := map[string]bool{"alice": true, "bob": true, "hello": true, "walk": true}
	for _, m := range regexp.MustCompile(`FJMCP_(?:USER|CLIENT|CLIENT_ID|SESSION|UNIT|REPO|ADDRESS)=("[^"]*"|\S+)`).FindAllStringSubmatch(w.log.String(), -1) {
		secret[strings.Trim(m[1], `"`)] = true
	}
	if len(secret) < 10 {
		w.t.Fatalf("the audit knows only %v", slices.Sorted(maps.Keys(secret)))
	}
	for name, f := range families {
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				for word := range secret {
					if strings.Contains(strings.ToLower(l.GetValue()), strings.ToLower(word)) {
						w.t.Errorf("%s tells of %q: %s=%q", name, word, l.GetName(), l.GetValue())
					}
				}
			}
		}
	}
}

// Metrics are on their own socket alone, and without it nowhere.
func TestMetricsAreNotPublic(t *testing.T) {
	w, _ := startMeasured(t, "standin")
	if r := w.doAt("GET", "/metrics", "", ""); r.status != http.StatusNotFound {
		t.Errorf("the public port answers %d", r.status)
	}
	off := start(t, "standin")
	if r := off.doAt("GET", "/metrics", "", ""); r.status != http.StatusNotFound {
		t.Errorf("without metrics the public port answers %d", r.status)
	}
	if log := off.log.String(); strings.Contains(log, "scrape") {
		t.Errorf("a broker without metrics speaks of them:\n%s", log)
	}
}

// A broker that cannot have its socket for metrics serves all the same, and says why.
func TestMetricsPortIsTaken(t *testing.T) {
	w, url := startMeasured(t, "standin")
	address := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics")
	second := start(t, "standin", "FJMCP_BROKER_METRICS_LISTEN="+address)
	c := second.mustConnect("alice")
	second.mustCall(c, "get_my_user_info", nil, "alice")
	if log := second.log.String(); !strings.Contains(log, "cannot listen on FJMCP_BROKER_METRICS_LISTEN="+address) {
		t.Errorf("it says\n%s", log)
	}
	w.scrape(url)
}
