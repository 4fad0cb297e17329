package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
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
