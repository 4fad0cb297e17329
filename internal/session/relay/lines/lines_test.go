package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// pair returns a Conn and its peer.
func pair(t testing.TB, cfg Config) (*Conn, *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	cfg.Socket = ends[0]
	return over(t, cfg), ends[1]
}

func over(t testing.TB, cfg Config) *Conn {
	t.Helper()
	if cfg.MaxLine == 0 {
		cfg.MaxLine = 4 << 20
	}
	if cfg.TooLong == nil {
		cfg.TooLong = func(n int, _ mcp.Outline) { t.Errorf("skipped a line of %d bytes", n) }
	}
	if cfg.Output == nil {
		cfg.Output = cfg.Socket
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// all reads up to the end.
func all(c *Conn) (read []string) {
	for {
		line, err := c.Next()
		if err != nil {
			return read
		}
		read = append(read, string(line))
	}
}

// Lines of any size, in pieces of any size, with stops in between, come whole and
// in order; those over the limit are skipped and counted, and their ids read.
func TestLines(t *testing.T) {
	const limit = 150 << 10
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, 1))
		var want []string
		var tooLong, skipped []int
		var ids, read []string
		var text bytes.Buffer
		for i := range 30 {
			line := fmt.Sprintf(`{"text":%q,"id":%d}`, strings.Repeat("x", int(random.ExpFloat64()*float64(1+random.IntN(100<<10)))), i)
			text.WriteString(line + "\n")
			if len(line) > limit {
				tooLong = append(tooLong, len(line))
				ids = append(ids, fmt.Sprint(i))
			} else {
				want = append(want, line)
			}
		}
		text.WriteString("no newline")
		want = append(want, "no newline")
		cfg := Config{MaxLine: limit, TooLong: func(n int, about mcp.Outline) {
			skipped = append(skipped, n)
			read = append(read, string(about.ID))
		}}
		c, peer := pair(t, cfg)
		cfg.Socket = c.cfg.Socket
		go func() {
			defer peer.Close()
			for text.Len() > 0 {
				if _, err := peer.Write(text.Next(1 + random.IntN(50<<10))); err != nil {
					t.Error(err)
				}
			}
		}()
		var got []string
		for len(got) < len(want) {
			line, err := c.Next()
			if err != nil {
				t.Fatalf("seed %d: after %d lines: %v", seed, len(got), err)
			}
			if got = append(got, string(line)); len(got)%10 == 0 {
				c.Stop()
				rest, err := c.Rest()
				if err != nil {
					t.Fatal(err)
				}
				cfg.Rest = &rest
				c = over(t, cfg)
			}
		}
		if !slices.Equal(got, want) || !slices.Equal(skipped, tooLong) || !slices.Equal(read, ids) {
			t.Errorf("seed %d: got %d lines and skipped %v (%s), want %d and %v (%s)", seed, len(got), skipped, read, len(want), tooLong, ids)
		}
		if _, err := c.Next(); err == nil {
			t.Error("something came after the end")
		}
	}
}

// A peer's last words are heard, whether it left without reading or reads no more.
func TestLastWords(t *testing.T) {
	for name, leave := range map[string]func(*net.UnixConn) error{"closed": (*net.UnixConn).Close, "closed for reading": (*net.UnixConn).CloseRead} {
		t.Run(name, func(t *testing.T) {
			c, peer := pair(t, Config{})
			c.Put([]byte("unread\n"))
			fmt.Fprint(peer, "last\nwords\n")
			if err := leave(peer); err != nil {
				t.Fatal(err)
			}
			c.Put([]byte("into the void\n"))
			if _, err := c.Room(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("there is room: %v", err)
			}
			if got := all(c); !slices.Equal(got, []string{"last", "words"}) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// What is written goes to the output, over a stop too; whoever reads it no more is
// heard out.
func TestOutputOfItsOwn(t *testing.T) {
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); written.Close() })
	c, peer := pair(t, Config{Output: written})
	line := strings.Repeat("x", 100<<10) // more than the pipe takes
	c.Put([]byte(line + "\n"))
	c.Put([]byte("last\n"))
	c.Stop()
	if _, err := c.Next(); !errors.Is(err, ErrStopped) {
		t.Errorf("it was not stopped: %v", err)
	}
	rest, err := c.Rest()
	if err != nil || len(rest.Output) == 0 {
		t.Fatalf("%d bytes are left to write, %v", len(rest.Output), err)
	}
	c = over(t, Config{Socket: c.cfg.Socket, Output: written, Rest: &rest})
	for in, want := bufio.NewReader(read), []string{line, "last"}; len(want) > 0; want = want[1:] {
		if got, err := in.ReadString('\n'); got != want[0]+"\n" {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
	}
	fmt.Fprintln(peer, "goodbye")
	read.Close()
	c.Put([]byte("into the void\n")) // perhaps behind what has just been written
	if got := all(c); !slices.Equal(got, []string{"goodbye"}) {
		t.Errorf("got %q", got)
	}
	if _, err := c.Room(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("there is room: %v", err)
	}
}

// Writers are told when to wait and when to go on, and what they put arrives whole
// and in order.
func TestOutput(t *testing.T) {
	c, peer := pair(t, Config{})
	back, _ := New(Config{Socket: peer, Output: peer, MaxLine: 4 << 20})
	n := 0
	for room := (<-chan struct{})(nil); room == nil; n++ {
		c.Put(fmt.Appendf(nil, "%d %s\n", n, strings.Repeat("x", n*1000)))
		room, _ = c.Room()
	}
	room, _ := c.Room()
	for i := range n {
		line, err := back.Next()
		if err != nil || !strings.HasPrefix(string(line), fmt.Sprint(i, " ")) || len(line) != len(fmt.Sprint(i, " "))+i*1000 {
			t.Fatalf("line %d has %d bytes, %v", i, len(line), err)
		}
	}
	<-room
	for c.Pending() > 0 { // it has been read and will be counted
		runtime.Gosched()
	}
}

// An idle Conn holds no buffer, and a large line leaves none.
func TestIdleHoldsNothing(t *testing.T) {
	c, peer := pair(t, Config{})
	go func() {
		fmt.Fprintln(peer, strings.Repeat("x", 3<<20))
		fmt.Fprintln(peer, "y")
	}()
	for range 2 {
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
	}
	c.Stop()
	if _, err := c.Next(); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	if c.in.held != nil {
		t.Errorf("holds %d bytes", len(*c.in.held))
	}
}
