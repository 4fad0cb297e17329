package metrics

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Requests counts what next answers, by the pattern that next, a mux, finds for it. Where m
// is nil, it is next itself.
func (m *Metrics) Requests(next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answered{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(a, r)
		m.requests.WithLabelValues(m.handler(r.Pattern), strconv.Itoa(a.status)).Inc()
	})
}

// handler is the path of a pattern as docs/metrics.md lists it.
func (m *Metrics) handler(pattern string) string {
	if pattern == "" {
		return other
	}
	_, path, found := strings.Cut(pattern, " ")
	if !found {
		path = pattern
	}
	return cmp.Or(strings.TrimSuffix(strings.TrimPrefix(path, m.prefix), "{$}"), "/")
}

// answered notes the status.
type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	if status >= 200 { // else more follows
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Forge is forgejo.Config.Around: it counts and times requests to the forge.
func (m *Metrics) Forge(sender http.RoundTripper) http.RoundTripper {
	if m == nil {
		return sender
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		began, endpoint := time.Now(), endpointOf(r.URL.Path)
		resp, err := sender.RoundTrip(r)
		code := "none"
		if err == nil {
			code = strconv.Itoa(min(max(resp.StatusCode/100, 1), 5)) + "xx"
		}
		m.forge.WithLabelValues(endpoint, code).Inc()
		m.forgeTime.WithLabelValues(endpoint).Observe(time.Since(began).Seconds())
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// endpoints are what the broker asks of the forge, by the ends of paths.
var endpoints = map[string]string{
	"/login/oauth/access_token": "token",
	"/login/oauth/introspect":   "introspect",
	"/login/oauth/userinfo":     "userinfo",
	"/api/v1/version":           "version",
}

func endpointOf(path string) string {
	for end, endpoint := range endpoints {
		if strings.HasSuffix(path, end) {
			return endpoint
		}
	}
	return other
}
