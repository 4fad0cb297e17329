package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// States for Notify, see sd_notify(3).
const (
	Ready    = daemon.SdNotifyReady
	Stopping = daemon.SdNotifyStopping
)

// Notify tells the service manager of a change of state: assignments as in
// sd_notify(3), one a line. Without $NOTIFY_SOCKET it does nothing.
func Notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("cannot notify the service manager: %w", err)
	}
	return nil
}

// Watchdog pings the service manager twice per WatchdogSec= while healthy
// answers true, until ctx ends. A healthy that answers false or does not return
// lets the service manager abort the service. It returns at once with nil where
// no watchdog is set, and with an error where its setting cannot be read.
func Watchdog(ctx context.Context, healthy func() bool) error {
	timeout, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("cannot read the watchdog's setting: %w", err)
	}
	if timeout == 0 {
		return nil
	}
	tick := time.NewTicker(timeout / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !healthy() {
			continue
		}
		if err := Notify(daemon.SdNotifyWatchdog); err != nil {
			return err
		}
	}
}

// storedPrefix marks descriptors of the file descriptor store among those that
// are passed at start. It is short, since the names of all are one string of the next
// process's environment, which execve(2) refuses beyond 128 KiB: the service could not
// be started any more.
const storedPrefix = "@"

// ErrNoStore says that no service manager is there to keep descriptors.
var ErrNoStore = errors.New("no service manager keeps file descriptors here")

// Store is the service manager's file descriptor store.
type Store struct{}

// Keep has the service manager keep duplicates of files under name for
// this service's next process (FDSTORE=1, sd_pid_notify_with_fds(3)); the unit
// needs FileDescriptorStoreMax=. It returns when the manager has them. The
// manager drops those whose peer closes by itself. name holds letters, digits
// and "-", at most 200 bytes; names and colons of all that is kept must stay below 128 KiB.
// ErrNoStore: there is no $NOTIFY_SOCKET.
func (Store) Keep(ctx context.Context, name string, files ...*os.File) error {
	state := "FDSTORE=1\nFDNAME=" + storedPrefix + name
	if err := notifyWith(state, files); err != nil {
		return fmt.Errorf("cannot have descriptors kept: %w", err)
	}
	return barrier(ctx)
}

// Forget has the service manager drop what Keep gave it under name.
// Names that it does not know are no error.
func (Store) Forget(name string) error {
	if err := notifyWith("FDSTOREREMOVE=1\nFDNAME="+storedPrefix+name, nil); err != nil {
		return fmt.Errorf("cannot have descriptors forgotten: %w", err)
	}
	return nil
}

// barrier waits until the service manager has taken all messages sent before
// (BARRIER=1, sd_notify_barrier(3)): it closes the pipe end it is sent.
func barrier(ctx context.Context) error {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer ours.Close()
	err = notifyWith("BARRIER=1", []*os.File{theirs})
	theirs.Close()
	if err != nil {
		return fmt.Errorf("cannot synchronise with the service manager: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = ours.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := ours.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the service manager does not answer: %w", context.Cause(ctx))
	}
	return nil
}

// notifyWith sends one notification with descriptors. The socket stays
// unconnected, as the manager wants it for messages with descriptors.
func notifyWith(state string, files []*os.File) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return ErrNoStore
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	var rights []byte
	if len(files) > 0 {
		fds, err := numbers(files)
		if err != nil {
			return err
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = conn.WriteMsgUnix([]byte(state), rights, &net.UnixAddr{Name: path, Net: "unixgram"})
	runtime.KeepAlive(files)
	return err
}

// numbers returns the files' descriptors. File.Fd would make them blocking, also
// for the connections they are duplicates of.
func numbers(files []*os.File) ([]int, error) {
	fds := make([]int, len(files))
	for i, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, err
		}
		if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
			return nil, err
		}
	}
	return fds, nil
}
