package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
)

// backupMade is what a script is told of a backup.
type backupMade struct {
	File string `json:"file"`
	Size int64  `json:"size"` // bytes
	archive.Manifest
}

func (a *app) backup() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the database, while the broker serves",
		Long: `Write a backup of the database to a file that only you can read, or for "-" to
standard output, while the broker serves. It is of one moment, and is checked when it is
written. With "-" the exit status says whether it is whole.

It does not hold the store key, /etc/fjmcp/credentials/store-key: without that key it
is of no use, and who has both has all users' access to the forge. Keep a copy of the
key, elsewhere than the backups.`,
		Example: `  fjmcpctl backup /var/backups/fjmcp-$(date +%F).tar
  fjmcpctl backup - | ssh backup.example.org 'umask 077; cat >fjmcp.tar'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return err
			}
			if args[0] == "-" && (a.json || force) {
				return errors.New("--json and --force are for a file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "-" {
				return a.backupOut(cmd)
			}
			return a.backupTo(cmd, args[0], force)
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault // files
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "replace a file that is there")
	return a.printing(cmd, "")
}

func (a *app) backupTo(cmd *cobra.Command, path string, force bool) error {
	var n counter
	b, err := archive.Save(path, force, func(w io.Writer) error {
		return a.caller().Backup(cmd.Context(), io.MultiWriter(w, &n))
	})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already\nhint: name another file, or replace it with --force", path)
	}
	if err != nil {
		return err
	}
	return a.print(cmd, backupMade{path, int64(n), b.Manifest}, nil, func(w *bytes.Buffer) {
		fmt.Fprintf(w, "%s: %s\n", path, contents(b.Manifest, int64(n)))
		fmt.Fprintf(w, "It was read again and is whole. It can be restored with the store key alone, %s:\n"+
			"keep a copy of /etc/fjmcp/credentials/store-key, elsewhere.\n", word(b.Key))
	})
}

// backupOut writes to standard output as it is: what is printed to a terminal would be
// changed.
func (a *app) backupOut(cmd *cobra.Command) error {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return errors.New("a backup is nothing for a terminal; name a file, or send it somewhere")
	}
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		_, err := archive.Read(r, io.Discard)
		_, _ = io.Copy(io.Discard, r) // what follows one that is refused
		read <- err
	}()
	err := a.caller().Backup(cmd.Context(), io.MultiWriter(os.Stdout, w))
	w.CloseWithError(err) // nil is the end
	if broken := <-read; err == nil && broken != nil {
		err = fmt.Errorf("the backup is not usable: %w", broken)
	}
	return err
}

// contents says in a line what a backup holds.
func contents(m archive.Manifest, bytes int64) string {
	return fmt.Sprintf("%s, %s, %s, %s, of %s (%s)", count(m.Users, "user"), count(m.Clients, "client"),
		count(m.Logins, "login"), count(m.Sessions, "session"), clock(m.Made), size(bytes))
}

// counter counts what is written to it, bytes.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
