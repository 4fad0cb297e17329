// Package restore puts a backup in the place of the database, on a broker that does not
// run, and has end again what has ended since.
//
// The database and the journal must not be handled by the same hands: the one belongs to
// the broker's user, who may have been taken over, the other only root can read. So
// fjmcpctl, as root, reads settings, keys and the journal and stops the broker, and has a
// process of the broker's user do all that is done in the state directory, and with what
// is in the backup: fjmcp-broker --restore, which is package apply. The two speak JSON: an
// Order on its standard input, an Answer on its standard output; the backup is its file
// descriptor 3.
package restore

import (
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
)

// Order is what is to be done with a backup.
type Order struct {
	StateDir string   `json:"state_dir"` // where the database is, or is to be
	Keys     [][]byte `json:"keys"`      // the current store key first
	// Do has it restored; else it is only looked at.
	Do bool `json:"do"`
	// ID is of the backup that was looked at before: the file may be another by now.
	ID string `json:"id,omitempty"`
	// Since is what has ended after the backup, in the order in which it did.
	Since     []Step `json:"since,omitempty"`
	RevokeAll bool   `json:"revoke_all,omitempty"` // ends all logins
	Operator  string `json:"operator,omitempty"`
	Outcome   string `json:"outcome,omitempty"` // for the audit
}

// Outcomes of a restore, for the audit.
const (
	Replayed = "replayed"    // what has ended since has ended again
	Stale    = "stale"       // not all of that is known
	Revoked  = "revoked_all" // all logins have ended
)

// Step is something that has ended, as the audit told of it.
type Step struct {
	Kind       audit.Kind `json:"kind"`
	User       string     `json:"user,omitempty"`   // FJMCP_USER_ID
	Client     string     `json:"client,omitempty"` // FJMCP_CLIENT_ID
	Grant      string     `json:"grant,omitempty"`
	Session    string     `json:"session,omitempty"`
	Generation int        `json:"generation,omitempty"` // of the refresh token that was given out last
	ReadOnly   bool       `json:"read_only,omitempty"`
	AccessOnly bool       `json:"access_only,omitempty"` // an access token alone
	Operator   string     `json:"operator,omitempty"`
}

// Answer is what was found and done.
type Answer struct {
	archive.Manifest
	// Former is where the database is now that was there before; empty if there was none.
	Former string `json:"former,omitempty"`
	Ended  Ended  `json:"ended"`
}

// Ended counts what has ended again.
type Ended struct {
	Logins   int `json:"logins"`
	Clients  int `json:"clients"`
	Blocked  int `json:"blocked"` // users
	Sessions int `json:"sessions"`
}

// stamp is how times stand in names of files.
const stamp = "20060102T150405Z"

// FormerName is what a database is called that a restore has put aside.
func FormerName(at time.Time) string {
	return "fjmcp.db.before-restore-" + at.UTC().Format(stamp)
}
