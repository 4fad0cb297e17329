package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MaxPacket is the largest packet in bytes that is sent or taken. There is room for the
// limits of a login and those of today, and the kernel's bound is higher (socket(7),
// wmem_default).
const MaxPacket = 128 << 10

// Conn is one end of a control socket. Its methods may be called from several
// goroutines.
type Conn struct {
	sock *net.UnixConn
	raw  syscall.RawConn // sock's
	send sync.Mutex
	recv sync.Mutex
}

// Pair makes a connected pair: the broker's end as a Conn, the session's end as
// a close-on-exec file to be handed over by descriptor. The caller closes both;
// remote as soon as the session has its copy, or EOF is never seen.
func Pair() (local *Conn, remote *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a control socket: %w", err)
	}
	near := os.NewFile(uintptr(fds[0]), "control")
	remote = os.NewFile(uintptr(fds[1]), "control-remote")
	defer near.Close()
	local, err = FromFile(near)
	if err != nil {
		remote.Close()
		return nil, nil, err
	}
	return local, remote, nil
}

// FromFile wraps a copy of f's descriptor, which must be a SOCK_SEQPACKET unix
// socket; the caller still closes f.
func FromFile(f *os.File) (*Conn, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot use the control socket: %w", err)
	}
	sock, ok := c.(*net.UnixConn)
	if !ok || sock.LocalAddr().Network() != "unixpacket" {
		c.Close()
		return nil, errors.New("cannot use the control socket: it is not a SOCK_SEQPACKET unix socket")
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{sock: sock, raw: raw}, nil
}

// Send sends m as one packet. It blocks while the peer's buffer is full, until
// ctx ends. A peer that is gone gives an error that is syscall.EPIPE or
// syscall.ECONNRESET.
func (c *Conn) Send(ctx context.Context, m Message) error { return c.SendFile(ctx, m, nil) }

// SendFile is Send with a descriptor, for the peer's Waiting. f, which may be nil,
// stays the caller's.
func (c *Conn) SendFile(ctx context.Context, m Message, f *os.File) error {
	packet, err := encode(m)
	if err != nil {
		return err
	}
	var rights []byte
	if f != nil {
		raw, err := f.SyscallConn()
		if err != nil {
			return wrap("cannot send a descriptor", err)
		}
		// Not File.Fd, which would have it block.
		if err := raw.Control(func(fd uintptr) { rights = unix.UnixRights(int(fd)) }); err != nil {
			return wrap("cannot send a descriptor", err)
		}
		defer runtime.KeepAlive(f)
	}
	c.send.Lock()
	defer c.send.Unlock()
	return interruptible(ctx, c.sock.SetWriteDeadline, func() error {
		_, _, err := c.sock.WriteMsgUnix(packet, rights, nil)
		return wrap("cannot send a control message", err)
	})
}

// maxOffered is how much may wait for a peer that does not read, in bytes as the kernel
// counts them, for Offer to add to it: a third of what fits, at some 800 a packet.
const maxOffered = 64 << 10

// Offer sends m if that needs no waiting and leaves room for what is more important. It
// reports whether it did.
func (c *Conn) Offer(m Message) (sent bool) {
	packet, err := encode(m)
	if err != nil || !c.send.TryLock() {
		return false
	}
	defer c.send.Unlock()
	_ = c.raw.Control(func(fd uintptr) {
		waiting, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		sent = err == nil && waiting < maxOffered && unix.Send(int(fd), packet, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) == nil
	})
	return sent
}

// Await waits until there is something for Waiting to take, be it that the peer is gone.
// Errors: net.ErrClosed when Close was called, or ctx's.
func (c *Conn) Await(ctx context.Context) error {
	return interruptible(ctx, c.sock.SetReadDeadline, func() error {
		return c.raw.Read(func(fd uintptr) bool {
			_, _, err := unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_TRUNC)
			return err != unix.EAGAIN
		})
	})
}

// Receive returns the next message. io.EOF: the peer is gone. net.ErrClosed:
// Close was called. Any other error but ctx's concerns one packet, which is
// lost; the connection can go on.
func (c *Conn) Receive(ctx context.Context) (Message, error) {
	c.recv.Lock()
	defer c.recv.Unlock()
	var packet []byte
	err := interruptible(ctx, c.sock.SetReadDeadline, func() (err error) {
		if packet, err = c.read(); errors.Is(err, syscall.ECONNRESET) {
			// The peer left without reading all we sent. The kernel says so before it
			// hands out what the peer had sent, its last words among it.
			packet, err = c.read()
		}
		return wrap("cannot receive a control message", err)
	})
	switch {
	case errors.Is(err, syscall.ECONNRESET), err == nil && len(packet) == 0:
		return Message{}, io.EOF
	case err != nil:
		return Message{}, err
	}
	return decode(packet)
}

// Waiting returns the message that is there already, and the descriptor that came
// with it, nil for none, which is the caller's to close. ok is false when none is
// there, and the errors are those of Receive. It does not wait for an Await.
func (c *Conn) Waiting() (m Message, f *os.File, ok bool, err error) {
	c.recv.Lock()
	defer c.recv.Unlock()
	packet, f, err := c.take()
	if errors.Is(err, syscall.ECONNRESET) { // as in Receive
		packet, f, err = c.take()
	}
	switch {
	case err == unix.EAGAIN:
		return Message{}, nil, false, nil
	case err == nil && len(packet) == 0:
		err = io.EOF
	case err == nil:
		m, err = decode(packet)
	}
	if err != nil && f != nil {
		f.Close()
		f = nil
	}
	return m, f, err == nil, err
}

// Close closes this end; a blocked Send or Receive returns net.ErrClosed.
func (c *Conn) Close() error { return c.sock.Close() }

// File returns a close-on-exec copy of the descriptor that outlives c, for
// systemd's descriptor store; FromFile turns it into a Conn again. The copy
// shares its non-blocking mode with c.
func (c *Conn) File() (*os.File, error) { return c.sock.File() }

// read waits for a packet and takes it, none when the peer is gone. It makes room for the
// packet only once that is there: connections wait most of the time.
func (c *Conn) read() (packet []byte, err error) {
	var failed error
	err = c.raw.Read(func(fd uintptr) bool {
		packet, _, failed = receive(int(fd), false)
		return failed != unix.EAGAIN
	})
	return packet, cmp.Or(err, failed)
}

// take is read with a descriptor that does not wait: it fails with EAGAIN.
func (c *Conn) take() (packet []byte, f *os.File, err error) {
	var failed error
	err = c.raw.Control(func(fd uintptr) { packet, f, failed = receive(int(fd), true) })
	return packet, f, cmp.Or(err, failed)
}

// receive takes one packet, and a descriptor if there is to be one.
func receive(fd int, descriptor bool) (packet []byte, f *os.File, err error) {
	size, _, err := unix.Recvfrom(fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	if err != nil {
		return nil, nil, err
	}
	packet = make([]byte, min(size, MaxPacket))
	var rights []byte // without room the kernel drops descriptors a peer may attach
	if descriptor {
		rights = make([]byte, unix.CmsgSpace(4))
	}
	_, n, _, _, err := unix.Recvmsg(fd, packet, rights, unix.MSG_CMSG_CLOEXEC)
	if err == nil && size > MaxPacket {
		err = fmt.Errorf("control packet is larger than %d bytes", MaxPacket)
	}
	return packet, sent(rights[:max(n, 0)]), err
}

// sent is the descriptor in ancillary data, nil without one.
func sent(rights []byte) *os.File {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) == 0 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return nil
	}
	return os.NewFile(uintptr(fds[0]), "sent")
}

func encode(m Message) ([]byte, error) {
	if m.Type == "" {
		return nil, errors.New("cannot send a control message without a type")
	}
	packet, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cannot encode %v: %w", m, err)
	}
	if len(packet) > MaxPacket {
		return nil, fmt.Errorf("%v has %d bytes, at most %d can be sent", m, len(packet), MaxPacket)
	}
	return packet, nil
}

// decode keeps the JSON error to itself, since it may quote a token. Unknown
// fields are let through: a session outlives the broker that started it.
func decode(packet []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(packet, &m); err != nil {
		return Message{}, fmt.Errorf("control packet of %d bytes is not a JSON message", len(packet))
	}
	if m.Type == "" {
		return Message{}, fmt.Errorf("control packet of %d bytes has no type", len(packet))
	}
	return m, nil
}

// interruptible runs op so that the end of ctx makes its deadline pass.
func interruptible(ctx context.Context, setDeadline func(time.Time) error, op func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		setDeadline(time.Unix(1, 0))
	})
	err := op()
	if !stop() {
		<-fired
		setDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ctx.Err()
		}
	}
	return err
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
