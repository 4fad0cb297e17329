package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
)

const (
	forkerAddress = "127.0.0.1:7070" // in the container
	forkerProgram = "/usr/local/bin/bench"
)

// system is the installed package, and a login at it.
type system struct {
	*e2e.System
	endpoint
	cfg     config
	version string // of systemd
}

// inContainer has the package measured, with some more than so many sessions at once.
func inContainer(ctx context.Context, cfg config, suite string, sessions int, measure func(context.Context, *system)) (err error) {
	fmt.Fprintf(cfg.progress, "booting a container (%s)\n", suite)
	installed, err := e2e.Install(ctx, e2e.Options{Suite: suite, Deb: cfg.deb, Backend: cfg.child})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, installed.Close()) }()
	defer caught(&err)
	all := strconv.Itoa(sessions + 20)
	need(installed.Configure(map[string]string{"FJMCP_BROKER_SESSIONS_PER_USER": all, "FJMCP_BROKER_SESSIONS_MAX": all, "FJMCP_BROKER_CALLS_PER_MINUTE": "0"}))
	need(installed.Enable(ctx))
	s := &system{System: installed, cfg: cfg}
	s.version, _, _ = strings.Cut(must(s.C.Run(ctx, "systemctl", "--version")), "\n")
	s.endpoint = must(s.logIn(ctx))
	measure(ctx, s)
	return nil
}

// logIn logs a new client in.
func (s *system) logIn(ctx context.Context) (endpoint, error) {
	return logIn(ctx, e2e.PublicURL+"/mcp", "alice", s.Transport())
}

// get is a GET in the container.
func (s *system) get(url string) (string, error) {
	resp, err := s.HTTP().Get(url)
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

// startForker puts this program into the container, where it starts plain children.
func (s *system) startForker(ctx context.Context) error {
	if err := s.C.CopyIn(s.cfg.self, forkerProgram, 0o755); err != nil {
		return err
	}
	_, err := s.C.Run(ctx, "systemd-run", "--unit=forker", forkerProgram, "-fork", forkerAddress,
		"/usr/bin/forgejo-mcp", "--transport", "stdio", "--url", strings.Replace(e2e.ForgeURL, "forgejo.localhost", "127.0.0.1", 1))
	return err
}

// serveForks is the forker: upon each HTTP request it starts a program, sends it an MCP
// initialize request and tells how long the answer took, in nanoseconds.
func serveForks(address string, program []string) error {
	child := stdioTarget(program...)
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		took, err := child.once(context.Background())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, took.Nanoseconds())
	}))
}

// fork is a plain start of the child. The forker may be a moment behind at first.
func (s *system) fork(context.Context) (time.Duration, error) {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		text, err := s.get("http://" + forkerAddress)
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

// healthz has the launcher answer.
func (s *system) healthz(context.Context) error {
	_, err := s.get(e2e.PublicURL + "/healthz")
	return err
}

// stopLauncher has the next session start it again.
func (s *system) stopLauncher(ctx context.Context) error {
	_, err := s.C.Run(ctx, "systemctl", "stop", "fjmcp-launcher.service")
	return err
}

// sleep has systemd stop the unit of the session of that id in the journal, and
// returns when the broker has taken note.
func (s *system) sleep(ctx context.Context, id string) error {
	_, err := s.C.Shell(ctx, `unit() { fjmcpctl sessions list --json | jq -r '.[] | select(.id == "`+id+`") | .unit // ""'; }
		running=$(unit)
		[ -z "$running" ] || systemctl stop "$running"
		for i in $(seq 600); do
			[ "$(unit)" ] || exit 0
			sleep 0.1
		done
		echo "the session does not go dormant" >&2
		exit 1`)
	return err
}

const (
	callsMade = 600
	callEvery = 20 * time.Millisecond // a low load
)

// calls makes one small call after the other on one connection, each in a session by
// chance.
func (w *wire) calls(ctx context.Context, sessions []*httpSession) (*series, error) {
	for _, session := range sessions { // the first one in each touches memory that later ones have
		session.wire = w
		if _, _, err := checked(session, smallCall); err != nil {
			return nil, err
		}
	}
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	result := slice{rate: float64(time.Second / callEvery)}
	for range callsMade {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		_, took, err := checked(sessions[rand.IntN(len(sessions))], smallCall)
		if err != nil {
			return nil, err
		}
		result.took = append(result.took, float64(took))
	}
	return &series{rounds: []slice{result}}, nil
}
