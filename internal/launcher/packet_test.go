package launcher

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// served is a Server that has no service manager, on a socket of its own.
type served struct {
	path  string
	timer chan chan time.Time // every idle timer the server makes
	done  chan error
	stop  context.CancelFunc
	log   testlog.Buffer
}

func serve(t *testing.T, uids ...uint32) *served {
	t.Helper()
	dir := t.TempDir()
	backend := filepath.Join(dir, "forgejo-mcp")
	if err := os.WriteFile(backend, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{envForgejoURL: "https://git.example.org", "FJMCP_BROKER_FORGEJO_MCP": backend}
	f := &served{path: filepath.Join(dir, "l"), timer: make(chan chan time.Time, 100), done: make(chan error, 1)}
	s := New(Config{
		Getenv: func(name string) string { return env[name] }, PeerUIDs: uids,
		Log: slog.New(slog.NewTextHandler(&f.log, nil)), Bus: "unix:path=" + filepath.Join(dir, "absent"),
		After: func(time.Duration) <-chan time.Time {
			c := make(chan time.Time, 1)
			f.timer <- c
			return c
		},
	})
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: f.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	f.stop = sync.OnceFunc(stop)
	go func() { f.done <- s.Serve(ctx, l) }()
	t.Cleanup(f.stop)
	return f
}

func (f *served) dial(t *testing.T) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: f.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func exchange(t *testing.T, c *net.UnixConn, packet []byte, fds ...int) (launchproto.Reply, error) {
	t.Helper()
	var reply launchproto.Reply
	if _, _, err := c.WriteMsgUnix(packet, unix.UnixRights(fds...), nil); err != nil {
		return reply, err
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil {
		return reply, err
	}
	return reply, json.Unmarshal(buf[:n], &reply)
}

func request(t *testing.T, op launchproto.Op) []byte {
	t.Helper()
	data, err := json.Marshal(launchproto.Request{
		Op: op, ID: "abcdefgh", Session: "ijklmnop", Account: "account0", IdleSeconds: 900, MaxSeconds: 86400,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// watched is a descriptor to send, and the means to see that all its copies
// have been closed: its peer then reads end of file.
type watched struct{ ours, theirs int }

func newWatched(t *testing.T, typ int) watched {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]) })
	return watched{fds[0], fds[1]}
}

func (w watched) assertClosed(t *testing.T) {
	t.Helper()
	unix.Close(w.theirs)
	poll := []unix.PollFd{{Fd: int32(w.ours), Events: unix.POLLIN | unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(poll, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != 1 || poll[0].Revents&unix.POLLHUP == 0 {
			t.Errorf("poll: %d, %v, events %#x", n, err, poll[0].Revents)
		}
		return
	}
}

// TestDescriptorsClosed hangs where one is not closed.
func TestDescriptorsClosed(t *testing.T) {
	f := serve(t, uint32(os.Getuid()))
	stream, packet := unix.SOCK_STREAM, unix.SOCK_SEQPACKET
	for _, c := range []struct {
		name  string
		data  []byte
		types []int
		code  launchproto.Code
		want  string
	}{
		{"no service manager", request(t, launchproto.OpStart), []int{stream, packet}, launchproto.CodeFailed, "cannot reach the service manager"},
		{"not JSON", []byte("{"), []int{stream}, launchproto.CodeBadRequest, "not a request"},
		{"more JSON", append(request(t, launchproto.OpPing), " {}"...), []int{stream}, launchproto.CodeBadRequest, "data after it"},
		{"unknown field", []byte(`{"op":"start","property":"User=root"}`), []int{stream, packet}, launchproto.CodeBadRequest, "unknown field"},
		{"unknown operation", []byte(`{"op":"reboot"}`), []int{stream, packet}, launchproto.CodeBadRequest, "unknown operation"},
		{"with a ping", request(t, launchproto.OpPing), []int{stream}, launchproto.CodeBadRequest, "ping with 1 descriptors, want 0"},
		{"one only", request(t, launchproto.OpStart), []int{stream}, launchproto.CodeBadRequest, "start with 1 descriptors, want 2"},
		{"three", request(t, launchproto.OpStart), []int{stream, packet, packet}, launchproto.CodeBadRequest, "start with 3 descriptors, want 2"},
		{"wrong order", request(t, launchproto.OpStart), []int{packet, stream}, launchproto.CodeBadRequest, "descriptor 0"},
		{"more than fit", request(t, launchproto.OpStart), []int{stream, packet, stream, packet, stream, packet, stream, packet}, launchproto.CodeBadRequest, "too many descriptors"},
		{"too long", []byte(strings.Repeat("x", maxPacket+1)), []int{stream, packet}, launchproto.CodeBadRequest, "packet too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []watched
			var fds []int
			for _, typ := range c.types {
				w := newWatched(t, typ)
				all, fds = append(all, w), append(fds, w.theirs)
			}
			conn := f.dial(t)
			reply, err := exchange(t, conn, c.data, fds...)
			if err != nil || reply.OK || reply.Code != c.code || !strings.Contains(reply.Message, c.want) {
				t.Errorf("reply %+v, %v; want %s, %q", reply, err, c.code, c.want)
			}
			for _, w := range all {
				w.assertClosed(t)
			}
			if reply, err := exchange(t, conn, request(t, launchproto.OpPing)); err != nil || reply.Code != launchproto.CodeFailed {
				t.Errorf("the next request on the connection: %+v, %v", reply, err)
			}
		})
	}
}

// TestEmptyPacketWithDescriptor: it reads as end of file.
func TestEmptyPacketWithDescriptor(t *testing.T) {
	f := serve(t, uint32(os.Getuid()))
	conn := f.dial(t)
	w := newWatched(t, unix.SOCK_STREAM)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// unix.Sendmsg would put a byte into the packet.
	rights := unix.UnixRights(w.theirs)
	header := unix.Msghdr{Control: &rights[0]}
	header.SetControllen(len(rights))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&header)), 0)
	})
	if err != nil || errno != 0 {
		t.Fatal(err, errno)
	}
	w.assertClosed(t)
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v", err)
	}
}

func TestDescriptorsAreCloseOnExec(t *testing.T) {
	ours, theirs := socketpair(t)
	w := newWatched(t, unix.SOCK_STREAM)
	if _, _, err := ours.WriteMsgUnix([]byte("{}"), unix.UnixRights(w.theirs), nil); err != nil {
		t.Fatal(err)
	}
	p, err := receive(theirs)
	if err != nil || len(p.fds) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	defer p.close()
	flags, err := unix.FcntlInt(uintptr(p.fds[0]), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}

func socketpair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

func TestOtherUsersRefused(t *testing.T) {
	f := serve(t, uint32(os.Getuid())+1)
	if reply, err := exchange(t, f.dial(t), request(t, launchproto.OpPing)); err == nil {
		t.Errorf("answered %+v", reply)
	}
}

// What a ping finds wrong is told once, and what a start does each time.
func TestPingsAreToldOnce(t *testing.T) {
	f := serve(t, uint32(os.Getuid()))
	conn := f.dial(t)
	for range 3 {
		if reply, err := exchange(t, conn, request(t, launchproto.OpPing)); err != nil || reply.OK {
			t.Fatalf("%+v, %v", reply, err)
		}
		if _, err := exchange(t, conn, request(t, launchproto.OpStop)); err != nil {
			t.Fatal(err)
		}
	}
	if log := f.log.String(); strings.Count(log, "op=ping") != 1 || strings.Count(log, "op=stop") != 3 {
		t.Errorf("the log has\n%s", log)
	}
}

// TestIdleExit: the timer made at the start is void once somebody has connected.
func TestIdleExit(t *testing.T) {
	f := serve(t, uint32(os.Getuid()))
	first := <-f.timer
	conn := f.dial(t)
	if _, err := exchange(t, conn, request(t, launchproto.OpPing)); err != nil {
		t.Fatal(err)
	}
	first <- time.Time{}
	if _, err := exchange(t, conn, request(t, launchproto.OpPing)); err != nil {
		t.Fatalf("exited with a connection open: %v", err)
	}
	conn.Close()
	second := <-f.timer
	second <- time.Time{}
	if err := <-f.done; err != nil {
		t.Error(err)
	}
}

// TestStop: a waiting connection does not hold up the end.
func TestStop(t *testing.T) {
	f := serve(t, uint32(os.Getuid()))
	conn := f.dial(t)
	if _, err := exchange(t, conn, request(t, launchproto.OpPing)); err != nil {
		t.Fatal(err)
	}
	f.stop()
	if err := <-f.done; err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v", err)
	}
}
