package oauth

// Scopes of the broker. This release grants both together.
const (
	ScopeRead  = "forgejo:read"
	ScopeWrite = "forgejo:write"
)

// Scopes lists the scopes of the broker, for metadata.
func Scopes() []string { return []string{ScopeRead, ScopeWrite} }

// GrantedScope is what a request for any scope is given. Clients ask for
// nothing, for OIDC's scopes, or for all they have read about; the token
// response states what they got (RFC 6749 §3.3).
func GrantedScope(string) string {
	return ScopeRead + " " + ScopeWrite
}
