package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning says that no broker answers: none is enabled, or it cannot start.
var ErrNotRunning = errors.New("the broker does not run")

// Caller calls the admin socket. Its errors say what the operator can do.
type Caller struct{ http http.Client }

// NewCaller returns a caller of the socket at path.
func NewCaller(path string) *Caller {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if path == DefaultSocket && socketFailed(ctx) {
			return nil, fmt.Errorf("%w: fjmcp-broker.socket has failed\nhint: systemctl status fjmcp-broker.socket says why; when that is mended: "+
				"systemctl restart fjmcp-broker.socket", ErrNotRunning)
		}
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Caller{http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// ask sends in, if any, as JSON, and returns the answer, for which it waits that long.
func ask[T any](ctx context.Context, c *Caller, timeout time.Duration, method, path string, in any) (out T, err error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return out, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://fjmcp"+path, &body)
	if err != nil {
		return out, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out, refusal(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("cannot read the broker's answer: %w", err)
	}
	return out, nil
}

// How long the broker may take.
const (
	soon = 30 * time.Second
	// stopTimeout is enough for thousands of units, each of which may take a start or
	// its own end to stop.
	stopTimeout = 5 * time.Minute
	// rotateTimeout is enough for millions of values. Cut off, the rest can be done
	// again.
	rotateTimeout = 10 * time.Minute
)

// Status takes one look at the broker.
func (c *Caller) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, soon, http.MethodGet, "/status", nil)
}

// Sessions lists all sessions, the longest unused first.
func (c *Caller) Sessions(ctx context.Context) ([]Session, error) {
	return ask[[]Session](ctx, c, soon, http.MethodGet, "/sessions", nil)
}

// ShowSession tells all of the session of that ID.
func (c *Caller) ShowSession(ctx context.Context, id string) (Detail, error) {
	return ask[Detail](ctx, c, soon, http.MethodGet, "/sessions/"+url.PathEscape(id), nil)
}

// StopSessions ends the sessions of those IDs for good.
func (c *Caller) StopSessions(ctx context.Context, ids []string) (Stopped, error) {
	return ask[Stopped](ctx, c, stopTimeout, http.MethodPost, "/sessions/stop", idsRequest{ids})
}

// Drain has the broker let no further call begin, and waits up to wait for those
// in flight. Cut off, the drain continues without the wait.
func (c *Caller) Drain(ctx context.Context, wait time.Duration) (Drain, error) {
	return ask[Drain](ctx, c, wait+soon, http.MethodPost, "/drain", drainRequest{wait})
}

// Undrain has the broker take calls again.
func (c *Caller) Undrain(ctx context.Context) error {
	_, err := ask[struct{}](ctx, c, soon, http.MethodDelete, "/drain", nil)
	return err
}

// AddClient adds a client.
func (c *Caller) AddClient(ctx context.Context, n NewClient) (AddedClient, error) {
	return ask[AddedClient](ctx, c, soon, http.MethodPost, "/clients", n)
}

// ListClients lists all clients, the oldest first.
func (c *Caller) ListClients(ctx context.Context) ([]Client, error) {
	return ask[[]Client](ctx, c, soon, http.MethodGet, "/clients", nil)
}

// RemoveClient removes a client with its grants and sessions.
func (c *Caller) RemoveClient(ctx context.Context, id string) error {
	_, err := ask[struct{}](ctx, c, soon, http.MethodDelete, "/clients?"+url.Values{"id": {id}}.Encode(), nil)
	return err
}

// Users lists all users, by name.
func (c *Caller) Users(ctx context.Context) ([]User, error) {
	return ask[[]User](ctx, c, soon, http.MethodGet, "/users", nil)
}

// ShowUser tells all of a user, given by login name, or IDPrefix and number. The error is an
// *Error if there is none.
func (c *Caller) ShowUser(ctx context.Context, who string) (UserDetail, error) {
	return ask[UserDetail](ctx, c, soon, http.MethodPost, "/users/show", userRequest{who})
}

// RevokeUser ends all that a user has.
func (c *Caller) RevokeUser(ctx context.Context, who string) (UserEnded, error) {
	return ask[UserEnded](ctx, c, stopTimeout, http.MethodPost, "/users/revoke", userRequest{who})
}

// BlockUser ends all that a user has, and keeps the user out.
func (c *Caller) BlockUser(ctx context.Context, who string) (UserEnded, error) {
	return ask[UserEnded](ctx, c, stopTimeout, http.MethodPost, "/users/block", userRequest{who})
}

// UnblockUser lets a user in again.
func (c *Caller) UnblockUser(ctx context.Context, who string) (User, error) {
	return ask[User](ctx, c, soon, http.MethodPost, "/users/unblock", userRequest{who})
}

// Grants lists all logins that stand, by user.
func (c *Caller) Grants(ctx context.Context) ([]Grant, error) {
	return ask[[]Grant](ctx, c, soon, http.MethodGet, "/grants", nil)
}

// RevokeGrants ends the logins of those IDs.
func (c *Caller) RevokeGrants(ctx context.Context, ids []string) (Revoked, error) {
	return ask[Revoked](ctx, c, stopTimeout, http.MethodPost, "/grants/revoke", idsRequest{ids})
}

// Trial has the broker open a path below the public URL, for one request.
func (c *Caller) Trial(ctx context.Context) (Trial, error) {
	return ask[Trial](ctx, c, soon, http.MethodPost, "/trial", nil)
}

// RotateKey has the broker seal everything with its current key.
func (c *Caller) RotateKey(ctx context.Context) (Rotation, error) {
	return ask[Rotation](ctx, c, rotateTimeout, http.MethodPost, "/key/rotate", nil)
}

// Backup has the broker make a backup and writes it to w. It takes as long as w does.
func (c *Caller) Backup(ctx context.Context, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://fjmcp/backup", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	_, err = io.Copy(w, resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the broker stopped before the backup was whole; try again")
	}
	return err
}

// refusal passes on, in one line, what the operator can mend, as an *Error. 503 is plain
// text of a broker that cannot start (httpserver.Refuse).
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4000)) // what came is shown
	shown := oneLine(string(text))
	var f failure
	switch {
	case json.Unmarshal(text, &f) == nil && f.Error != "":
		return &Error{Text: oneLine(f.Error), NotFound: resp.StatusCode == http.StatusNotFound}
	case resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s", ErrNotRunning, shown)
	}
	return fmt.Errorf("the broker answered %s: %s", resp.Status, shown)
}

// oneLine keeps a broker that was taken over from adding a hint of its own.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// socketFailed reports whether the broker could not be started, for a unit that it needs has
// failed. A connection would have systemd try it again and again, until it gives up the
// admin socket, too (systemd.socket(5), TriggerLimitBurst=).
func socketFailed(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	state, err := exec.CommandContext(ctx, "systemctl", "show", "--property=ActiveState", "--value", "fjmcp-broker.socket").Output()
	return err == nil && string(bytes.TrimSpace(state)) == "failed" // without systemd nothing is tried again
}

func explain(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without a URL that means nothing to anybody
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nhint: run as root, or join group fjmcp", err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %w\nhint: is the broker enabled? systemctl enable --now fjmcp-broker.socket", ErrNotRunning, err)
	case errors.Is(err, ErrNotRunning), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("%w: it ended, or could not be started, before it answered: %w\nhint: systemctl status fjmcp-broker.service fjmcp-broker.socket", ErrNotRunning, err)
}
