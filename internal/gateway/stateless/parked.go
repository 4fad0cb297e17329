package stateless

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
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
)

const (
	parkedFor = 10 * time.Minute // a parked call waits
	maxParked = 20               // calls of one session
)

// parking holds parked calls.
type parking struct {
	keys   *seal.Keyring
	expire func(*parked) // gives a call up that nobody has come back for

	mu     sync.Mutex
	parked map[string]place // by id
	count  map[string]int   // by session
}

// place is where one call is parked.
type place struct {
	call    *parked
	session string
	timer   *time.Timer
}

// newParking returns an empty parking.
func newParking(keys *seal.Keyring, expire func(*parked)) *parking {
	return &parking{keys: keys, expire: expire, parked: map[string]place{}, count: map[string]int{}}
}

// Park keeps a call of a session for whoever comes back with the requestState it
// returns and is the claim's. errParkingFull: there is no room.
func (l *parking) Park(session string, call *parked, claim claim) (requestState string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[session] >= maxParked {
		return "", errParkingFull
	}
	id := rand.Text()
	l.parked[id] = place{call, session, time.AfterFunc(parkedFor, func() {
		if l.remove(id) {
			l.expire(call)
		}
	})}
	l.count[session]++
	return l.seal(parkedState{ID: id, Claim: claim, Expires: time.Now().Add(parkedFor)}), nil
}

// Take gives the parked call to whom it belongs. Nobody else gets it thereafter. Errors:
// errState, errGone, and those of check, with which it stays parked.
func (l *parking) Take(requestState string, claim claim, check func(*parked) error) (*parked, error) {
	s, err := l.open(requestState)
	if err != nil || s.Claim != claim {
		return nil, errState
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.parked[s.ID]
	if !ok || !time.Now().Before(s.Expires) {
		return nil, errGone
	}
	if err := check(p.call); err != nil {
		return nil, err
	}
	p.timer.Stop()
	l.removeLocked(s.ID)
	return p.call, nil
}

// remove reports false when another was faster.
func (l *parking) remove(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.removeLocked(id)
}

func (l *parking) removeLocked(id string) bool {
	p, ok := l.parked[id]
	if !ok {
		return false
	}
	delete(l.parked, id)
	if l.count[p.session]--; l.count[p.session] == 0 {
		delete(l.count, p.session)
	}
	return true
}

// claim is who may come back for a call, and with what request.
type claim struct {
	UserID, GrantID, ClientID string
	Request                   [sha256.Size]byte // see digest
	Reads                     bool              // it reads only, by its URL or a header
}

// parkedState is what a requestState holds.
type parkedState struct {
	ID      string // of the parked call, this time
	Claim   claim
	Expires time.Time
}

// statePurpose keeps sealed states apart from whatever else is sealed with the keys.
const statePurpose = "mcp requestState"

func (l *parking) seal(s parkedState) string {
	plain, _ := json.Marshal(s)
	return base64.RawURLEncoding.EncodeToString(l.keys.Seal(plain, []byte(statePurpose)))
}

func (l *parking) open(requestState string) (parkedState, error) {
	var s parkedState
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(requestState)
	if err != nil {
		return s, err
	}
	plain, err := l.keys.Open(sealed, []byte(statePurpose))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(plain, &s)
}

// digest names what a request asks for: its method and params, without those that
// differ between a call and its retry. The order of members and white space are of
// no matter; numbers are taken as they are written.
func digest(m mcp.Message) [sha256.Size]byte {
	params := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(m.Params()))
	d.UseNumber()
	_ = d.Decode(&params) // what is not an object has no such members
	for _, name := range []string{"_meta", "inputResponses", "requestState"} {
		delete(params, name)
	}
	canonical, _ := json.Marshal([]any{m.Method, params})
	return sha256.Sum256(canonical)
}
