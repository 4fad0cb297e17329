package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func (a *app) stopSessions() *cobra.Command {
	var f filter
	var every, yes bool
	stop := &cobra.Command{
		Use:   "stop {SESSION... | --user USER | --client NAME | --all}",
		Short: "End sessions for good",
		Long: `End sessions for good: their units and processes are gone, calls in flight fail,
and their clients are told that there is no such session. Most begin another then;
the logins stay. To end those too, remove the client, or suspend the user at
Forgejo, or have the user disconnect it on the account page.

Stopping more than one asks first, or needs --yes where nobody can be asked.
To only put a session to sleep, stop its unit: its next request wakes it.`,
		Example: `  fjmcpctl sessions stop 0123
  fjmcpctl sessions stop --user alice
  fjmcpctl sessions stop --user id:7
  fjmcpctl sessions stop --client "Some editor" --yes`,
		ValidArgsFunction: a.completeSessions,
		Args: func(_ *cobra.Command, ids []string) error {
			ways := 0
			for _, used := range []bool{len(ids) > 0, f != filter{}, every} {
				if used {
					ways++
				}
			}
			if ways != 1 {
				return errors.New("say which sessions to stop: by their IDs, or with --user and --client, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			all, err := a.caller().Sessions(cmd.Context())
			if err != nil {
				return err
			}
			hit, err := choose(all, ids, f)
			switch {
			case err != nil:
				return err
			case len(hit) == 0 && !every:
				return errors.New("there is no such session\nhint: fjmcpctl sessions list shows all")
			case len(hit) > 1 && !yes:
				if err := confirm(cmd, hit); err != nil {
					return err
				}
			}
			return a.stop(cmd, hit)
		},
	}
	f.flags(stop)
	stop.Flags().BoolVar(&every, "all", false, "all sessions of all users")
	stop.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return a.printing(stop, "")
}

// choose returns the sessions of ids, each once, or without any those of f.
func choose(all []admin.Session, ids []string, f filter) (hit []admin.Session, err error) {
	if len(ids) == 0 {
		return f.of(all), nil
	}
	for _, id := range ids {
		one, err := find(all, id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(hit, one) {
			hit = append(hit, one)
		}
	}
	return hit, nil
}

func (a *app) stop(cmd *cobra.Command, hit []admin.Session) error {
	ids := make([]string, len(hit))
	for i, h := range hit {
		ids[i] = h.ID
	}
	done, err := a.caller().StopSessions(cmd.Context(), ids)
	err = a.print(cmd, done, err, func(w *bytes.Buffer) {
		for _, f := range done.Failed {
			fmt.Fprintf(cmd.ErrOrStderr(), "fjmcpctl: cannot stop %s: %s\n", audit.Clean(f.ID), audit.Clean(f.Error))
		}
		t := newTable(w)
		for _, s := range done.Stopped {
			t.row("stopped", s.ID, cmp.Or(s.User, idPrefix+s.UserID), s.Client, cmp.Or(s.Unit, "-"))
		}
		t.Flush()
		if n := len(done.Stopped); n != 1 {
			fmt.Fprintf(w, "%s stopped.\n", count(n, "session"))
		}
	})
	if err == nil && len(done.Failed) > 0 {
		err = errTold
	}
	return err
}

// confirm shows what is hit and asks.
func confirm(cmd *cobra.Command, hit []admin.Session) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("this would stop %s, and nobody can be asked; nothing was stopped\nhint: repeat it with --yes", count(len(hit), "session"))
	}
	var question bytes.Buffer
	printSessions(&question, hit)
	fmt.Fprint(&question, "\nEnd them for good? [y/N] ")
	if _, err := question.WriteTo(cmd.ErrOrStderr()); err != nil {
		return err
	}
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err != nil || a != "y" && a != "yes" {
		return errors.New("nothing was stopped")
	}
	return nil
}
