package unit

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Config is what all units of a broker have in common. All fields but Keeper and
// Allowances are required.
type Config struct {
	Launcher launchclient.Launcher
	Tokens   *tokens.Tokens
	Log      *slog.Logger
	Now      func() time.Time
	Keeper   Keeper // nil where no process comes after this one
	// Allowances bound what units may write to their log at once; nil gives nothing.
	Allowances *Allowances

	// Leaked is told that the forge's answer to a unit's backend held the user's token,
	// and was cut off.
	Leaked func(of Spec, unit string)

	IdleTimeout  time.Duration // a unit unused this long is reaped
	StartTimeout time.Duration // for the backend's first answer, and for each exchange with the launcher
	ProbeTimeout time.Duration // for its answer to server/discover
}

// Spec is one unit. All fields but Subject, ReadOnly, Limits, Probe and Other are required.
type Spec struct {
	Session  string // label for the journal
	UserID   string
	Subject  string // the forge's id of the user, for the journal
	User     string // login name, for the journal
	ReadOnly bool   // the mode it starts with
	Limits   policy.Limits
	Probe    bool // it is nobody's, see type Probe
	MaxAge   time.Duration

	// Other is relay.Config.Other.
	Other func(raw []byte) bool
	// Ended is called once, when the unit has ended, its last words are known and
	// nothing of it is left at the launcher.
	Ended func(*Unit)
}

// Unit is one running fjmcp-session@<id>.service, or its like under the process
// launcher.
type Unit struct {
	id      string
	cfg     Config
	spec    Spec
	near    nearEnds // the stream is the relay's
	far     farEnds
	relay   *relay.Relay
	born    time.Time
	ready   chan struct{} // closed when requests may be made
	keeping chan struct{} // closed when keep has returned
	gone    chan struct{} // closed when the unit has ended and is accounted for
	heard   chan struct{} // closed when the control socket has said its last

	tokenGiven  atomic.Bool // the credential was handed over
	initialized atomic.Bool // notifications/initialized was sent
	grantDead   atomic.Bool // the forge refused the login for good
	stopping    atomic.Bool // we end it, so its end is no failure
	leaving     atomic.Bool // the launcher or fjmcp-session says that it is going, so neither is its silence
	kept        atomic.Bool // the next process gets its descriptors
	unsure      bool        // adopted without knowing what the backend works on; constant

	listening context.Context // what listen waits for the next message with
	silence   context.CancelFunc
	reports   sync.Mutex     // held while what was reported is taken
	renewals  sync.WaitGroup // of tokens, under way

	touch     sync.Mutex // one touch at a time
	lastTouch time.Time  // under touch

	refusals refusals

	mu        sync.Mutex
	lastUsed  time.Time
	look      *time.Timer // for the next stayAwake
	token     model.ForgejoTokens
	changes   uint64          // Tokens.Changes when token was looked at
	last      control.Message // TypeFailed or TypeExited
	unrenewed control.Reason  // see noteUnrenewed; "" for none
	mode      *modeChange     // the latest, nil before the first
}

// New makes a unit's sockets and begins to attend to our ends of them. FetchToken and
// Launch must follow, or Discard.
func New(cfg Config, spec Spec) (*Unit, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	u, err := attend(cfg, spec, strings.ToLower(rand.Text())[:16], near, relay.Config{})
	if err == nil {
		u.far = far
		// It waits in the socket for fjmcp-session, which is read-only without it.
		err = u.setMode(context.Background(), spec.rights(), far.Stdin, cfg.Allowances.take(spec.UserID, u.born))
		far.Stdin.Close()
	}
	if err != nil {
		near.Close() // and the relay with it
		far.Close()
		return nil, err
	}
	close(u.ready)
	u.Attend()
	return u, nil
}

// attend makes a unit of our ends of its sockets, which it closes if it fails.
func attend(cfg Config, spec Spec, id string, near nearEnds, rc relay.Config) (*Unit, error) {
	u := &Unit{
		id: id, cfg: cfg, spec: spec, near: near,
		gone: make(chan struct{}), heard: make(chan struct{}), ready: make(chan struct{}), keeping: make(chan struct{}),
		born: cfg.Now(),
	}
	u.lastTouch, u.lastUsed = u.born, u.born
	u.listening, u.silence = context.WithCancel(context.Background())
	rc.Socket, rc.Output = near.MCP, near.Stdin
	rc.Other, rc.Now, rc.Log = spec.Other, cfg.Now, cfg.Log.With("unit", u.Name())
	made := make(chan struct{})
	rc.Answering = func() {
		<-made
		u.takeReports()
	}
	var err error
	if u.relay, err = relay.New(rc); err != nil {
		near.Close()
		return nil, err
	}
	close(made)
	return u, nil
}

// Attend begins to attend to an adopted unit, until it is gone. Spec.Ended may be called
// from now on.
func (u *Unit) Attend() {
	go u.listen()
	u.lookAgain()
	u.relay.AfterDone(u.recordEnd)
}

// Launch has the unit started, hands over its sockets and begins to have ours kept. Errors are of type
// *StartError; the unit is gone then, or about to be.
func (u *Unit) Launch(ctx context.Context) error {
	defer u.far.Close()
	err := u.cfg.Launcher.Start(ctx, launchclient.Spec{
		UnitID: u.id, SessionID: u.spec.Session, AccountID: u.spec.UserID,
		Idle: u.cfg.IdleTimeout, MaxAge: u.spec.MaxAge,
		Token: u.token.AccessToken, MCP: u.far.MCP, Control: u.far.Control,
	})
	if err != nil {
		u.relay.Close()
		return launchFailure(err)
	}
	go u.keep()
	return nil
}

// Discard undoes New.
func (u *Unit) Discard() {
	u.stopping.Store(true) // the launcher does not know of it
	u.far.Close()
	u.relay.Close()
}

// ID is the unit's own id, fresh for every unit.
func (u *Unit) ID() string { return u.id }

// Name is what systemd calls the unit.
func (u *Unit) Name() string { return launchproto.UnitName(u.id) }

// Closed reports whether the backend can no longer be spoken to.
func (u *Unit) Closed() bool {
	select {
	case <-u.relay.Done():
		return true
	default:
		return false
	}
}

// Born is when the unit was made.
func (u *Unit) Born() time.Time { return u.born }

// InFlight counts the calls the backend has yet to answer.
func (u *Unit) InFlight() int { return u.relay.InFlight() }

// Deserted is relay.Relay.Deserted.
func (u *Unit) Deserted() bool { return u.relay.Deserted() }

// Used is when a request last came for the unit.
func (u *Unit) Used() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lastUsed
}

// GrantDead reports whether the forge has refused the user's login for good.
func (u *Unit) GrantDead() bool { return u.grantDead.Load() }

// await waits until c is closed. Errors: relay.ErrClosed when the unit ends before, or
// ctx's.
func (u *Unit) await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-u.relay.Done():
		return relay.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await waits until c is closed. The error is ctx's.
func await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Notify sends a client's notification; notifications/initialized once.
func (u *Unit) Notify(ctx context.Context, n mcp.Message) error {
	if n.Method == mcp.MethodInitialized && u.initialized.Swap(true) {
		return nil
	}
	return u.relay.Notify(ctx, n)
}

// Respond passes a client's answer to what the backend asked.
func (u *Unit) Respond(response mcp.Message) error {
	return u.relay.Respond(response)
}

// listen takes what fjmcp-session reports, until it has ended or Suspend was
// called.
func (u *Unit) listen() {
	defer close(u.heard)
	for u.near.Control.Await(u.listening) == nil && u.takeReports() {
	}
}

// takeReports takes what fjmcp-session has reported up to now, in its order, and says
// whether it may report more.
func (u *Unit) takeReports() bool {
	u.reports.Lock()
	defer u.reports.Unlock()
	for {
		msg, f, ok, err := u.near.Control.Waiting()
		if f != nil {
			f.Close()
		}
		if !ok {
			return err == nil
		}
		u.take(msg)
	}
}

func (u *Unit) take(msg control.Message) {
	switch msg.Type {
	case control.TypeUnauthorized:
		u.renewals.Go(u.renew)
	case control.TypeForbidden:
		u.renewals.Go(func() { u.checkSuspended(msg.ID) })
	case control.TypeAck:
		u.modeConfirmed(msg)
	case control.TypeRefused:
		u.refused(msg)
	case control.TypeTouched:
		u.relay.Touch(msg.Repo)
	case control.TypeEnding:
		u.hangUp()
	case control.TypeFailed, control.TypeExited:
		u.mu.Lock()
		u.last = msg
		u.mu.Unlock()
	}
}
