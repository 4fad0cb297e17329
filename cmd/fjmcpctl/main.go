// Command fjmcpctl is the operator's view of a running fjmcp-broker.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
	"github.com/fjmcp/fjmcp-broker/internal/version"
)

func main() {
	if err := root().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "fjmcpctl:", err)
		os.Exit(1)
	}
}

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
	cmd.AddCommand(versionCommand(), sessionsCommand(socket), clientsCommand(socket), keyCommand(socket))
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
