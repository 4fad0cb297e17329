package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const (
	brokerAddress = "127.0.0.1:8080" // in the container
	forkerAddress = "127.0.0.1:7070"
	forkerProgram = "/usr/local/bin/bench"
)

// system is the installed package and, beside it, the forker.
type system struct {
	*e2e.System
	version string // of systemd
}

func boot(ctx context.Context, cfg config) (*system, error) {
	installed, err := e2e.Install(ctx, e2e.Options{Suite: cfg.suite, Deb: cfg.deb, Backend: cfg.child})
	if err != nil {
		return nil, err
	}
	s := &system{System: installed}
	if err := s.configure(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *system) configure(ctx context.Context, cfg config) error {
	all := strconv.Itoa(cmp.Or(cfg.sessions, mostLive) + 20)
	if err := s.Configure(map[string]string{"FJMCP_BROKER_SESSIONS_PER_USER": all, "FJMCP_BROKER_SESSIONS_MAX": all}); err != nil {
		return err
	}
	if err := s.Enable(ctx); err != nil {
		return err
	}
	version, err := s.C.Run(ctx, "systemctl", "--version")
	if err != nil {
		return err
	}
	s.version, _, _ = strings.Cut(version, "\n")
	if err := s.C.CopyIn(cfg.self, forkerProgram, 0o755); err != nil {
		return err
	}
	_, err = s.C.Run(ctx, "systemd-run", "--unit=forker", forkerProgram, "-fork", forkerAddress,
		"/usr/bin/forgejo-mcp", "--transport", "stdio", "--url", strings.Replace(e2e.ForgeURL, "forgejo.localhost", "127.0.0.1", 1))
	return err
}

// get is a GET in the container.
func (s *system) get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := s.HTTP().Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", url, resp.Status, body)
	}
	return string(body), err
}

// fork is a plain start of the child. The forker may be a moment behind at first.
func (s *system) fork(ctx context.Context) (time.Duration, error) {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		text, err := s.get(ctx, "http://"+forkerAddress)
		if refused := new(net.OpError); errors.As(err, &refused) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(text, 10, 64)
		return time.Duration(ns), err
	}
}

// launcher is whether the launcher runs when a session starts.
type launcher string

const (
	warmLauncher launcher = "launcher warm" // it has answered a moment before
	coldLauncher launcher = "launcher cold" // it has to be started, as after ten idle minutes
)

func (s *system) put(ctx context.Context, l launcher) error {
	if l == coldLauncher {
		_, err := s.C.Run(ctx, "systemctl", "stop", "fjmcp-launcher.service")
		return err
	}
	_, err := s.get(ctx, "http://"+brokerAddress+"/healthz")
	return err
}

// login logs a new client in and returns a connection of its own.
func (s *system) login(ctx context.Context) (*wire, error) {
	c, err := loginclient.Login(ctx, loginclient.Config{MCPURL: e2e.PublicURL + "/mcp", Transport: s.Transport(), Browser: s.Browser("alice", nil)})
	if err != nil {
		return nil, err
	}
	token, err := c.AccessToken(ctx)
	if err != nil {
		return nil, err
	}
	e, err := newEndpoint("http://"+brokerAddress+"/mcp", token)
	if err != nil {
		return nil, err
	}
	e.dial = s.C.DialContext
	return e.connect(ctx)
}

// sessions is what `fjmcpctl sessions list --json` says.
func (s *system) sessions(ctx context.Context) (all []admin.Session, err error) {
	out, err := s.C.Run(ctx, "fjmcpctl", "sessions", "list", "--json")
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal([]byte(out), &all)
}

// sleep has systemd stop the unit of the session of that id in the journal, and
// returns when the broker has taken note.
func (s *system) sleep(ctx context.Context, id string) error {
	stopped := false
	for end := time.Now().Add(patience); time.Now().Before(end); {
		all, err := s.sessions(ctx)
		if err != nil {
			return err
		}
		unit := ""
		for _, v := range all {
			if v.ID == id {
				unit = v.Unit
			}
		}
		switch {
		case unit == "":
			return nil
		case !stopped:
			if _, err := s.C.Run(ctx, "systemctl", "stop", unit); err != nil {
				return err
			}
			stopped = true
		}
	}
	return fmt.Errorf("session %s does not go dormant", id)
}

var level = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

// exposure is what systemd-analyze says of a running session's unit.
func (s *system) exposure(ctx context.Context, unit string) (float64, error) {
	out, err := s.C.Run(ctx, "systemd-analyze", "security", "--no-pager", unit)
	if err != nil {
		return 0, err
	}
	m := level.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("systemd-analyze says no exposure:\n%s", out)
	}
	return strconv.ParseFloat(m[1], 64)
}

// unitMemory is what each fjmcp-session holds, bytes.
type unitMemory struct {
	private []float64 // shared with no other process: what one more session costs
	pss     []float64 // and its part of what several share, the program's text most of all
}

// memory looks at all fjmcp-sessions in the container.
func (s *system) memory(ctx context.Context) (m unitMemory, err error) {
	out, err := s.C.Shell(ctx, `for p in $(pidof fjmcp-session); do
		awk '/^Private_/ { private += $2 } /^Pss:/ { pss = $2 } END { print private, pss }' "/proc/$p/smaps_rollup"
	done`)
	if err != nil {
		return m, err
	}
	for in := bufio.NewScanner(strings.NewReader(out)); in.Scan(); {
		var private, pss float64
		if _, err := fmt.Sscan(in.Text(), &private, &pss); err != nil {
			return m, fmt.Errorf("cannot read %q of smaps_rollup: %w", in.Text(), err)
		}
		m.private, m.pss = append(m.private, private*1024), append(m.pss, pss*1024)
	}
	return m, nil
}
