package forgeproxy

import (
	"io"
	"net/http"
	"os"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// What one backend may take of the proxy, and by it of the egress, which all sessions
// share.
const (
	maxRequests    = launchproto.ForgeConnections // in flight, too; the others wait
	maxConnections = 32                           // of the backend's, for each listener; the others are not accepted

	headerTimeout = 10 * time.Second // for the header of a request
	idleTimeout   = 2 * time.Minute  // between two requests of a connection
	pauseTimeout  = 30 * time.Second // between two reads of a body
	bodyTimeout   = 10 * time.Minute // for a whole body
)

// timedBody is a request's body that comes within its time.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	pause   time.Duration
	end     time.Time
}

func (b *timedBody) Read(p []byte) (int, error) {
	now := time.Now()
	if now.After(b.end) {
		return 0, os.ErrDeadlineExceeded
	}
	_ = b.control.SetReadDeadline(now.Add(b.pause))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{}) // the connection's next request has its own
	}
	return n, err
}
