package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/front"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

// How often a broker that cannot start tries whether it could, and how often it looks
// whether anything has changed, upon which it tries at once.
var (
	holdInterval = 30 * time.Second
	holdLook     = time.Second
)

// hold is for a fault that takes a person, such as a damaged database: starting again and
// again would say the same each time. It is said once, and every request is answered with
// 503, until the broker could start, which the next process does. It returns the exit
// status.
func hold(ctx context.Context, cfg *config.Config, passed systemd.Passed, cause error, log *slog.Logger) int {
	why := strings.Join(strings.Fields(cause.Error()), " ")
	log.Error("cannot start: " + why)
	s := &server{log: log, sockets: passed.Sockets}
	if err := s.listen(cfg); err != nil {
		log.Error(err.Error())
		return 1
	}
	log.Info("every request is answered with 503 until that is mended", "tried_every", holdInterval.String())
	if err := systemd.Notify(systemd.Ready + "\nSTATUS=cannot start: " + why); err != nil {
		log.Warn(err.Error())
	}
	held, release := context.WithCancel(ctx)
	defer release()
	go func() { _ = systemd.Watchdog(held, func() bool { return true }) }()
	go func() {
		defer release()
		awaitStart(held, cfg, passed)
	}()
	refuse(held, httpserver.RefuseUntil, s.sockets, "fjmcp-broker cannot start.", why, log)
	if ctx.Err() != nil {
		return 0
	}
	log.Info("what kept the broker from starting is mended; it starts anew")
	return 1
}

// awaitStart returns when a broker could start, or ctx ends.
func awaitStart(ctx context.Context, cfg *config.Config, passed systemd.Passed) {
	tick := time.NewTicker(holdLook)
	defer tick.Stop()
	tried, at := files(cfg), time.Now() // when it failed
	for last := tried; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := files(cfg)
		settled := now != "" && now == last // or somebody is at it, such as a copy of a backup
		last = now
		if time.Since(at) < holdInterval && (now == tried || !settled) {
			continue
		}
		if s, err := assemble(ctx, cfg, passed, audit.New(io.Discard), slog.New(slog.DiscardHandler)); err == nil {
			s.release()
			return
		}
		tried, at = files(cfg), time.Now() // which may have changed by trying
	}
}

// files tells one state of what a start reads, and whether there is room to write, from
// another. It is "" without a database: one that was moved away is likely to be
// followed by another, which a start would not wait for.
func files(cfg *config.Config) string {
	database := filepath.Join(cfg.StateDir, "fjmcp.db")
	var disk unix.Statfs_t
	_ = unix.Statfs(cfg.StateDir, &disk)
	state := fmt.Sprintln(disk.Bavail == 0)
	for _, path := range []string{database, cfg.StateDir} {
		var is unix.Stat_t
		if err := unix.Stat(path, &is); err != nil && path == database {
			return ""
		}
		state += fmt.Sprintln(is.Ino, is.Mode, is.Uid, is.Gid, is.Size, is.Ctim)
	}
	return state
}

// refuse tells clients and scrapes that the broker cannot start, and fjmcpctl why.
func refuse(ctx context.Context, by func(context.Context, []net.Listener, http.Handler, *slog.Logger), sockets map[string][]net.Listener, message, why string, log *slog.Logger) {
	var all sync.WaitGroup
	where := " The operator finds what is wrong with: journalctl -u fjmcp-broker.service"
	if os.Getenv("INVOCATION_ID") == "" { // systemd.exec(5)
		where = " The operator finds what is wrong on the broker's standard error."
	}
	for name, text := range map[string]string{"http": message + where, "metrics": message + where, "admin": message + " " + why} {
		if len(sockets[name]) > 0 {
			answer := front.Pages(httpserver.Unavailable(text), pages.Frame{})
			all.Go(func() { by(ctx, sockets[name], answer, log) })
		}
	}
	all.Wait()
}
