package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary play the activated service: it prints what it
// inherited, one "name network address" a line.
func TestMain(m *testing.M) {
	if os.Getenv("FJMCP_TEST_ACTIVATED") == "" {
		os.Exit(m.Run())
	}
	found, err := Inherited()
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	var lines []string
	for name, fs := range found.Stored {
		for _, f := range fs {
			b, err := io.ReadAll(f)
			lines = append(lines, fmt.Sprintf("stored %s: %q %v", name, b, err))
		}
	}
	for name, ls := range found.Sockets {
		for i, l := range ls {
			lines = append(lines, fmt.Sprintf("%s/%d %s", name, i, l.Addr().Network()))
		}
	}
	sort.Strings(lines)
	fmt.Print(strings.Join(lines, "\n"))
	if again, err := Inherited(); len(again.Sockets)+len(again.Stored) != 0 || err != nil {
		fmt.Println("second call:", again, err)
	}
	os.Exit(0)
}

// activated runs the test binary as systemd would run a service with files.
func activated(t *testing.T, names string, files ...*os.File) (string, error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "FJMCP_TEST_ACTIVATED=1",
		"LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = files
	out, err := cmd.Output()
	return string(out), err
}

func listenFile(t *testing.T, network, addr string) *os.File {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestInheritedByName(t *testing.T) {
	dir := t.TempDir()
	out, err := activated(t, "http:http:launcher",
		listenFile(t, "tcp", "127.0.0.1:0"),
		listenFile(t, "unix", filepath.Join(dir, "http.sock")),
		listenFile(t, "unixpacket", filepath.Join(dir, "launcher.sock")))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "http/0 tcp\nhttp/1 unix\nlauncher/0 unixpacket"
	if out != want {
		t.Errorf("inherited\n%s\nwant\n%s", out, want)
	}
}

func TestInheritedRefusesOtherDescriptors(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	connected, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	for name, f := range map[string]*os.File{"device": file, "connected": connected} {
		out, err := activated(t, name, f)
		if err == nil || !strings.Contains(out, strconv.Quote(name)) {
			t.Errorf("%s: want an error that names it, got %q", name, out)
		}
	}
}

func TestInheritedWithoutActivation(t *testing.T) {
	t.Setenv("LISTEN_PID", "")
	found, err := Inherited()
	if err != nil || len(found.Sockets)+len(found.Stored) != 0 {
		t.Errorf("Inherited() = %v, %v; want none", found, err)
	}
}

// manager listens where the service manager would and returns its socket.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 256)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestNotify(t *testing.T) {
	c := manager(t)
	if err := Notify(Ready); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); got != "READY=1" {
		t.Errorf("manager got %q", got)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}

func TestWatchdogPingsWhileHealthy(t *testing.T) {
	c := manager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	sick := make(chan struct{})
	done := make(chan error)
	go func() {
		done <- Watchdog(ctx, func() bool {
			n := asked.Add(1)
			if n == 5 {
				close(sick)
			}
			return n <= 2
		})
	}()
	for range 2 {
		if got := receive(t, c); got != "WATCHDOG=1" {
			t.Fatalf("manager got %q", got)
		}
	}
	<-sick
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := Notify("LAST=1"); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); got != "LAST=1" {
		t.Errorf("an unhealthy service sent %q", got)
	}
}

func TestWatchdogUnset(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	if err := Watchdog(t.Context(), func() bool { t.Error("asked"); return true }); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := Watchdog(t.Context(), func() bool { return true }); err == nil {
		t.Error("a bad WATCHDOG_USEC is no error")
	}
}

// keep plays the service manager: it takes one notification with descriptors.
func keep(t *testing.T, c *net.UnixConn) (string, []*os.File) {
	t.Helper()
	buf, oob := make([]byte, 256), make([]byte, unix.CmsgSpace(16*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "kept"))
		}
	}
	return string(buf[:n]), files
}

func TestStoredFilesComeBack(t *testing.T) {
	c := manager(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stored := make(chan error, 1)
	go func() { stored <- Store{}.Keep(t.Context(), "abc-mcp", r) }()
	state, kept := keep(t, c)
	if state != "FDSTORE=1\nFDNAME=@abc-mcp" || len(kept) != 1 {
		t.Fatalf("manager got %q and %d descriptors", state, len(kept))
	}
	state, sync := keep(t, c)
	if state != "BARRIER=1" || len(sync) != 1 {
		t.Fatalf("manager got %q and %d descriptors", state, len(sync))
	}
	select {
	case err := <-stored:
		t.Fatalf("returned before the manager had the descriptors: %v", err)
	default:
	}
	sync[0].Close()
	if err := <-stored; err != nil {
		t.Fatal(err)
	}

	if _, err := w.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out, err := activated(t, "http:@abc-mcp", listenFile(t, "tcp", "127.0.0.1:0"), kept[0])
	if err != nil || out != "http/0 tcp\nstored abc-mcp: \"hello\" <nil>" {
		t.Errorf("the next process found %q, %v", out, err)
	}
	kept[0].Close()

	if err := (Store{}).Forget("abc-mcp"); err != nil {
		t.Fatal(err)
	}
	if state, _ := keep(t, c); state != "FDSTOREREMOVE=1\nFDNAME=@abc-mcp" {
		t.Errorf("manager got %q", state)
	}
}

func TestKeepGivesUp(t *testing.T) {
	c := manager(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- Store{}.Keep(ctx, "x", os.Stdin) }()
	_, kept := keep(t, c)
	_, sync := keep(t, c) // and never closes it
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Keep = %v, want the context's end", err)
	}
	for _, f := range append(kept, sync...) {
		f.Close()
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := (Store{}).Keep(t.Context(), "x", os.Stdin); !errors.Is(err, ErrNoStore) {
		t.Errorf("without a manager: %v", err)
	}
}
