package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func keyCommand(socket *string) *cobra.Command {
	return group("key", "The key that seals secrets in the database", rotateKeyCommand(socket))
}

func rotateKeyCommand(socket *string) *cobra.Command {
	var out format
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Seal everything in the database with the current key",
		Long: `Seal everything in the database with the current key.

Before, keep the old key as store-key-old, make a new store-key, and restart the
broker, which then seals with the new one and still reads with the old one:

  cd /etc/fjmcp/credentials
  mv store-key store-key-old
  (umask 077; head -c 32 /dev/urandom >store-key)
  systemctl restart fjmcp-broker.service
  fjmcpctl key rotate

Afterwards store-key-old can go. The broker serves all the while, and the command
may be repeated.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := admin.NewCaller(*socket).RotateKey(cmd.Context())
			if err != nil {
				return err
			}
			if err := out.print(cmd, done, func(w io.Writer) error { return printRotation(w, done) }); err != nil {
				return err
			}
			return unreadable(done)
		},
	}
	out.flag(rotate, "")
	return rotate
}

func printRotation(w io.Writer, r admin.Rotation) error {
	_, err := fmt.Fprintf(w, "%d of %d sealed values moved to the current key.\n", r.Moved, r.Values)
	if err != nil || r.Unreadable > 0 {
		return err
	}
	_, err = fmt.Fprintln(w, "store-key-old is not needed any more; backups from before need it.")
	return err
}

// unreadable is nil if the broker has the keys to all that is sealed.
func unreadable(r admin.Rotation) error {
	if r.Unreadable == 0 {
		return nil
	}
	return fmt.Errorf("%d values can be read with no key that the broker has\nhint: add the key they were sealed with to store-key-old, restart the broker and rotate again. If it is lost, those users log in again; logins on their way are forgotten within two days", r.Unreadable)
}
