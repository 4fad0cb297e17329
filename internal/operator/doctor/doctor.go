// Package doctor looks at an installed broker: what the broker says of itself, over its
// admin socket, and what its host says, also while it does not run. It changes nothing.
//
//	admin socket ─▶ the broker's own checks, looked at anew
//	host ─────────▶ settings, units, limits, files, disk, journal, sandbox
//	outside ──────▶ the forge's clock and redirect URI, the way from the public URL
//
// Each look becomes a Finding, with the cause and the cure of what is not well.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/operator/setup"
)

// Skipped is the state of what could not be looked at. It is no failure.
const Skipped health.State = "skipped"

// lookTimeout bounds each look but that at the broker.
const lookTimeout = 20 * time.Second

// Finding is what one look has found.
type Finding struct {
	Name     string       `json:"name"`
	State    health.State `json:"state"`            // health.OK, Warning or Failing, or Skipped
	Detail   string       `json:"detail,omitempty"` // what is there, or why it was not looked at
	Problems []Problem    `json:"problems,omitempty"`
}

// Problem is one thing that is not well.
type Problem struct {
	Fault   health.Fault `json:"fault,omitempty"`
	Cause   string       `json:"cause"`
	Cure    string       `json:"cure,omitempty"` // the command or setting that mends it
	Warning bool         `json:"warning,omitempty"`
}

func (f *Finding) fail(cause, cure string) { f.add(Problem{Cause: cause, Cure: cure}) }

func (f *Finding) warn(cause, cure string) { f.add(Problem{Cause: cause, Cure: cure, Warning: true}) }

func (f *Finding) skip(why string) { f.State, f.Detail = Skipped, why }

func (f *Finding) add(p Problem) {
	f.Problems = append(f.Problems, p)
	if !p.Warning {
		f.State = health.Failing
	} else if f.State != health.Failing {
		f.State = health.Warning
	}
}

// check adds the error of a health.Check, if any.
func (f *Finding) check(err error) {
	if err == nil {
		return
	}
	p := &health.Problem{Cause: err.Error()}
	errors.As(err, &p)
	f.add(Problem{Fault: p.Fault, Cause: p.Cause, Cure: p.Fault.Cure(), Warning: p.Warning})
}

// Words of Report.Health, besides admin.NotRunning.
const (
	Well    = "well"
	Failing = "failing"
)

// Report is all that was found.
type Report struct {
	Health   string    `json:"health"` // Well, Failing or admin.NotRunning
	Findings []Finding `json:"findings"`
}

// Doctor says what is looked at. Only Caller is required.
type Doctor struct {
	Caller  *admin.Caller
	Root    string        // of the host's files; "" for its own
	Version string        // of this program, which the broker's should be; "" for any
	Environ []string      // where the settings are, without systemd
	Told    func(Finding) // is told of each finding as it comes; may be nil
	Waits   func(string)  // is told what is waited for; may be nil
	// Command runs a program of the host's and returns its standard output. Nil means to run it.
	Command func(ctx context.Context, argv ...string) (string, error)

	systemd bool
	sealed  setup.Sealed   // credentials that systemd decrypts
	status  *admin.Status  // nil where the broker does not run
	cfg     *config.Config // nil where the settings are wrong, or cannot be read
}

// Examine looks at everything. It ends early with ctx.
func (d *Doctor) Examine(ctx context.Context) Report {
	if d.Command == nil {
		d.Command = run
	}
	d.systemd = d.exists("/run/systemd/system")
	r := Report{Health: Well}
	tell := func(f Finding) {
		f.State = cmp.Or(f.State, health.OK)
		if !d.systemd {
			f.Detail = health.WithoutSystemd(f.Detail)
			for i, p := range f.Problems {
				f.Problems[i].Cure = health.WithoutSystemd(p.Cure)
			}
		}
		r.Findings = append(r.Findings, f)
		if d.Told != nil {
			d.Told(f)
		}
	}
	d.wait("the broker, which starts forgejo-mcp in a sandbox")
	for _, f := range d.broker(ctx) {
		tell(f)
	}
	for _, look := range []struct {
		name string
		at   func(context.Context, *Finding)
	}{
		{"settings", d.settings}, {"units", d.units}, {"limits", d.limits}, {"permissions", d.permissions}, {"forgejo-mcp", d.program},
		{"disk", d.disk}, {"journal", d.journal}, {"sandbox", d.sandbox},
		{"forge", d.forge}, {"oauth-application", d.application}, {"redirect-uri", d.redirect}, {"users", d.users}, {"policy-file", d.policy}, {"clock", d.clock},
		{"proxy", d.proxy},
	} {
		if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == look.name }) {
			continue // the broker has told
		}
		d.wait(look.name)
		f := Finding{Name: look.name}
		within, cancel := context.WithTimeout(ctx, lookTimeout)
		look.at(within, &f)
		cancel()
		tell(f)
	}
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.State == health.Failing }) {
		r.Health = Failing
	}
	if d.status == nil && slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == "broker" && f.Detail == admin.NotRunning }) {
		r.Health = admin.NotRunning
	}
	return r
}

// broker asks the broker for what it knows, as a finding of its own and one for each of its
// checks.
func (d *Doctor) broker(ctx context.Context) []Finding {
	f := Finding{Name: "broker"}
	s, err := d.Caller.Status(ctx)
	if err != nil {
		cause, cure, _ := strings.Cut(err.Error(), "\nhint: ")
		if errors.Is(err, admin.ErrNotRunning) {
			f.Detail = admin.NotRunning
			cure = cmp.Or(cure, "what is said here; then systemctl restart fjmcp-broker.service. journalctl -u fjmcp-broker.service -n 20 says more")
		}
		f.fail(cause, cure)
		return []Finding{f}
	}
	d.status = &s
	f.Detail = s.Version + ", " + s.PublicURL
	if d.Version != "" && d.Version != s.Version {
		f.warn("fjmcpctl is "+d.Version+", and the broker that runs is "+s.Version, "systemctl restart fjmcp-broker.service")
	}
	if !s.DrainingSince.IsZero() {
		f.fail("a drain is under way since "+s.DrainingSince.Local().Format(time.DateTime)+": no call is taken", "fjmcpctl drain --resume")
	}
	all := []Finding{f}
	for _, c := range s.Checks {
		all = append(all, d.ofCheck(c))
	}
	return all
}

// ofCheck takes the cure that this program knows, not what a broker says: the operator may
// copy it.
func (d *Doctor) ofCheck(c health.Result) Finding {
	f := Finding{Name: oneLine(c.Name)}
	switch c.State {
	case health.OK:
		f.Detail = map[string]string{"store": d.status.Store.Path, "forge": strings.TrimSpace(d.status.Forgejo.URL + " " + d.status.Forgejo.Version), "public-url": d.status.PublicURL}[c.Name]
	case health.Pending:
		f.skip("the broker has not finished its look; ask again")
	default:
		f.add(Problem{Fault: c.Fault, Cause: c.Cause, Cure: c.Fault.Cure(), Warning: c.State == health.Warning})
	}
	return f
}

// said is the state of one of the broker's checks, "" where no broker tells.
func (d *Doctor) said(check string) health.State {
	if d.status != nil {
		for _, c := range d.status.Checks {
			if c.Name == check {
				return c.State
			}
		}
	}
	return ""
}

func (d *Doctor) wait(what string) {
	if d.Waits != nil {
		d.Waits(what)
	}
}

func (d *Doctor) path(name string) string { return filepath.Join(cmp.Or(d.Root, "/"), name) }

func (d *Doctor) exists(name string) bool {
	_, err := os.Stat(d.path(name))
	return !errors.Is(err, fs.ErrNotExist)
}

func run(ctx context.Context, argv ...string) (string, error) { return setup.Exec(ctx, "", argv...) }
