// Command fjmcpctl is the operator's view of a running fjmcp-broker.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// Exit statuses besides 0 and cli.ExitUsage.
const (
	exitFailure    = 1
	exitNotRunning = 3 // as systemctl's for a unit that is not active
)

// errTold ends a command that has said itself what is wrong.
var errTold = errors.New("told already")

// app is what all commands share.
type app struct {
	socket     string
	json       bool // print JSON, for scripts
	understood bool // the command line; what fails before is a usage error
}

func main() {
	a := &app{}
	cmd := a.root()
	cmd.SetOut(printable{os.Stdout})
	cmd.SetErr(printable{os.Stderr})
	err := cmd.Execute()
	if err != nil && !errors.Is(err, errTold) {
		fmt.Fprintln(cmd.ErrOrStderr(), "fjmcpctl:", err)
	}
	switch {
	case err == nil:
	case !a.understood:
		os.Exit(cli.ExitUsage)
	case errors.Is(err, admin.ErrNotRunning):
		os.Exit(exitNotRunning)
	default:
		os.Exit(exitFailure)
	}
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "fjmcpctl",
		Short:         "Look after a running fjmcp-broker",
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		// cobra comes here when flags and arguments (Args) are accepted.
		PersistentPreRun: func(*cobra.Command, []string) { a.understood = true },
	}
	// The package installs what "fjmcpctl completion" writes: shells ask this program.
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	cmd.SetVersionTemplate("fjmcpctl {{.Version}}\n")
	cmd.PersistentFlags().StringVar(&a.socket, "socket", admin.DefaultSocket, "admin socket of the broker")
	cmd.AddCommand(a.setup(), a.doctor(), a.status(), a.audit(), a.drain(), a.backup(), a.restore(),
		group("sessions", "Sessions of MCP clients", a.listSessions(), a.showSession(), a.stopSessions()),
		group("users", "Users of the forge who have logged in here", a.listUsers(), a.showUser(), a.revokeUser(), a.blockUser(), a.unblockUser()),
		group("grants", "Logins of users with clients", a.listGrants(), a.revokeGrants()),
		group("policy", "Who may do what: the operator's policy", a.checkPolicy(), a.reloadPolicy(), a.explainPolicy()),
		group("clients", "OAuth clients", a.addClient(), a.listClients(), a.removeClient()),
		group("key", "The key that seals secrets in the database", a.rotateKey()),
		&cobra.Command{Use: "version", Short: "Print version and commit", Args: cobra.NoArgs, Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "fjmcpctl", version.String())
		}})
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

func (a *app) caller() *admin.Caller { return admin.NewCaller(a.socket) }
