package mrtr

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// Claim is who may come back for a call, and with what request.
type Claim struct {
	UserID, GrantID, ClientID string
	Request                   [sha256.Size]byte // see Digest
}

// state is what a requestState holds.
type state struct {
	ID      string // of the parked call, this time
	Claim   Claim
	Expires time.Time
}

// purpose keeps sealed states apart from whatever else is sealed with the keys.
const purpose = "mcp requestState"

func (l *Lot[C]) seal(s state) string {
	plain, _ := json.Marshal(s)
	return base64.RawURLEncoding.EncodeToString(l.cfg.Keys.Seal(plain, []byte(purpose)))
}

func (l *Lot[C]) open(requestState string) (state, error) {
	var s state
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(requestState)
	if err != nil {
		return s, err
	}
	plain, err := l.cfg.Keys.Open(sealed, []byte(purpose))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(plain, &s)
}

// Digest names what a request asks for: its method and params, without those that
// differ between a call and its retry. The order of members and white space are of
// no matter; numbers are taken as they are written.
func Digest(m mcp.Message) [sha256.Size]byte {
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
