package launcher

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
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

// listensOn tells whether every socket of this machine that listens at address is the
// owner's. A connection that was made before this was asked has gone to one of those: the
// owner would have to have taken the port in between.
func (o *owner) listensOn(address netip.AddrPort) error {
	found := false
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/self/net/" + table) // all of /proc/net that ProcSubset=pid leaves
		if err != nil && !errors.Is(err, fs.ErrNotExist) {  // absent where IPv6 is off
			return err
		}
		for row := range strings.Lines(string(text)) {
			local, uid, ok := listening(row)
			if !ok || !takes(local, address) {
				continue
			}
			found = true
			if err := o.is(uid); err != nil {
				return err
			}
		}
	}
	if !found {
		return errors.New("no program of this machine listens there, so its user cannot be known; is the forge on another host?")
	}
	return nil
}

// takes reports whether a socket that listens at local takes connections to address.
func takes(local, address netip.AddrPort) bool {
	return local.Port() == address.Port() &&
		(local.Addr().Unmap() == address.Addr().Unmap() || local.Addr().IsUnspecified())
}

// tcpListen is TCP_LISTEN of the kernel's include/net/tcp_states.h, in hexadecimal.
const tcpListen = "0A"

// listening reads a row of the kernel's table of sockets (proc_pid_net(5)):
//
//	sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …
//
// ok is false for what does not listen. An address is written as numbers of 32 bits, each
// in the machine's own order of bytes.
func listening(row string) (local netip.AddrPort, uid uint32, ok bool) {
	f := strings.Fields(row)
	if len(f) < 8 || f[3] != tcpListen {
		return local, 0, false
	}
	address, port, _ := strings.Cut(f[1], ":")
	raw, err := hex.DecodeString(address)
	number, portErr := strconv.ParseUint(port, 16, 16)
	id, uidErr := strconv.ParseUint(f[7], 10, 32)
	if err != nil || portErr != nil || uidErr != nil || len(raw)%4 != 0 {
		return local, 0, false
	}
	for word := range slices.Chunk(raw, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	ip, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip, uint16(number)), uint32(id), ok
}
