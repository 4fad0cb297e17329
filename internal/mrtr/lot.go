package mrtr

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Errors of Lot. They are for clients.
var (
	// ErrFull: the session has as many parked calls as it may have.
	ErrFull = errors.New("too many calls of this session wait for their clients")
	// ErrState: the state was not given out here, or not for this client and request.
	ErrState = errors.New("requestState is not valid for this request")
	// ErrGone: the state is good, and the call it stands for is no longer there.
	ErrGone = errors.New("the call that requestState stands for has been taken up already, has expired, or was lost with its server; call again without requestState")
	// ErrRefused: whoever asked for the call did not want it so; it stays parked.
	ErrRefused = errors.New("the parked call was not taken")
)

// Config is what a Lot is made of.
type Config struct {
	Keys       *seal.Keyring
	For        time.Duration // a parked call waits; 0 means 10 min
	PerSession int           // calls parked at most; 0 means 20
}

// Call is what is parked.
type Call interface {
	// Expire gives the call up: nobody has come back for it.
	Expire()
}

// Lot holds parked calls.
type Lot[C Call] struct {
	cfg Config

	mu     sync.Mutex
	parked map[string]*place[C] // by id
	count  map[string]int       // by session
}

// place is where one call is parked.
type place[C Call] struct {
	call    C
	session string
	timer   *time.Timer
}

// New returns an empty Lot.
func New[C Call](cfg Config) *Lot[C] {
	if cfg.For == 0 {
		cfg.For = 10 * time.Minute
	}
	if cfg.PerSession == 0 {
		cfg.PerSession = 20
	}
	return &Lot[C]{cfg: cfg, parked: map[string]*place[C]{}, count: map[string]int{}}
}

// Park keeps a call of a session for whoever comes back with the requestState it
// returns and is the claim's. ErrFull: there is no room.
func (l *Lot[C]) Park(session string, call C, claim Claim) (requestState string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[session] >= l.cfg.PerSession {
		return "", ErrFull
	}
	id := rand.Text()
	l.parked[id] = &place[C]{call, session, time.AfterFunc(l.cfg.For, func() { l.expire(id) })}
	l.count[session]++
	return l.seal(state{ID: id, Claim: claim, Expires: time.Now().Add(l.cfg.For)}), nil
}

// Take gives the parked call to whom it belongs, if admit agrees. Nobody else gets
// it thereafter. Errors: ErrState, ErrGone, ErrRefused.
func (l *Lot[C]) Take(requestState string, claim Claim, admit func(C) bool) (call C, err error) {
	s, err := l.open(requestState)
	if err != nil || s.Claim != claim {
		return call, ErrState
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.parked[s.ID]
	switch {
	case p == nil || !time.Now().Before(s.Expires):
		return call, ErrGone
	case !admit(p.call):
		return call, ErrRefused
	}
	p.timer.Stop()
	l.remove(s.ID)
	return p.call, nil
}

func (l *Lot[C]) expire(id string) {
	l.mu.Lock()
	p := l.remove(id)
	l.mu.Unlock()
	if p != nil {
		p.call.Expire()
	}
}

// remove returns nil when another was faster. Called with mu held.
func (l *Lot[C]) remove(id string) *place[C] {
	p := l.parked[id]
	if p == nil {
		return nil
	}
	delete(l.parked, id)
	if l.count[p.session]--; l.count[p.session] == 0 {
		delete(l.count, p.session)
	}
	return p
}
