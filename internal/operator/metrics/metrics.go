// Package metrics counts and times what a broker does, for Prometheus: who is served, how
// fast, and what fails. It names no user, repository, client or session. The values of a
// label are known beforehand, and what is none of them counts as "other": those who choose
// names, such as of tools, can neither read other people's from a scrape nor make it grow.
//
//	audit's events ──▶ calls, logins, limits, starts, ends     counted as they happen
//	forge, store, HTTP ──▶ requests and their time             counted as they happen
//	sessions, health, store, audit ◀── a scrape                asked then
//
// A nil *Metrics is what there is where nobody scrapes: it observes nothing. docs/metrics.md
// lists all metrics.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
)

const (
	namespace = "fjmcp"
	// mostScrapes is how many scrapes are answered at a time.
	mostScrapes = 3
	// scrapeTimeout bounds one. Prometheus waits for 10 s unless told otherwise.
	scrapeTimeout = 9 * time.Second
)

// Metrics is safe for concurrent use. Use New.
type Metrics struct {
	registry *prometheus.Registry

	calls        *prometheus.CounterVec   // method, tool, outcome
	callTime     *prometheus.HistogramVec // method
	events       *prometheus.CounterVec   // event
	logins       *prometheus.CounterVec   // outcome
	limited      *prometheus.CounterVec   // limit
	refreshes    *prometheus.CounterVec   // outcome
	startTime    *prometheus.HistogramVec // kind
	failures     *prometheus.CounterVec   // reason
	stops        *prometheus.CounterVec   // reason
	requests     *prometheus.CounterVec   // handler, code
	forge        *prometheus.CounterVec   // endpoint, code
	forgeTime    *prometheus.HistogramVec // endpoint
	storeTime    *prometheus.HistogramVec // operation
	policy       *prometheus.CounterVec   // rule
	rules        atomic.Pointer[words]    // values of its label
	prefix       string
	read, writes prometheus.Observer // of storeTime
}

// New returns a Metrics that nobody has told anything yet. prefix is the path of the public
// URL.
func New(prefix string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), prefix: prefix}
	m.calls = m.counter("calls_total", "Calls of tools, resources and prompts that were answered, given up, or refused by their user's limit.", "method", "tool", "outcome")
	m.callTime = m.histogram("call_duration_seconds", "Time from such a request to its end, what a session's start took among it.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}, "method")
	m.events = m.counter("audit_events_total", "Events of the audit, written or not.", "event")
	m.logins = m.counter("logins_total", "Logins at the forge that ended, for clients and for the account page.", "outcome")
	m.limited = m.counter("rate_limited_total", "Sources and users that went over a limit, each once in ten minutes.", "limit")
	m.refreshes = m.counter("forgejo_refreshes_total", "Refreshes of users' Forgejo tokens, and refusals of these users.", "outcome")
	m.startTime = m.histogram("session_start_duration_seconds", "Time from the request that needs a unit to the unit's first answer.",
		[]float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}, "kind")
	m.failures = m.counter("session_failures_total", "Units that did not start, or ended by themselves.", "reason")
	m.stops = m.counter("session_stops_total", "Sessions that ended for good, or whose unit was stopped.", "reason")
	m.policy = m.counter("policy_refusals_total", "Calls, connections and logins that the policy refused, by the rule that denies them; empty where no rule grants them.", "rule")
	m.policy.WithLabelValues("")
	m.rules.Store(&words{})
	m.requests = m.counter("http_requests_total", "Requests to the broker that were answered.", "handler", "code")
	m.forge = m.counter("forge_requests_total", "Requests of the broker itself to the forge.", "endpoint", "code")
	m.forgeTime = m.histogram("forge_request_duration_seconds", "Time of such a request to the head of its answer.",
		[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "endpoint")
	m.storeTime = m.histogram("store_operation_duration_seconds", "Time of a read of the database to its first row, and of a write with its commit and what it waited for.",
		[]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 10}, "operation")
	m.read, m.writes = m.storeTime.WithLabelValues(string(database.Read)), m.storeTime.WithLabelValues(string(database.Write))
	expect(m.events, kinds)
	expect(m.logins, loginOutcomes)
	expect(m.limited, limits)
	expect(m.refreshes, loginOutcomes)
	expect(m.failures, failureReasons)
	expect(m.stops, stopReasons)
	build := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "What runs; always 1.", ConstLabels: prometheus.Labels{
		"version": version.Version, "commit": version.CommitID(), "goversion": runtime.Version(),
	}})
	build.Set(1)
	started := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "start_time_seconds", Help: "When the broker started, seconds since 1970."})
	started.SetToCurrentTime()
	m.registry.MustRegister(build, started, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

// expect has what words are counted by begin at 0, as increase() misses what is not there
// before the first.
func expect(v *prometheus.CounterVec, all words) {
	for word := range all {
		v.WithLabelValues(word)
	}
}

// Handler serves GET /metrics, as OpenMetrics where that is asked for, three scrapes at a
// time and none for longer than nine seconds.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), ErrorHandling: promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: mostScrapes, Timeout: scrapeTimeout, EnableOpenMetrics: true,
	}))
	return mux
}

// Store is store.Options.Timed; nil where m is.
func (m *Metrics) Store() func(database.Operation, time.Duration) {
	if m == nil {
		return nil
	}
	return func(op database.Operation, took time.Duration) {
		if op == database.Write {
			m.writes.Observe(took.Seconds())
		} else {
			m.read.Observe(took.Seconds())
		}
	}
}

// Refreshed is tokens.Config.Refreshed; nil where m is.
func (m *Metrics) Refreshed() func() {
	if m == nil {
		return nil
	}
	return m.refreshes.WithLabelValues("ok").Inc
}

// Audit has events counted.
func (m *Metrics) Audit(events *audit.Logger) {
	if m != nil {
		events.Observe(m.event)
	}
}

// methods are those of calls, by the events that tell of them.
var methods = map[audit.Kind]string{audit.ToolCall: "tools/call", audit.ResourceRead: "resources/read", audit.PromptGet: "prompts/get"}

// mostRules bounds the values of a label that the operator chooses.
const mostRules = 100

// Rules has refusals counted by these rules of the policy, the first hundred of them, and
// by no other: who refuses may be a session that others have taken over. Where m is nil, it
// does nothing.
func (m *Metrics) Rules(names []string) {
	if m == nil {
		return
	}
	now := newWords(names[:min(len(names), mostRules)]...)
	for rule := range *m.rules.Swap(&now) {
		if !now[rule] {
			m.policy.DeleteLabelValues(rule)
		}
	}
	expect(m.policy, now)
}

// refused counts what the policy refused.
func (m *Metrics) refused(e audit.Event) {
	rule := e.Rule
	if rule != "" {
		rule = m.rules.Load().of(rule)
	}
	m.policy.WithLabelValues(rule).Inc()
}

func (m *Metrics) event(e audit.Event) {
	if !e.Unwritten {
		m.events.WithLabelValues(kinds.of(string(e.Kind))).Inc()
	}
	if e.Outcome == "policy" {
		m.refused(e)
	}
	switch e.Kind {
	case audit.ToolCall:
		m.call(e, tools().of(e.Tool))
	case audit.ResourceRead, audit.PromptGet:
		m.call(e, "")
	case audit.LoginSucceeded, audit.AccountLogin, audit.LoginDenied, audit.DeviceDenied, audit.LoginFailed:
		m.logins.WithLabelValues(loginOutcomes.of(e.Outcome)).Inc()
	case audit.RateLimited:
		m.limited.WithLabelValues(limits.of(e.Outcome)).Inc()
	case audit.ForgejoRefresh:
		m.refreshes.WithLabelValues(loginOutcomes.of(e.Outcome)).Inc()
	case audit.SessionStarted:
		kind := "start"
		if e.Detail == audit.Woken {
			kind = "wake"
		}
		m.startTime.WithLabelValues(kind).Observe(seconds(e))
	case audit.SessionFailed:
		m.failures.WithLabelValues(failureReasons.of(e.Outcome)).Inc()
	case audit.SessionStopped, audit.SessionReaped:
		m.stops.WithLabelValues(stopReasons.of(e.Outcome)).Inc()
	}
}

func (m *Metrics) call(e audit.Event, tool string) {
	method := methods[e.Kind]
	m.calls.WithLabelValues(method, tool, callOutcomes.of(e.Outcome)).Inc()
	if !e.Unwritten { // else it took no time, and there may be many
		m.callTime.WithLabelValues(method).Observe(seconds(e))
	}
}

// seconds is how long what e tells of took.
func seconds(e audit.Event) float64 {
	usec, _ := strconv.ParseInt(e.DurationUsec, 10, 64) // empty for none
	return float64(usec) / 1e6
}
