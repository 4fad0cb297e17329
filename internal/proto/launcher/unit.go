package launcher

// How a session's unit is called in systemd: UnitPrefix, the unit's id, UnitSuffix.
const (
	UnitPrefix = "fjmcp-session@"
	UnitSuffix = ".service"
)

// CredentialName is what the credential is called that holds a unit's first token, in
// the unit's properties and as a file below $CREDENTIALS_DIRECTORY.
const CredentialName = "forgejo-token"

// UnitName is what systemd calls the unit of that id.
func UnitName(id string) string { return UnitPrefix + id + UnitSuffix }
