package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// lookUpTimeout bounds how long the forge is asked whom the names of a policy mean. Within
// it a reload has told what is wrong before systemd ends it (TimeoutStartSec=).
const lookUpTimeout = 25 * time.Second

// mostFaults bounds what is told of one policy.
const mostFaults = 100

// policing is what is known of the policy in force, and of its loads.
type policing struct {
	loading sync.Mutex // held while one is loaded

	mu       sync.Mutex
	doc      *policy.Document // in force; nil for none
	failures int
	failed   bool // the last load
}

func (p *policing) inForce() *policy.Document {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doc
}

// StartPolicy puts the policy of the settings in force with which the broker starts. The
// error is a *config.Error where the policy is at fault, or the store's.
func (o *Operator) StartPolicy(ctx context.Context) error {
	doc := o.cfg.Settings.Policy
	err := o.cfg.Rights.Start(ctx, doc)
	var faulty *policy.Error
	if errors.As(err, &faulty) {
		e := &config.Error{}
		for _, f := range faulty.Faults {
			e.Faults = append(e.Faults, o.cfg.Settings.PolicyFile+": "+f)
		}
		return e
	}
	if err == nil && doc != nil {
		o.loaded(ctx, doc, "at the start")
	}
	return err
}

// loaded keeps and tells that a policy is in force.
func (o *Operator) loaded(ctx context.Context, doc *policy.Document, how string) {
	o.policy.mu.Lock()
	o.policy.doc, o.policy.failed = doc, false
	o.policy.mu.Unlock()
	if o.cfg.PolicyLoaded != nil {
		names := make([]string, len(doc.Rules))
		for i, r := range doc.Rules {
			names[i] = r.Name
		}
		o.cfg.PolicyLoaded(names)
	}
	o.cfg.Audit.Event(ctx, audit.Event{Kind: audit.PolicyLoaded, Outcome: "ok", Detail: fmt.Sprintf("%d rule(s), digest %s, %s", len(doc.Rules), doc.Digest(), how)})
}

// CheckPolicy implements admin.Operator.
func (o *Operator) CheckPolicy(ctx context.Context, t admin.PolicyText) (admin.PolicyCheck, error) {
	var c admin.PolicyCheck
	var doc *policy.Document
	var err error
	if t.Text != nil {
		doc, err = policy.Parse([]byte(*t.Text))
	} else {
		c.File = o.cfg.Settings.PolicyFile
		doc, err = o.cfg.Settings.ReadPolicy()
	}
	if err == nil && doc != nil {
		within, cancel := context.WithTimeout(ctx, lookUpTimeout)
		defer cancel()
		err = o.cfg.Rights.Check(within, doc)
	}
	return o.checked(ctx, c, doc, err)
}

// checked completes what there is to say of a policy for which err was found.
func (o *Operator) checked(ctx context.Context, c admin.PolicyCheck, doc *policy.Document, err error) (admin.PolicyCheck, error) {
	var faulty *policy.Error
	if err != nil && !errors.As(err, &faulty) {
		return c, err
	}
	c.Faults, c.Idle = []string{}, []string{}
	if faulty != nil {
		c.Faults = someFaults(faulty.Faults)
		doc = o.policy.inForce()
	} else if idle, err := o.cfg.Rights.Idle(ctx, doc); err != nil {
		return c, err
	} else {
		c.Idle = append(c.Idle, idle...)
	}
	changes := doc.Compare(o.policy.inForce())
	c.Added, c.Removed, c.Changed = notNil(changes.Added), notNil(changes.Removed), notNil(changes.Changed)
	if doc != nil {
		c.Rules, c.Digest = len(doc.Rules), doc.Digest()
	}
	return c, nil
}

// notNil is for JSON.
func notNil(list []string) []string { return append([]string{}, list...) }

func someFaults(all []string) []string {
	if len(all) <= mostFaults {
		return all
	}
	return append(all[:mostFaults:mostFaults], fmt.Sprintf("and %d more", len(all)-mostFaults))
}

// ReloadPolicy implements admin.Operator.
func (o *Operator) ReloadPolicy(ctx context.Context) (admin.PolicyLoad, error) {
	o.policy.loading.Lock()
	defer o.policy.loading.Unlock()
	was := o.policy.inForce()
	doc, err := o.cfg.Settings.ReadPolicy()
	if err == nil && doc == nil && was != nil {
		err = &policy.Error{Faults: []string{"it is gone: put it back; if everybody is to have all rights, systemctl restart fjmcp-broker.service"}}
	}
	before := o.bounds(ctx)
	if err == nil && doc != nil {
		within, cancel := context.WithTimeout(ctx, lookUpTimeout)
		defer cancel()
		err = o.cfg.Rights.Load(within, doc)
	}
	load := admin.PolicyLoad{Sessions: []admin.Session{}}
	load.PolicyCheck, err = o.checked(ctx, admin.PolicyCheck{File: o.cfg.Settings.PolicyFile}, doc, err)
	switch {
	case err != nil || len(load.Faults) > 0:
		o.loadFailed(ctx, load.Faults, err)
	case doc != nil:
		o.loaded(ctx, doc, differences(load.PolicyCheck))
		load.Sessions = o.rebound(ctx, before)
	}
	return load, err
}

// differences is for the audit.
func differences(c admin.PolicyCheck) string {
	var parts []string
	for _, d := range []struct {
		what  string
		names []string
	}{{"added", c.Added}, {"removed", c.Removed}, {"changed", c.Changed}} {
		if len(d.names) > 0 {
			parts = append(parts, d.what+" "+strings.Join(d.names, " "))
		}
	}
	if parts == nil {
		return "no difference"
	}
	return strings.Join(parts, ", ")
}

func (o *Operator) loadFailed(ctx context.Context, faults []string, err error) {
	o.policy.mu.Lock()
	o.policy.failed = true
	o.policy.failures++
	o.policy.mu.Unlock()
	detail := "the old one stays in force"
	if len(faults) > 0 {
		detail = fmt.Sprintf("%d fault(s), %s: %s", len(faults), detail, faults[0])
	}
	for _, f := range faults {
		o.cfg.Log.ErrorContext(ctx, "policy: "+o.cfg.Settings.PolicyFile+": "+f)
	}
	if err != nil {
		o.cfg.Log.ErrorContext(ctx, "cannot load the policy; the old one stays in force", "error", err)
	}
	o.cfg.Audit.Event(ctx, audit.Event{Kind: audit.PolicyLoaded, Outcome: "faulty", Failed: true, Detail: detail})
}

// bounds are what holds for the sessions that run, by their labels.
func (o *Operator) bounds(ctx context.Context) map[string]string {
	keys := map[string]string{}
	for _, v := range o.cfg.Sessions.Awake() {
		if b, err := o.cfg.Rights.Standing(ctx, v.UserID, v.GrantID); err == nil {
			keys[v.Label] = b.Key
		}
	}
	return keys
}

// rebound are the running sessions for which something else holds than before.
func (o *Operator) rebound(ctx context.Context, before map[string]string) []admin.Session {
	now, list := o.bounds(ctx), []admin.Session{}
	for _, v := range o.cfg.Sessions.Awake() {
		if was, ran := before[v.Label]; ran && was != now[v.Label] {
			list = append(list, sessionOf(v))
		}
	}
	return list
}

// PolicyStatus tells how the policy stands.
func (o *Operator) PolicyStatus() admin.PolicyStatus {
	is := o.cfg.Rights.Status()
	s := admin.PolicyStatus{File: o.cfg.Settings.PolicyFile, Rules: is.Rules, Loaded: is.LoadedAt, Unknown: is.Unknown}
	o.policy.mu.Lock()
	defer o.policy.mu.Unlock()
	s.Digest, s.Failures, s.Failed = o.policy.doc.Digest(), o.policy.failures, o.policy.failed
	return s
}

// LookAtPolicy says whether what is in force is what the file says, and whom all of its
// names mean. The error is a *health.Problem, and always a warning.
func (o *Operator) LookAtPolicy(context.Context) error {
	file, was := o.cfg.Settings.PolicyFile, o.policy.inForce()
	doc, err := o.cfg.Settings.ReadPolicy()
	unknown := o.cfg.Rights.Status().Unknown
	var faulty *policy.Error
	switch changes := doc.Compare(was); {
	case errors.As(err, &faulty):
		return &health.Problem{Fault: health.PolicyFaulty, Warning: true, Cause: fmt.Sprintf("%s has %d fault(s), with which the broker would not start: %s", file, len(faulty.Faults), faulty.Faults[0])}
	case err != nil:
		return err
	case doc == nil && was != nil:
		return &health.Problem{Fault: health.PolicyGone, Warning: true, Cause: file + " is gone; what it said is in force until the broker is started anew, and then no policy is"}
	case !changes.None():
		return &health.Problem{Fault: health.PolicyUnloaded, Warning: true, Cause: fmt.Sprintf("%s is not what is in force: %d rule(s) added, %d removed, %d changed", file, len(changes.Added), len(changes.Removed), len(changes.Changed))}
	case len(unknown) > 0:
		return &health.Problem{Fault: health.PolicyNames, Warning: true, Cause: fmt.Sprintf("the forge has not told whom %d name(s) of the policy mean, so that they grant nothing: %s", len(unknown), strings.Join(unknown[:min(len(unknown), 3)], ", "))}
	}
	return nil
}
