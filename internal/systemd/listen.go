package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Inherited returns the listening sockets the service manager passed to this
// process, by the FileDescriptorName= of their socket unit, in the order of
// its Listen…= lines (sd_listen_fds_with_names(3)). Stream and sequential
// packet sockets are known. Without activation the map is empty.
//
// It takes the sockets out of the environment, so only the first call finds
// them. The sockets' files are not unlinked when the listeners close. A
// descriptor that is no listening socket is an error; nothing stays open then.
func Inherited() (map[string][]net.Listener, error) {
	found := make(map[string][]net.Listener)
	var faults []error
	for _, f := range activation.Files(true) {
		l, err := listener(f)
		if err != nil {
			faults = append(faults, fmt.Errorf("cannot use inherited descriptor %q: %w", f.Name(), err))
			continue
		}
		found[f.Name()] = append(found[f.Name()], l)
	}
	if len(faults) == 0 {
		return found, nil
	}
	for _, ls := range found {
		for _, l := range ls {
			l.Close()
		}
	}
	return nil, errors.Join(faults...)
}

// listener consumes f. net.FileListener takes connected sockets as well, so the
// kernel is asked first.
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
