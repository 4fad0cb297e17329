package launcher

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

const (
	unmountUnit = "fjmcp-unmount.service"
	// unmountEvery is after how many starts the mounts are looked at. So many more
	// there may be.
	unmountEvery = 32
)

// Unmount ends the host's mounts of the credentials of all sessions that run. It needs
// CAP_SYS_ADMIN in the host's mount namespace, and takes no names from anybody but the
// service manager. A running session has a mount of its own, which stays; but with
// every mount of the host the service manager needs longer for whatever it starts.
func Unmount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	b := &bus{address: privateSocket}
	defer b.close()
	// Active is a unit whose main process runs its program (Type=exec), so that its
	// namespaces are complete.
	ids, err := b.sessions(ctx, "active")
	if err != nil {
		return err
	}
	var faults []error
	for _, id := range ids {
		path := filepath.Join("/run/credentials", launchproto.UnitName(id))
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // none there any more
			faults = append(faults, fmt.Errorf("cannot unmount %s: %w", path, err))
		}
	}
	return errors.Join(faults...)
}

// countStart has the mounts of sessions ended now and then.
func (m *manager) countStart(ctx context.Context) {
	if m.starts.Add(1)%unmountEvery != 0 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := m.bus.finish(ctx, "start", (*sddbus.Conn).StartUnitContext, unmountUnit, "replace"); err != nil {
			m.log.Warn("cannot end the mounts of credentials that were read; starts become slower", "error", err)
		}
	}()
}
