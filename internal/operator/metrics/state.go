package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// Sources are asked at each scrape. All fields are required.
type Sources struct {
	Sessions             *session.Manager
	SessionsMax, PerUser int
	Store                *store.Store
	StateDir             string // in which the database is
	Health               *health.Health
	Audit                *audit.Logger
	Policy               func() admin.PolicyStatus
}

// countTimeout bounds the look at the database.
const countTimeout = 3 * time.Second

// state collects what is asked at a scrape.
type state struct {
	Sources
	all []*prometheus.Desc

	sessions, mostOfUser, max, perUser, warm, inFlight, draining *prometheus.Desc
	health                                                       *prometheus.Desc
	waiting, waitingBytes, room, lost, refused                   *prometheus.Desc
	users, clients, logins, size, free                           *prometheus.Desc
	rules, loaded, loadFailures, loadOK                          *prometheus.Desc
}

// Attend has scrapes ask of. Where m is nil, it does nothing.
func (m *Metrics) Attend(of Sources) {
	if m == nil {
		return
	}
	s := &state{Sources: of}
	s.sessions = s.desc("sessions", "MCP sessions: starting and running ones have a unit, dormant ones are in the database alone.", "state")
	s.mostOfUser = s.desc("user_sessions_max", "Units of the user who has the most.")
	s.max = s.desc("sessions_limit", "Units that may run at a time (FJMCP_BROKER_SESSIONS_MAX).")
	s.perUser = s.desc("user_sessions_limit", "Of one user (FJMCP_BROKER_SESSIONS_PER_USER).")
	s.warm = s.desc("warm_units", "Units that wait for the first session after a login.")
	s.inFlight = s.desc("calls_in_flight", "Requests that sessions have yet to answer.")
	s.draining = s.desc("draining", "1 while fjmcpctl drain has the broker take no calls, else 0.")
	s.health = s.desc("health_check", "1 for the state that a check of fjmcpctl status is in, as last looked at, 0 for the others.", "check", "state")
	s.waiting = s.desc("audit_waiting_events", "Events that wait in memory, as the journal does not take them.")
	s.waitingBytes = s.desc("audit_waiting_bytes", "Size of these.")
	s.room = s.desc("audit_waiting_limit_bytes", "Size beyond which events are lost.")
	s.lost = s.desc("audit_lost_events_total", "Events that were lost, as nothing more could wait.")
	s.refused = s.desc("audit_refused_calls_total", "Calls that were refused since they could not be audited (FJMCP_BROKER_AUDIT_REQUIRED).")
	s.users = s.desc("users", "Users who have logged in.")
	s.clients = s.desc("clients", "Clients that are known.")
	s.logins = s.desc("logins", "Logins of clients that can still be used.")
	s.size = s.desc("store_size_bytes", "Size of the database, its log included.")
	s.free = s.desc("store_free_bytes", "Room left for the broker where the database is.")
	s.rules = s.desc("policy_rules", "Rules of the policy in force; 0 without one.")
	s.loaded = s.desc("policy_loaded_timestamp_seconds", "When it was loaded, seconds since 1970; 0 without one.")
	s.loadFailures = s.desc("policy_load_failures_total", "Loads of the policy that failed, so that the old one stayed.")
	s.loadOK = s.desc("policy_last_load_successful", "1 where the last load of the policy succeeded, or none was tried, else 0.")
	m.registry.MustRegister(s)
}

func (s *state) desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	s.all = append(s.all, d)
	return d
}

// Describe implements prometheus.Collector.
func (s *state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range s.all {
		to <- d
	}
}

// Collect implements prometheus.Collector. What cannot be found out is left out: the
// health of the database tells why.
func (s *state) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	n := s.Sessions.Count()
	gauge(s.sessions, float64(n.Starting), "starting")
	gauge(s.sessions, float64(n.Running), "running")
	gauge(s.mostOfUser, float64(n.MostOfUser))
	gauge(s.max, float64(s.SessionsMax))
	gauge(s.perUser, float64(s.PerUser))
	gauge(s.warm, float64(n.Warm))
	gauge(s.inFlight, float64(n.InFlight))
	since, _ := s.Sessions.Door()
	gauge(s.draining, one(!since.IsZero()))
	for _, r := range s.Health.Known() {
		for _, state := range []health.State{health.OK, health.Warning, health.Failing, health.Pending} {
			gauge(s.health, one(r.State == state), r.Name, string(state))
		}
	}
	b := s.Audit.Backlog()
	gauge(s.waiting, float64(b.Waiting))
	gauge(s.waitingBytes, float64(b.Bytes))
	gauge(s.room, float64(b.Room))
	to <- prometheus.MustNewConstMetric(s.lost, prometheus.CounterValue, float64(b.Lost))
	to <- prometheus.MustNewConstMetric(s.refused, prometheus.CounterValue, float64(b.Refused))
	s.collectPolicy(to, gauge)
	s.collectStore(gauge)
}

func (s *state) collectPolicy(to chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string)) {
	is, at := s.Policy(), 0.0
	if !is.Loaded.IsZero() {
		at = float64(is.Loaded.UnixMilli()) / 1e3
	}
	gauge(s.rules, float64(is.Rules))
	gauge(s.loaded, at)
	gauge(s.loadOK, one(!is.Failed))
	to <- prometheus.MustNewConstMetric(s.loadFailures, prometheus.CounterValue, float64(is.Failures))
}

func (s *state) collectStore(gauge func(*prometheus.Desc, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	if n, err := s.Store.Count(ctx); err == nil {
		gauge(s.sessions, float64(n.Dormant), "dormant")
		gauge(s.users, float64(n.Users))
		gauge(s.clients, float64(n.Clients))
		gauge(s.logins, float64(n.Grants))
		gauge(s.size, float64(n.Bytes))
	}
	var fs unix.Statfs_t
	if unix.Statfs(s.StateDir, &fs) == nil {
		gauge(s.free, float64(fs.Bavail)*float64(fs.Bsize))
	}
}

// one is a flag as a gauge.
func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
