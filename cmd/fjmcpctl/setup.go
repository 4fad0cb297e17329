package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/launcher/backend"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/setup"
)

func (a *app) setup() *cobra.Command {
	var o setup.Options
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Configure the installed package and start the broker",
		Long: `Configure the installed package and start the broker. Run again it changes what differs.

It asks for the URL under which clients will reach the broker and for the forge's URL,
and for a token of an account at the forge, which it uses once and stores nowhere, to
register the OAuth2 application. The forge's API makes that the account's own; for one
of the whole site, or without a token, --manual says what to enter there.
It writes /etc/fjmcp/broker.env, where it leaves all other lines as they are, and
/etc/fjmcp/credentials/forgejo-client-secret, enables fjmcp-broker.socket, and ends
with what fjmcpctl doctor says, which does not count for its exit status.

Each answer can be given as an option. Where nobody can be asked, --yes is needed.`,
		Example: `  fjmcpctl setup
  fjmcpctl setup --public-url https://mcp.example.org --forgejo-url https://git.example.org --token-file - --yes <token
  fjmcpctl setup --manual`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.TokenFile != "" && (o.Manual || o.ClientID != ""):
				return errors.New("--token-file is for an application to register; --manual and --client-id are for one that is there")
			case (o.ClientID == "") != (o.ClientSecretFile == ""):
				return errors.New("--client-id and --client-secret-file go together; give both or none")
			case strings.TrimSpace(o.Name) == "":
				return errors.New("--name: users have to know the application at the forge by some name")
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			cfg := setup.Config{Options: o, In: os.Stdin, Out: cmd.OutOrStdout(), Backend: backend.Find}
			if o.Root == "" {
				if err := fitForSetup(); err != nil {
					return err
				}
				cfg.Systemctl, cfg.Exec = systemctl, setup.Exec
			}
			if err := setup.Run(ctx, cfg); err != nil || o.DryRun || o.Root != "" {
				return err
			}
			return a.look(ctx, cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.PublicURL, "public-url", "", "URL under which clients reach the broker")
	f.StringVar(&o.ForgejoURL, "forgejo-url", "", "public URL of the forge")
	f.StringVar(&o.Name, "name", "MCP broker", "name of the application, as users see it at the forge")
	f.StringVar(&o.TokenFile, "token-file", "", "file with a token to register the application with (- for standard input)")
	f.StringVar(&o.ClientID, "client-id", "", "client ID of an application that is there already")
	f.StringVar(&o.ClientSecretFile, "client-secret-file", "", "file with its client secret (- for standard input)")
	f.BoolVar(&o.Manual, "manual", false, "say what to enter at the forge by hand, and ask for client ID and secret")
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask whether to go on")
	f.BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and change nothing")
	f.StringVar(&o.Root, "root", "", "directory that stands for /; systemd is left alone")
	_ = f.MarkHidden("root")
	return cmd
}

// fitForSetup says why there is nothing here to set up, if so.
func fitForSetup() error {
	if os.Geteuid() != 0 {
		return errors.New("only root may read and write the broker's files\nhint: sudo fjmcpctl setup")
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil { // sd_booted(3)
		return errors.New("systemd does not run here, and setup is for its units\nhint: without it the broker is configured by its environment, see fjmcp-broker.env(5)")
	}
	return nil
}

func systemctl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// look ends a setup with the doctor. What is not well yet, as the way from outside, is
// shown; only a broker that does not run is a failure.
func (a *app) look(ctx context.Context, cmd *cobra.Command) error {
	fmt.Fprintln(cmd.OutOrStdout(), "\nfjmcpctl doctor:")
	r := a.patient().Print(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
	if r.Health == admin.NotRunning {
		return errors.Join(errTold, admin.ErrNotRunning)
	}
	return nil
}
