package peercred

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestUID(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if uid, err := UID(c.(*net.UnixConn)); err != nil || uid != uint32(os.Getuid()) {
		t.Errorf("got %d, %v", uid, err)
	}
	c.Close()
	if uid, err := UID(c.(*net.UnixConn)); err == nil {
		t.Errorf("a closed connection is of %d", uid)
	}
}

// A TCP socket has no such peer.
func TestUIDOfAnotherKind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if uid, err := UID(c.(*net.TCPConn)); err == nil && uid == uint32(os.Getuid()) {
		t.Errorf("got %d, %v", uid, err)
	}
}
