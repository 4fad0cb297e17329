package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func stopSessionsCommand(socket *string) *cobra.Command {
	s := stopping{socket: socket}
	stop := &cobra.Command{
		Use:   "stop {SESSION... | --user NAME | --client NAME | --all}",
		Short: "End sessions for good",
		Long: `End sessions for good: their units and processes are gone, calls in flight fail,
and their clients are told that there is no such session. Most begin another then;
the logins stay. To end those too, remove the client, or suspend the user at
Forgejo, or have the user disconnect it on the account page.

Stopping more than one asks first, or needs --yes where nobody can be asked.
To only put a session to sleep, stop its unit: its next request wakes it.`,
		Example: `  fjmcpctl sessions stop 0123
  fjmcpctl sessions stop --user alice
  fjmcpctl sessions stop --client "Some editor" --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(args); err != nil {
				return err
			}
			return s.run(cmd, args)
		},
	}
	s.filter.flags(stop)
	stop.Flags().BoolVar(&s.all, "all", false, "all sessions of all users")
	stop.Flags().BoolVarP(&s.yes, "yes", "y", false, "do not ask")
	s.out.flag(stop, "")
	return stop
}

// stopping is the command with its options.
type stopping struct {
	socket *string
	filter filter
	all    bool
	yes    bool
	out    format
}

func (s *stopping) check(ids []string) error {
	ways := 0
	for _, used := range []bool{len(ids) > 0, s.filter != filter{}, s.all} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return usageError("say which sessions to stop: by their IDs, or with --user and --client, or --all")
	}
	return nil
}

func (s *stopping) run(cmd *cobra.Command, ids []string) error {
	caller := admin.NewCaller(*s.socket)
	hit, err := s.choose(cmd.Context(), caller, ids)
	if err != nil {
		return err
	}
	if err := s.confirm(cmd, hit); err != nil {
		return err
	}
	names := make([]string, len(hit))
	for i, h := range hit {
		names[i] = h.ID
	}
	done, err := caller.StopSessions(cmd.Context(), names)
	if err != nil {
		return err
	}
	err = s.out.print(cmd, done, func(w io.Writer) error { return printStopped(w, cmd.ErrOrStderr(), done) })
	if err == nil && len(done.Failed) > 0 {
		err = errTold
	}
	return err
}

// choose returns the sessions to stop, each once.
func (s *stopping) choose(ctx context.Context, caller *admin.Caller, ids []string) ([]admin.Session, error) {
	all, err := caller.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	var hit []admin.Session
	seen := map[string]bool{}
	for _, id := range ids {
		one, err := find(all, id)
		if err != nil {
			return nil, err
		}
		if !seen[one.ID] {
			seen[one.ID] = true
			hit = append(hit, one)
		}
	}
	if len(ids) == 0 {
		hit = s.filter.of(all)
	}
	if len(hit) == 0 && !s.all {
		return nil, errors.New("there is no such session\nhint: fjmcpctl sessions list shows all")
	}
	return hit, nil
}

// confirm asks when more than one is hit.
func (s *stopping) confirm(cmd *cobra.Command, hit []admin.Session) error {
	if len(hit) < 2 || s.yes {
		return nil
	}
	if !terminal(os.Stdin) {
		return fmt.Errorf("this would stop %s, and nobody can be asked; nothing was stopped\nhint: repeat it with --yes", count(len(hit), "session"))
	}
	out := cmd.ErrOrStderr()
	if err := printSessions(out, hit, time.Now()); err != nil {
		return err
	}
	fmt.Fprint(out, "\nEnd them for good? [y/N] ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err != nil || a != "y" && a != "yes" {
		return errors.New("nothing was stopped")
	}
	return nil
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func printStopped(w, errs io.Writer, done admin.Stopped) error {
	for _, f := range done.Failed {
		fmt.Fprintf(errs, "fjmcpctl: cannot stop %s: %s\n", audit.Clean(f.ID), audit.Clean(f.Error))
	}
	t := newTable(w)
	for _, s := range done.Stopped {
		t.row("stopped", s.ID, s.User, s.Client, orDash(s.Unit))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if n := len(done.Stopped); n != 1 {
		fmt.Fprintf(w, "%s stopped.\n", count(n, "session"))
	}
	return nil
}
