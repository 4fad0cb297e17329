package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/doctor"
)

func (a *app) doctor() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what mends it",
		Long: `Look at everything that users need, and say of what is wrong the cause and the
command that mends it: the broker with all its own checks, settings, units, limits,
permissions, disk, journal, sandbox, the forge with its clock and the redirect URI,
and what the way from the public URL does with streams and large requests.

Run it as root: others see less. It changes nothing. The broker is started by it if its
sockets are enabled; where it does not run all the rest is looked at still.

Exit status: 0 if nothing fails, warnings or not; 1 if something does; 3 if the
broker does not run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.examine(cmd)
		},
	}, "")
}

// examine looks at everything, and tells of it as it comes.
func (a *app) examine(cmd *cobra.Command) error {
	d := a.patient()
	var r doctor.Report
	if a.json {
		r = d.Watched(cmd.Context(), cmd.ErrOrStderr())
		if err := a.print(cmd, r, nil, nil); err != nil {
			return err
		}
	} else {
		r = d.Print(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	switch r.Health {
	case doctor.Well:
		return nil
	case admin.NotRunning:
		return errors.Join(errTold, admin.ErrNotRunning)
	}
	return errTold
}

// patient is the host that this program runs on.
func (a *app) patient() doctor.Doctor {
	return doctor.Doctor{Caller: a.caller(), Version: version.String(), Environ: os.Environ()}
}
