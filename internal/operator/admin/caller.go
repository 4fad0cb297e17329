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
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Caller{http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second}}
}

// patient returns a caller that waits that long for an answer.
func (c *Caller) patient(timeout time.Duration) *Caller {
	p := &Caller{c.http}
	p.http.Timeout = timeout
	return p
}

// call sends in, if any, as JSON and reads the answer into out, if any.
func (c *Caller) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://fjmcp"+path, &body)
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
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("cannot read the broker's answer: %w", err)
	}
	return nil
}

// refusal passes on, in one line, what the operator can mend. 503 is plain text of a
// broker that cannot start (httpserver.Refuse).
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4000)) // what came is shown
	shown := oneLine(string(text))
	var f failure
	switch {
	case json.Unmarshal(text, &f) == nil && f.Error != "":
		return errors.New(oneLine(f.Error))
	case resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s", ErrNotRunning, shown)
	}
	return fmt.Errorf("the broker answered %s: %s", resp.Status, shown)
}

// oneLine keeps a broker that was taken over from adding a hint of its own.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

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
	}
	return err
}
