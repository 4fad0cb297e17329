package launcher

import "strings"

const (
	unitPrefix = "fjmcp-session@"
	unitSuffix = ".service"
)

// CredentialName is what the credential is called that holds a unit's first token, in
// the unit's properties and as a file below $CREDENTIALS_DIRECTORY.
const CredentialName = "forgejo-token"

// UnitName is what systemd calls the unit of that id.
func UnitName(id string) string { return unitPrefix + id + unitSuffix }

// UnitID is the id of the unit of that name; ok is false for what is no session's unit.
func UnitID(name string) (id string, ok bool) {
	id = strings.TrimSuffix(strings.TrimPrefix(name, unitPrefix), unitSuffix)
	return id, UnitName(id) == name && CheckID(id) == nil
}
