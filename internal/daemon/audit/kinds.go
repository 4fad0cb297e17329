package audit

import (
	"maps"
	"slices"
)

// Kind names an event; it is the value of FJMCP_EVENT. docs/audit.md tells what each
// means, and packaging/fjmcp-broker.catalog what to do about it.
type Kind string

// Events.
const (
	ClientRegistered  Kind = "client_registered"
	ClientRemoved     Kind = "client_removed"
	LoginSucceeded    Kind = "login"
	AccountLogin      Kind = "account_login"
	LoginDenied       Kind = "login_denied"
	LoginFailed       Kind = "login_failed"
	DeviceDenied      Kind = "device_denied"
	Disconnected      Kind = "client_disconnected"
	TokenIssued       Kind = "token_issued"
	TokenRefreshed    Kind = "token_refreshed"
	TokenReused       Kind = "token_reused"
	TokenRevoked      Kind = "token_revoked"
	TokenLeaked       Kind = "token_leaked" // priority critical
	ForgejoRefresh    Kind = "forgejo_refresh_failed"
	SessionStarted    Kind = "session_started"
	SessionFailed     Kind = "session_failed"
	SessionStopped    Kind = "session_stopped"
	SessionReaped     Kind = "session_reaped"
	ToolCall          Kind = "tool_call"
	ResourceRead      Kind = "resource_read"
	PromptGet         Kind = "prompt_get"
	MembershipChanged Kind = "membership_changed"
	RateLimited       Kind = "rate_limited"
	UserBlocked       Kind = "user_blocked"
	UserUnblocked     Kind = "user_unblocked"
	UserRevoked       Kind = "user_revoked"
	GrantRevoked      Kind = "grant_revoked"
	KeyRotated        Kind = "key_rotated"
	Drained           Kind = "drained"
	Undrained         Kind = "undrained"
	Interrupted       Kind = "audit_interrupted"
	BackupMade        Kind = "backup_made"
	Restored          Kind = "restored"
	PolicyLoaded      Kind = "policy_loaded"
	PolicyRefused     Kind = "policy_refused"
)

// Woken is the Detail of a SessionStarted for a session that was dormant.
const Woken = "after it was dormant"

// Kinds are all kinds, in no order.
func Kinds() []Kind { return slices.Collect(maps.Keys(messageIDs)) }

// messageIDs are the values of MESSAGE_ID, by which the journal finds an event's text in
// its catalog (journalctl -x). They never change; a new kind gets one of `journalctl
// --new-id128` (systemd.journal-fields(7)).
var messageIDs = map[Kind]string{
	ClientRegistered:  "5855d92e17ea40618eaf6f3f52346e86",
	ClientRemoved:     "796806a338aa48978f8010bcdd5ced51",
	LoginSucceeded:    "8beec6ff1cfa4a5fa4081b24955e3b37",
	AccountLogin:      "a017cdb61e5c4d3ea7aff3f87441529e",
	LoginDenied:       "173b64e654f4412fb14dddb61b3ad7dd",
	LoginFailed:       "616b8158d92d451fa7de60644f8ccb03",
	DeviceDenied:      "c4e51d38755f4ccbbd8469d4a8690373",
	Disconnected:      "d067f26a34f7411a85672d5e4f792b2d",
	TokenIssued:       "ad3f9250f71e42e7849582e638089554",
	TokenRefreshed:    "00b2f5b568454591994425b38626164a",
	TokenReused:       "02492de369a344e888eb3ea375994f1b",
	TokenRevoked:      "0db4e2e6c1fc4fbf8d3e9408aaaef6c2",
	TokenLeaked:       "f3a5e25122b94f70b024d62d3a886801",
	ForgejoRefresh:    "6f4a4c7e74554385a5e63505a8062a65",
	SessionStarted:    "ff543110ef684633b937c4187a020446",
	SessionFailed:     "c353c3851e6044c18faeab2923383661",
	SessionStopped:    "b72864dfa35f4661be1e1adab94e8871",
	SessionReaped:     "a976c09e4cfe47ca9a2ff5ff6d02b265",
	ToolCall:          "5edc39e0df414d51a9c553e8fb3dbf91",
	ResourceRead:      "ef3eb60df8a54a2392e10f12cbd09d61",
	PromptGet:         "217129678b1c4229852c6f4e5868e2c1",
	MembershipChanged: "d6fcdbc7d317cc7643d215ca01b277c8",
	RateLimited:       "d8165a312eb4450292be48d384bb3698",
	UserBlocked:       "b2dc32c2bcce4b08aead71b17b5acbb2",
	UserUnblocked:     "405e7f5d04c348ac9fa31a21eb63133a",
	UserRevoked:       "93e218d6a63945349bd0ca7586419229",
	GrantRevoked:      "a8cc2218134944378432bce4455e1439",
	KeyRotated:        "acb8ee2f5a0d458ebae703b3975d5d2d",
	Drained:           "e60a572665dc49b6aeea6b4f5eaa214c",
	Undrained:         "f258844cf8524a22935c01b27af94f10",
	Interrupted:       "8da01e30efac4f05aa8396adf0e0c239",
	BackupMade:        "85381c8c3d3540efab17e0bc79c48d9e",
	Restored:          "608f3889dcd149a9b1222dd552524ac1",
	PolicyLoaded:      "99657cae09d846c7a8849d712fbb14ef",
	PolicyRefused:     "4be342744d0e453385f58a324f1df740",
}
