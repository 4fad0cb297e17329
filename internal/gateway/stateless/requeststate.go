package stateless

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// claim is who may come back for a call, and with what request.
type claim struct {
	UserID, GrantID, ClientID string
	Request                   [sha256.Size]byte // see digest
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
	_ = d.Decode(&params) // what is no object has no such members
	for _, name := range []string{"_meta", "inputResponses", "requestState"} {
		delete(params, name)
	}
	canonical, _ := json.Marshal([]any{m.Method, params})
	return sha256.Sum256(canonical)
}
