// Package systemd is fjmcp's side of the service manager's contract with a
// service: sockets inherited through activation (sd_listen_fds(3)), readiness
// and state (sd_notify(3)) and the watchdog (sd_watchdog_enabled(3)).
//
// It holds no bus connection.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Passed is what the service manager passed to this process.
type Passed struct {
	// Sockets are the listening sockets by the FileDescriptorName= of their
	// socket unit, in the order of its Listen…= lines.
	Sockets map[string][]net.Listener
	// Stored are the descriptors that Store.Keep gave away in an earlier process
	// of this service, by their name there.
	Stored map[string][]*os.File
}

// Close closes everything that was passed.
func (p Passed) Close() {
	for _, ls := range p.Sockets {
		for _, l := range ls {
			l.Close()
		}
	}
	for _, fs := range p.Stored {
		for _, f := range fs {
			f.Close()
		}
	}
}

// Inherited returns what the service manager passed to this process
// (sd_listen_fds_with_names(3)). Stream and sequential packet sockets are known.
// Without activation there is nothing.
//
// It takes the descriptors out of the environment, so only the first call finds
// them. The sockets' files are not unlinked when the listeners close. A
// descriptor that is neither a listening socket nor stored is an error; nothing
// stays open then.
func Inherited() (Passed, error) {
	found := Passed{Sockets: map[string][]net.Listener{}, Stored: map[string][]*os.File{}}
	var faults []error
	for _, f := range activation.Files(true) {
		if name, ok := strings.CutPrefix(f.Name(), storedPrefix); ok {
			found.Stored[name] = append(found.Stored[name], f)
			continue
		}
		l, err := listener(f)
		if err != nil {
			faults = append(faults, fmt.Errorf("cannot use inherited descriptor %q: %w", f.Name(), err))
			continue
		}
		found.Sockets[f.Name()] = append(found.Sockets[f.Name()], l)
	}
	if len(faults) == 0 {
		return found, nil
	}
	found.Close()
	return Passed{}, errors.Join(faults...)
}

func listener(f *os.File) (net.Listener, error) {
	defer f.Close()
	listening, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, err
	}
	if listening == 0 {
		return nil, errors.New("not a listening socket")
	}
	return net.FileListener(f)
}
