package launcher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// maxPacket bounds a request in bytes; the longest valid one has some 300.
const maxPacket = 4096

// packet is one request as it came: its descriptors are ours to close.
type packet struct {
	data      []byte
	fds       []int
	truncated bool
}

// receive reads one packet. Go receives descriptors with MSG_CMSG_CLOEXEC. Also
// a packet that ends in an error (an empty one reads as end of file) may have
// brought descriptors, so they are taken first.
func receive(c *net.UnixConn) (*packet, error) {
	data := make([]byte, maxPacket)
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(data, oob)
	p := &packet{data: data[:max(n, 0)], fds: descriptors(oob[:max(oobn, 0)])}
	p.truncated = flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func descriptors(oob []byte) []int {
	var all []int
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

func (p *packet) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
	p.fds = nil
}

// request returns the checked request, or what is wrong with the packet.
func (p *packet) request() (launchproto.Request, error) {
	var r launchproto.Request
	if p.truncated {
		return r, errors.New("packet too long or with too many descriptors")
	}
	dec := json.NewDecoder(bytes.NewReader(p.data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("not a request: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return r, errors.New("not a request: data after it")
	}
	if err := r.Check(); err != nil {
		return r, err
	}
	return r, p.checkDescriptors(r.Op)
}

// checkDescriptors wants the session's ends of its two sockets with a start, and
// none otherwise.
func (p *packet) checkDescriptors(op launchproto.Op) error {
	var types []int
	if op == launchproto.OpStart {
		types = []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET}
	}
	if len(p.fds) != len(types) {
		return fmt.Errorf("%s with %d descriptors, want %d", op, len(p.fds), len(types))
	}
	for i, want := range types {
		domain, err1 := unix.GetsockoptInt(p.fds[i], unix.SOL_SOCKET, unix.SO_DOMAIN)
		typ, err2 := unix.GetsockoptInt(p.fds[i], unix.SOL_SOCKET, unix.SO_TYPE)
		if err1 != nil || err2 != nil || domain != unix.AF_UNIX || typ != want {
			return fmt.Errorf("descriptor %d is not a unix socket of the right type", i)
		}
	}
	return nil
}
