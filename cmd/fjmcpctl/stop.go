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
the logins stay. To end those too: users revoke, users block, grants revoke, or
clients remove.

Stopping more than one asks first, or needs --yes where nobody can be asked.
To only put a session to sleep, stop its unit: its next request wakes it.`,
		Example: `  fjmcpctl sessions stop 0123
  fjmcpctl sessions stop --user alice
  fjmcpctl sessions stop --user id:7
  fjmcpctl sessions stop --client "Some editor" --yes`,
		ValidArgsFunction: a.completeSessions(),
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
			hit := f.of(slices.Clone(all))
			if len(ids) > 0 {
				hit, err = sessions.choose(all, ids)
			}
			switch {
			case err != nil:
				return err
			case len(hit) == 0 && !every:
				return errors.New("there is no such session\nhint: fjmcpctl sessions list shows all")
			case len(hit) > 1 && !yes:
				err := confirm(cmd, "stop "+count(len(hit), "session"), "stopped", "End them for good?", func(w *bytes.Buffer) { printSessions(w, hit) })
				if err != nil {
					return err
				}
			}
			return a.stop(cmd, hit)
		},
	}
	f.flags(stop)
	stop.Flags().BoolVar(&every, "all", false, "all sessions of all users")
	yesFlag(stop, &yes)
	return a.printing(stop, "")
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
			t.row("stopped", s.ID, cmp.Or(s.User, admin.IDPrefix+s.UserID), s.Client, cmp.Or(s.Unit, "-"))
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

// confirm shows what is hit and asks. The command would do something, and then it is done;
// both stand in what is told of a no.
func confirm(cmd *cobra.Command, would, done, question string, show func(*bytes.Buffer)) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("this would %s, and nobody can be asked; nothing was %s\nhint: repeat it with --yes", would, done)
	}
	var text bytes.Buffer
	show(&text)
	fmt.Fprintf(&text, "\n%s [y/N] ", question)
	if _, err := text.WriteTo(cmd.ErrOrStderr()); err != nil {
		return err
	}
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err != nil || a != "y" && a != "yes" {
		return fmt.Errorf("nothing was %s", done)
	}
	return nil
}

// yesFlag has a command ask nothing.
func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
}
