package launcher

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/prometheus/procfs"
)

// owner is the user who alone may listen in the forge's place. While a forge is stopped,
// any local user can take a port from 1024 on, and would be sent the users' tokens.
type owner struct {
	name string
	uid  uint32
}

// is tells whether the peer's uid is the owner's.
func (o *owner) is(uid uint32) error {
	if uid != o.uid {
		return fmt.Errorf("uid %d listens there, and it should be %s, uid %d", uid, o.name, o.uid)
	}
	return nil
}

// tcpListen is TCP_LISTEN of the kernel's include/net/tcp_states.h.
const tcpListen = 10

// takes reports whether a socket that listens at local takes connections to address.
func takes(local, address netip.AddrPort) bool {
	return local.Port() == address.Port() &&
		(local.Addr().Unmap() == address.Addr().Unmap() || local.Addr().IsUnspecified())
}

// listensOn tells whether every socket of this machine that listens at address is the
// owner's (proc_pid_net(5), /proc/net/tcp). A connection that was made before this was
// asked has gone to one of those: the owner would have to have taken the port in between.
func (o *owner) listensOn(address netip.AddrPort) error {
	fs, err := procfs.NewFS("/proc/self") // all of net/ that ProcSubset=pid leaves
	if err != nil {
		return err
	}
	v4, err4 := fs.NetTCP()
	v6, err6 := fs.NetTCP6() // absent where IPv6 is off
	if err4 != nil && err6 != nil {
		return errors.Join(err4, err6)
	}
	found := false
	for _, row := range append(v4, v6...) {
		ip, _ := netip.AddrFromSlice(row.LocalAddr)
		if row.St != tcpListen || !takes(netip.AddrPortFrom(ip, uint16(row.LocalPort)), address) {
			continue
		}
		found = true
		if err := o.is(uint32(row.UID)); err != nil {
			return err
		}
	}
	if !found {
		return errors.New("no program of this machine listens there, so its user cannot be known; is the forge on another host?")
	}
	return nil
}
