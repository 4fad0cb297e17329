package httpsse

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// sessionPrefix begins the ids of sessions of this transport.
const sessionPrefix = "sse-"

// newStreamID makes a stream's id. Like a session's it is no credential: only the
// user and client that opened the stream can use it.
func newStreamID() string { return rand.Text() }

// isStreamID reports whether id has the form of those of newStreamID.
func isStreamID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// sessionID is the id of a stream's session. A URL, which proxies log, does not
// tell it, and it is the same after a restart.
func sessionID(streamID string) string {
	sum := sha256.Sum256([]byte(streamID))
	return sessionPrefix + hex.EncodeToString(sum[:])
}

// eventID names an event of a stream, "" the endpoint event that begins it.
func eventID(streamID, event string) string {
	if event == "" {
		return streamID
	}
	return streamID + "-" + event
}

// cutEventID is the reverse of eventID; the stream's id is "" when it is none of
// ours.
func cutEventID(id string) (streamID, event string) {
	streamID, event, _ = strings.Cut(id, "-")
	if !isStreamID(streamID) {
		return "", ""
	}
	return streamID, event
}
