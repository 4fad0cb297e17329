package operator

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const (
	// trialLife is how long a trial can be fetched.
	trialLife = 30 * time.Second
	// trialPause is between the two events of a trial: who gets both at once has a proxy
	// before him that keeps events back.
	trialPause = 5 * time.Second
	mostTrials = 16
)

// trials are paths below the public URL that fjmcpctl doctor uses, to see what a reverse
// proxy makes of a stream, with GET, and of a large request, with POST. Only the admin
// socket tells of one, and each can be used once: for everybody else there is nothing.
type trials struct {
	mu   sync.Mutex
	open map[string]time.Time // until when
}

// Trial implements admin.Operator.
func (o *Operator) Trial(context.Context) (admin.Trial, error) {
	t, now := &o.trials, o.cfg.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.open, func(_ string, until time.Time) bool { return now.After(until) })
	if len(t.open) >= mostTrials {
		return admin.Trial{}, &admin.Error{Text: "too many doctors look at once; try again in half a minute"}
	}
	ticket := rand.Text()
	t.open[ticket] = now.Add(trialLife)
	return admin.Trial{URL: o.cfg.Settings.PublicURL.String() + trialPath + ticket}, nil
}

func (t *trials) take(ticket string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, found := t.open[ticket]
	delete(t.open, ticket)
	return found && !now.After(until)
}

const trialPath = "/doctor/"

// Routes registers the trials, on a mux whose requests ratelimit.Addresses.Audited has seen.
func (o *Operator) Routes(mux *http.ServeMux) {
	path := o.cfg.Settings.PublicURL.Path + trialPath + "{ticket}"
	mux.HandleFunc("GET "+path, o.serveTrial)
	mux.HandleFunc("POST "+path, o.takeTrial)
}

// takeTrial reads a request as large as any that the MCP endpoint takes, and keeps nothing.
func (o *Operator) takeTrial(w http.ResponseWriter, r *http.Request) {
	if !o.trials.take(r.PathValue("ticket"), o.cfg.Now()) {
		http.NotFound(w, r)
		return
	}
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, mcp.MaxBody)); err != nil {
		http.Error(w, "cannot read it", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// serveTrial says in a first event what the broker sees of the request, and some time later
// that this is the end.
func (o *Operator) serveTrial(w http.ResponseWriter, r *http.Request) {
	if !o.trials.take(r.PathValue("ticket"), o.cfg.Now()) {
		http.NotFound(w, r)
		return
	}
	text, err := json.Marshal(admin.Seen{Source: audit.Address(r.Context()), Believed: o.cfg.Believed(r)})
	if err != nil {
		return
	}
	stream := mcp.NewEventStream(w) // with the headers of clients' streams, which proxies look at
	if stream.Message("", text) != nil {
		return
	}
	select {
	case <-r.Context().Done():
		return
	case <-o.released:
	case <-time.After(trialPause):
	}
	_ = stream.Message("", []byte(admin.TrialEnd))
}
