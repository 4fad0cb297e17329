// Command fjmcpctl is the operator's view of a running fjmcp-broker.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// Exit statuses besides 0.
const (
	exitFailure    = 1
	exitUsage      = 2
	exitNotRunning = 3 // as systemctl's for a unit that is not active
)

// errTold ends a command that has said itself what is wrong.
var errTold = errors.New("told already")

func main() { os.Exit(run()) }

func run() int {
	understood := false
	cmd := root()
	cmd.SetOut(printable{os.Stdout})
	cmd.SetErr(printable{os.Stderr})
	// cobra comes here after it has understood the command line.
	cmd.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	err := cmd.Execute()
	if err != nil && !errors.Is(err, errTold) {
		fmt.Fprintln(cmd.ErrOrStderr(), "fjmcpctl:", err)
	}
	var misuse usageError
	switch {
	case err == nil:
		return 0
	case !understood, errors.As(err, &misuse):
		return exitUsage
	case errors.Is(err, admin.ErrNotRunning):
		return exitNotRunning
	}
	return exitFailure
}

// usageError is a command line that asks for nothing that could be done.
type usageError string

// Error returns the text.
func (e usageError) Error() string { return string(e) }

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "fjmcpctl",
		Short:         "Look after a running fjmcp-broker",
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetVersionTemplate("fjmcpctl {{.Version}}\n")
	socket := cmd.PersistentFlags().String("socket", admin.DefaultSocket, "admin socket of the broker")
	cmd.AddCommand(statusCommand(socket), sessionsCommand(socket), drainCommand(socket), clientsCommand(socket), keyCommand(socket), versionCommand())
	return cmd
}

// group makes a command that only holds others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short,
		Args: cobra.NoArgs, // without it cobra takes a misspelt subcommand for a wish for help
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version and commit",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "fjmcpctl", version.String())
		},
	}
}
