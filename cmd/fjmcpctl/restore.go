package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore"
)

// restoring is one run of fjmcpctl restore.
type restoring struct {
	app     *app
	cmd     *cobra.Command
	host    *restore.Host
	file    *os.File
	journal string // where it is; empty for this machine's
	history *restore.History

	revokeAll, acceptStale, moved, yes, dryRun bool
}

func (a *app) restore() *cobra.Command {
	r := &restoring{app: a}
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the database",
		Long: `Put a backup in the place of the database, as root. The broker and its sessions are
stopped for it, and started again if they ran. The former database stays beside the new
one.

What has ended since the backup was made, such as a login that was revoked or a user who
was blocked, is read from the journal and ends again. Where the journal does not tell of
all of it, the command refuses, unless --revoke-all ends all logins, or --accept-stale
has what has ended come back.

Clients keep their logins, but for those of users whose token Forgejo has replaced since:
they log in once. Logins and sessions that have begun since are gone.

The machine that the backup is from must not serve any more: each of the two would make
the other's tokens useless.`,
		Example: `  fjmcpctl restore /var/backups/fjmcp-2026-12-01.tar --dry-run
  fjmcpctl restore /var/backups/fjmcp-2026-12-01.tar --journal /mnt/old/var/log/journal/<machine ID>`,
		Args: func(cmd *cobra.Command, args []string) error {
			if r.revokeAll && r.acceptStale {
				return errors.New("--revoke-all and --accept-stale exclude each other")
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			r.cmd = cmd
			err := r.run(ctx, args[0])
			if err != nil && ctx.Err() != nil {
				err = fmt.Errorf("interrupted: %w", err)
			}
			return err
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault // files
	}
	f := cmd.Flags()
	f.StringVar(&r.journal, "journal", "", "directory of the former machine's journal, or file of what its broker wrote to standard error")
	f.BoolVar(&r.revokeAll, "revoke-all", false, "end all logins; users and clients stay")
	f.BoolVar(&r.acceptStale, "accept-stale", false, "restore also where it is not known what has ended since")
	f.BoolVar(&r.moved, "moved", false, "restore also where the public URL or the forge's is another")
	f.BoolVar(&r.dryRun, "dry-run", false, "look at the backup, say what would be done, and change nothing")
	yesFlag(cmd, &r.yes)
	return a.printing(cmd, "")
}

func (r *restoring) run(ctx context.Context, path string) (err error) {
	if r.host, err = restore.Open(ctx, os.Environ()); err != nil {
		return err
	}
	if r.file, err = os.Open(path); err != nil {
		return fmt.Errorf("cannot read the backup: %w", err)
	}
	defer r.file.Close()
	found, err := r.host.Run(ctx, restore.Order{}, r.file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := r.fits(found.Manifest); err != nil {
		return err
	}
	known, err := r.known(ctx, found.Manifest)
	if err != nil {
		return err
	}
	if r.dryRun {
		return r.tell(found, known)
	}
	if !r.yes {
		would := "restore the backup of " + clock(found.Made)
		err := confirm(r.cmd, would, "restored", "Put it in the place of the database?", func(w *bytes.Buffer) { r.describe(w, found.Manifest, known) })
		if err != nil {
			return err
		}
	}
	return r.replace(ctx, found.Manifest)
}

// fits refuses a backup of a broker that is another's as far as clients and users know.
func (r *restoring) fits(m archive.Manifest) error {
	for _, url := range []struct{ what, now, then, setting string }{
		{"public URL", r.host.Config.PublicURL.String(), m.PublicURL, "FJMCP_BROKER_PUBLIC_URL"},
		{"forge's URL", r.host.Config.ForgejoURL.String(), m.ForgeURL, "FJMCP_BROKER_FORGEJO_URL"},
	} {
		if url.now != url.then && !r.moved {
			return fmt.Errorf("the backup is of a broker whose %s was %s, and here it is %s; nothing was restored\n"+
				"hint: set %s, or if it has moved, repeat it with --moved", url.what, url.then, url.now, url.setting)
		}
	}
	return nil
}

// known reads what has ended since. The error says why not all of it can be known, unless
// that does not matter.
func (r *restoring) known(ctx context.Context, m archive.Manifest) (restore.Known, error) {
	known := restore.Known{}
	var err error
	if r.history == nil {
		var all restore.Events
		if all, err = r.events(ctx); err == nil {
			r.history = restore.NewHistory(all, m)
		}
	}
	if err == nil {
		known, err = r.history.Read(ctx)
	}
	if err != nil {
		known.Gap = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if known.Gap == "" || r.revokeAll || r.acceptStale {
		return known, nil
	}
	return known, fmt.Errorf("the journal does not tell what has ended since %s: %s\n"+
		"hint: give the former machine's with --journal, end all logins with --revoke-all, or have what has ended come back with --accept-stale", clock(m.Made), known.Gap)
}

func (r *restoring) events(ctx context.Context) (restore.Events, error) {
	info, err := os.Stat(cmp.Or(r.journal, "/"))
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return journal.Open(ctx, r.journal)
	}
	f, err := os.Open(r.journal)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return journal.ReadLines(f)
}

// replace stops the broker, restores, and starts it again if it ran, whatever happens.
func (r *restoring) replace(ctx context.Context, m archive.Manifest) error {
	var done restore.Answer
	var known restore.Known
	ran, err := r.stop(ctx)
	if err == nil {
		done, known, err = r.inPlace(ctx, m)
	}
	if ran {
		if startErr := r.host.Start(context.WithoutCancel(ctx)); startErr != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", admin.ErrNotRunning, startErr))
		}
	}
	if err != nil {
		return err
	}
	if err := r.tell(done, known); err != nil || !ran {
		return err
	}
	// The question starts the broker, and is answered once the new database is open.
	if _, err := r.app.caller().Status(ctx); err != nil {
		return fmt.Errorf("the backup is in place, but: %w", err)
	}
	return nil
}

func (r *restoring) stop(ctx context.Context) (ran bool, err error) {
	if r.host.Booted && !r.app.json {
		fmt.Fprintln(r.cmd.ErrOrStderr(), "Stopping fjmcp-broker …")
	}
	return r.host.Stop(ctx)
}

// inPlace restores while no broker runs: what has ended until then is known by now.
func (r *restoring) inPlace(ctx context.Context, m archive.Manifest) (done restore.Answer, known restore.Known, err error) {
	if known, err = r.known(ctx, m); err != nil {
		return done, known, err
	}
	done, err = r.host.Run(ctx, restore.Order{
		Do: true, ID: m.ID, Since: known.Steps, RevokeAll: r.revokeAll, Operator: operatorName(), Outcome: r.outcome(known),
	}, r.file)
	return done, known, err
}

func (r *restoring) outcome(k restore.Known) string {
	switch {
	case r.revokeAll:
		return restore.Revoked
	case k.Gap != "":
		return restore.Stale
	}
	return restore.Replayed
}

// restored is what a script is told.
type restored struct {
	restore.Answer
	Outcome string `json:"outcome"`
	Gap     string `json:"gap,omitempty"`
}

func (r *restoring) tell(a restore.Answer, k restore.Known) error {
	return r.app.print(r.cmd, restored{a, r.outcome(k), k.Gap}, nil, func(w *bytes.Buffer) {
		if r.dryRun {
			r.describe(w, a.Manifest, k)
			return
		}
		fmt.Fprintf(w, "The backup of %s is in place.\n", moment(a.Made))
		e := a.Ended
		fmt.Fprintf(w, "Ended again: %s, %s, %s blocked, %s.\n", count(e.Logins, "login"), count(e.Sessions, "session"), count(e.Blocked, "user"), count(e.Clients, "client")+" removed")
		if a.Former != "" {
			fmt.Fprintf(w, "The former database is %s; delete it when it is not needed any more.\n", a.Former)
		}
	})
}

// describe says what a backup is, and what comes of it.
func (r *restoring) describe(w *bytes.Buffer, m archive.Manifest, k restore.Known) {
	t := newTable(w)
	t.row("made", moment(m.Made))
	t.row("by", "fjmcp-broker "+m.Version)
	t.row("of", m.PublicURL+" at the forge "+m.ForgeURL)
	t.row("holds", contents(m, m.Bytes))
	t.Flush()
	switch {
	case r.revokeAll:
		fmt.Fprintln(w, "All logins and sessions will have ended. Who was blocked since is not, unless the journal tells of it.")
	case k.Gap != "":
		fmt.Fprintf(w, "What has ended since comes back, but for what the journal tells of: %s.\n", k.Gap)
	default:
		fmt.Fprintf(w, "What has ended since ends again: the journal tells of all until %s.\n", clock(k.Until))
	}
	fmt.Fprintln(w, "Logins that have begun since are gone. The machine that it is from must not serve any more.")
}

// operatorName is whom the audit names, as for what comes over the admin socket.
func operatorName() string {
	uid := fmt.Sprint(os.Getuid())
	if u, err := user.LookupId(uid); err == nil {
		return fmt.Sprintf("%s (uid %s)", u.Username, uid)
	}
	return "uid " + uid
}
