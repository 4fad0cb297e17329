package stateless

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Errors of parking. They are for clients.
var (
	// errParkingFull: the session has as many parked calls as it may have.
	errParkingFull = errors.New("too many calls of this session wait for their clients")
	// errState: the state was not given out here, or not for this client and request.
	errState = errors.New("requestState is not valid for this request")
	// errGone: the state is good, and the call it stands for is no longer there.
	errGone = errors.New("the call that requestState stands for has been taken up already, has expired, or was lost with its server; call again without requestState")
	// errNotTaken: whoever asked for the call did not want it so; it stays parked.
	errNotTaken = errors.New("the parked call was not taken")
)

// parkingConfig is what a parking is made of.
type parkingConfig struct {
	Keys       *seal.Keyring
	For        time.Duration // a parked call waits; 0 means 10 min
	PerSession int           // calls parked at most; 0 means 20
}

// parkable is what is parked.
type parkable interface {
	// Expire gives the call up: nobody has come back for it.
	Expire()
}

// parking holds parked calls.
type parking[C parkable] struct {
	cfg parkingConfig

	mu     sync.Mutex
	parked map[string]*place[C] // by id
	count  map[string]int       // by session
}

// place is where one call is parked.
type place[C parkable] struct {
	call    C
	session string
	timer   *time.Timer
}

// newParking returns an empty parking.
func newParking[C parkable](cfg parkingConfig) *parking[C] {
	if cfg.For == 0 {
		cfg.For = 10 * time.Minute
	}
	if cfg.PerSession == 0 {
		cfg.PerSession = 20
	}
	return &parking[C]{cfg: cfg, parked: map[string]*place[C]{}, count: map[string]int{}}
}

// Park keeps a call of a session for whoever comes back with the requestState it
// returns and is the claim's. errParkingFull: there is no room.
func (l *parking[C]) Park(session string, call C, claim claim) (requestState string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[session] >= l.cfg.PerSession {
		return "", errParkingFull
	}
	id := rand.Text()
	l.parked[id] = &place[C]{call, session, time.AfterFunc(l.cfg.For, func() { l.expire(id) })}
	l.count[session]++
	return l.seal(parkedState{ID: id, Claim: claim, Expires: time.Now().Add(l.cfg.For)}), nil
}

// Take gives the parked call to whom it belongs, if admit agrees. Nobody else gets
// it thereafter. Errors: errState, errGone, errNotTaken.
func (l *parking[C]) Take(requestState string, claim claim, admit func(C) bool) (call C, err error) {
	s, err := l.open(requestState)
	if err != nil || s.Claim != claim {
		return call, errState
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.parked[s.ID]
	switch {
	case p == nil || !time.Now().Before(s.Expires):
		return call, errGone
	case !admit(p.call):
		return call, errNotTaken
	}
	p.timer.Stop()
	l.remove(s.ID)
	return p.call, nil
}

func (l *parking[C]) expire(id string) {
	l.mu.Lock()
	p := l.remove(id)
	l.mu.Unlock()
	if p != nil {
		p.call.Expire()
	}
}

// remove returns nil when another was faster. Called with mu held.
func (l *parking[C]) remove(id string) *place[C] {
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
