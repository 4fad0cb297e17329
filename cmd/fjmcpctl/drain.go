package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func drainCommand(socket *string) *cobra.Command {
	var d draining
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
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case d.resume && cmd.Flags().Changed("timeout"):
				return usageError("--resume waits for nothing: leave --timeout out")
			case d.timeout < 0:
				return usageError("--timeout cannot be negative")
			case d.resume:
				return d.end(cmd, admin.NewCaller(*socket))
			}
			return d.begin(cmd, admin.NewCaller(*socket))
		},
	}
	drain.Flags().DurationVar(&d.timeout, "timeout", 30*time.Second, "how long to wait for calls in flight")
	drain.Flags().BoolVar(&d.resume, "resume", false, "take calls again")
	d.out.flag(drain, "")
	return drain
}

// draining is the command's options.
type draining struct {
	timeout time.Duration
	resume  bool
	out     format
}

// begin drains, and says at once when there is something to wait for.
func (d *draining) begin(cmd *cobra.Command, caller *admin.Caller) error {
	state, err := caller.Drain(cmd.Context(), 0)
	if err == nil && len(state.Calls) > 0 && d.timeout > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "No new calls are taken. Waiting up to %v for %s in flight.\n", d.timeout, count(len(state.Calls), "call"))
		state, err = caller.Drain(cmd.Context(), d.timeout)
	}
	if err != nil {
		return err
	}
	if state.Since.IsZero() {
		return errors.New("the drain was ended meanwhile by another fjmcpctl drain --resume")
	}
	if err := d.out.print(cmd, state, func(w io.Writer) error { return printDrain(w, state) }); err != nil {
		return err
	}
	if len(state.Calls) > 0 {
		return fmt.Errorf("no new call is taken, but %s in flight after %v\nhint: fjmcpctl drain waits on; fjmcpctl sessions stop ends a session with its calls",
			still(len(state.Calls)), d.timeout)
	}
	return nil
}

func printDrain(w io.Writer, state admin.Drain) error {
	if len(state.Calls) > 0 {
		return printCalls(w, state.Calls, time.Now())
	}
	_, err := fmt.Fprint(w, "Drained: no call is in flight, and no new one is taken.\nfjmcpctl drain --resume ends this, and so does a restart of the broker.\n")
	return err
}

func still(n int) string {
	if n == 1 {
		return "1 call is still"
	}
	return fmt.Sprintf("%d calls are still", n)
}

func (d *draining) end(cmd *cobra.Command, caller *admin.Caller) error {
	if err := caller.Undrain(cmd.Context()); err != nil {
		return err
	}
	return d.out.print(cmd, struct{}{}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, "Calls are taken again.")
		return err
	})
}
