// Package model holds the words every other package of fjmcp shares: User,
// Client, Grant, Access, Session, ForgejoTokens, and the sentinel errors.
//
// It holds no behaviour beyond what a word needs to be printed safely, and what
// scopes and tokens of the broker are.
package model

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// Sentinel errors. Adapters wrap them with %w; the HTTP side maps each to an
// answer in exactly one place.
var (
	// ErrNotFound says that no such row exists.
	ErrNotFound = errors.New("not found")
	// ErrExpired says that the code, token or login existed and its time is over.
	ErrExpired = errors.New("expired")
	// ErrReused says that a single-use code or a rotated refresh token was
	// presented again outside its grace window.
	ErrReused = errors.New("already used")
	// ErrRevoked says that the grant behind a token has ended.
	ErrRevoked = errors.New("revoked")
	// ErrPending says that no user has answered the device's request yet.
	ErrPending = errors.New("not answered yet")
	// ErrTooSoon says that a device asked before its time.
	ErrTooSoon = errors.New("asked too soon")
	// ErrDenied says that a user has refused the device's request.
	ErrDenied = errors.New("denied")
	// ErrForgejoDown says that Forgejo did not give a usable answer
	// (unreachable, 5xx, HTML where JSON was due). Trying later may help.
	ErrForgejoDown = errors.New("forgejo is not reachable")
	// ErrForgejoMisconfigured says why where it is ErrForgejoDown as well: Forgejo does not
	// take the broker itself. Only the operator can help.
	ErrForgejoMisconfigured = errors.New("forgejo does not take this server")
	// ErrForgejoGrantDead says that Forgejo definitely refused the user's token
	// set. Only a new login helps.
	ErrForgejoGrantDead = errors.New("forgejo no longer accepts this login")
	// ErrBlocked says that the operator has blocked the user.
	ErrBlocked = errors.New("blocked by the operator")
	// ErrBroaderScope says that a refresh asked for more than the client had asked
	// for before.
	ErrBroaderScope = errors.New("more than was asked for before")
	// ErrOtherResource says that a refresh asks for a resource that the login was not for.
	ErrOtherResource = errors.New("another resource than that of the login")
	// ErrInsufficientScope says that the client asked for fewer rights than what
	// it wants to do needs. Asking for more helps.
	ErrInsufficientScope = errors.New("insufficient scope")
	// ErrPolicy says that the operator's policy does not let the user connect.
	ErrPolicy = errors.New("refused by the policy")
)

// User is one person of the forge. Forge and Subject identify it; Name may
// change there.
type User struct {
	ID      string // ours, opaque, stable
	Forge   string // origin of the forge, as configured
	Subject string // the forge's `sub`
	Name    string // login name, for pages and logs
}

// ClientKind says how a client came to be known.
type ClientKind string

// Client kinds.
const (
	ClientRegistered ClientKind = "registered" // by itself, RFC 7591
	ClientDocument   ClientKind = "document"   // by its client ID metadata document; its id is that document's URL
	ClientOperator   ClientKind = "operator"   // by the operator, fjmcpctl clients add
)

// Client is an OAuth client. Its tags, as those of others here, say how package store
// keeps it.
type Client struct {
	ID           string
	Kind         ClientKind // empty is ClientRegistered
	Name         string     // client_name, as the client states it: never trusted
	SecretHash   []byte     // SHA-256; empty without a secret, or if several fit, see store.SecretHash
	AuthMethod   string     // token_endpoint_auth_method: none, client_secret_basic, client_secret_post, private_key_jwt
	RedirectURIs []string   `gorm:"column:redirect_uris;serializer:json"` // as registered
	GrantTypes   []string   `gorm:"serializer:json"`                      // that it logs in by, see oauth.MayUse; none for authorization_code alone
	CreatedAt    time.Time  `gorm:"autoCreateTime:false;serializer:ms"`

	// Of clients with private_key_jwt (RFC 7523 §3).
	JWKS       string `gorm:"column:jwks"`     // key set, JSON; empty where JWKSURI is set
	JWKSURI    string `gorm:"column:jwks_uri"` // where to read the key set
	SigningAlg string // the only algorithm of its assertions; empty for any
	AllowNone  bool   // it may come without an assertion as well, as its document says

	Introspect bool // it may ask for other clients' tokens (RFC 7662)
}

// Grant is one consent of one user to one client, and the root of a family of
// codes and tokens.
type Grant struct {
	ID        string
	UserID    string
	ClientID  string
	Scope     string    // space-separated, RFC 6749 §3.3
	Requested string    // what the client asked for; Scope is less where the user gave less
	Narrowed  bool      // Scope was more before the client asked for less, with a refresh
	Resource  string    // RFC 8707; the endpoint URL the client named, may be empty
	Ceiling   string    // what the policy allowed at the login, JSON of policy.Rights; empty for all
	CreatedAt time.Time `gorm:"autoCreateTime:false;serializer:ms"`
	RevokedAt time.Time `gorm:"serializer:ms"` // zero while it stands
}

// Access is what a valid bearer token stands for.
type Access struct {
	User      User `gorm:"embedded;embeddedPrefix:user_"`
	ClientID  string
	Client    string // client name, for logs
	GrantID   string
	Scope     string
	Requested string    // by the client, see Grant
	Narrowed  bool      // the grant's tokens could write once, see Grant
	Ceiling   string    // of the grant, see there
	Resource  string    // what the token is for alone, see Grant; empty for all
	ExpiresAt time.Time `gorm:"serializer:ms"`

	// ViewReadOnly says that this request wants to read only, by its URL or a header. Scope
	// is that of reading then, whatever the token could do. It is not stored.
	ViewReadOnly bool `gorm:"-"`

	Limits    policy.Limits `gorm:"-"` // of today, by the operator's policy; not stored
	LimitsKey string        `gorm:"-"` // Limits.Key()
}

// SessionKind says whom a session serves.
type SessionKind string

// Session kinds.
const (
	// SessionClient is begun by a client's initialize and named by its
	// Mcp-Session-Id.
	SessionClient SessionKind = "client"
	// SessionShared serves all requests of a grant that name no session. There is
	// one for each mode.
	SessionShared SessionKind = "shared"
)

// Session is one MCP session. Its ID is the Mcp-Session-Id; UnitID names the
// running unit, changes at every start and is empty when none runs.
// Neither is a credential.
type Session struct {
	ID         string
	UnitID     string
	UserID     string
	UserName   string `gorm:"->"` // of today, see UserID
	Subject    string `gorm:"->"` // of the user, see User
	ClientID   string
	ClientName string `gorm:"->"`
	GrantID    string
	Kind       SessionKind // empty is SessionClient
	Protocol   string      // negotiated MCP protocol version
	Initialize string      // the client's initialize request, replayed when a unit starts anew; empty if shared
	ReadOnly   bool        // nothing of it may write at the forge
	// ViewReadOnly: its client began it so by a URL or a header, see Access, and all requests
	// in it have to say the same.
	ViewReadOnly bool
	LogLevel     string    // the client's last logging/setLevel request, replayed likewise
	Server       string    // what the backend of a shared one says of itself, JSON
	CreatedAt    time.Time `gorm:"autoCreateTime:false;serializer:ms"`
	LastUsedAt   time.Time `gorm:"serializer:ms"`
}

// Named is an organization or a team of the forge. Only the number says which one it is.
type Named struct {
	ID   int64  `json:"id"`
	Name string `json:"name"` // when the forge was asked; of a team organization/team
}

// Membership is what the forge has said of a user.
type Membership struct {
	UserID        string    `gorm:"primaryKey"`
	AskedAt       time.Time `gorm:"serializer:ms"`
	Administrator bool      // of the site
	Organizations []Named   `gorm:"serializer:json"`
	Teams         []Named   `gorm:"serializer:json"`
}

// ForgejoTokens is the token set Forgejo issued for a user. One set exists per
// user, shared by all of that user's clients. It prints redacted.
type ForgejoTokens struct {
	AccessToken  string    `gorm:"-"`
	RefreshToken string    `gorm:"-"`
	ExpiresAt    time.Time `gorm:"serializer:ms"` // of the access token
	Scope        string    // as introspection told; empty until known
}

// Format hides the tokens, whatever the verb.
func (t ForgejoTokens) Format(f fmt.State, _ rune) { fmt.Fprint(f, "ForgejoTokens(redacted)") }

// LogValue hides the tokens.
func (t ForgejoTokens) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }
