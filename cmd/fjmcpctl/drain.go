package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) drain() *cobra.Command {
	var timeout time.Duration
	var resume bool
	drain := &cobra.Command{
		Use:   "drain",
		Short: "Take no new calls, and wait for those in flight",
		Long: `Take no new calls, and wait for those in flight: before the forge is taken down,
or the machine.

Clients are told to try again later (503, Retry-After). Sessions and logins stay,
and logging in still works. It lasts until --resume, or until the broker starts anew.
"systemctl restart fjmcp-broker.service" alone needs no drain: it waits for calls
in flight as well, and turns nobody away.

Exit status 1 says that calls were still in flight after the timeout; nothing new
is taken all the same.`,
		Example: `  fjmcpctl drain --timeout 2m && systemctl stop forgejo
  …
  systemctl start forgejo && fjmcpctl drain --resume`,
		Args: cobra.MatchAll(cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			switch {
			case resume && cmd.Flags().Changed("timeout"):
				return errors.New("--resume waits for nothing: leave --timeout out")
			case timeout < 0:
				return errors.New("--timeout cannot be negative")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !resume {
				return a.beginDrain(cmd, timeout)
			}
			err := a.caller().Undrain(cmd.Context())
			return a.print(cmd, struct{}{}, err, func(w *bytes.Buffer) { fmt.Fprintln(w, "Calls are taken again.") })
		},
	}
	drain.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for calls in flight")
	drain.Flags().BoolVar(&resume, "resume", false, "take calls again")
	return a.printing(drain, "")
}

// beginDrain drains, and says at once when there is something to wait for.
func (a *app) beginDrain(cmd *cobra.Command, timeout time.Duration) error {
	state, err := a.caller().Drain(cmd.Context(), 0)
	if err == nil && len(state.Calls) > 0 && timeout > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "No new calls are taken. Waiting up to %v for %s in flight.\n", timeout, count(len(state.Calls), "call"))
		state, err = a.caller().Drain(cmd.Context(), timeout)
	}
	if err == nil && state.Since.IsZero() {
		return errors.New("the drain was ended meanwhile by another fjmcpctl drain --resume")
	}
	err = a.print(cmd, state, err, func(w *bytes.Buffer) {
		if len(state.Calls) > 0 {
			printCalls(w, state.Calls)
			return
		}
		fmt.Fprint(w, "Drained: no call is in flight, and no new one is taken.\nfjmcpctl drain --resume ends this, and so does a restart of the broker.\n")
	})
	if n := len(state.Calls); err == nil && n > 0 {
		are := "are"
		if n == 1 {
			are = "is"
		}
		return fmt.Errorf("no new call is taken, but %s %s still in flight after %v\nhint: fjmcpctl drain waits on; fjmcpctl "+
			"sessions stop ends a session with its calls",
			count(n, "call"), are, timeout)
	}
	return err
}
