package lines

import (
	"bufio"
	"bytes"
	"net"
	"testing"
	"time"
)

// BenchmarkLine64MiB gives the time to read one line as a part of what bufio's
// ReadBytes needs over the same kind of socket.
func BenchmarkLine64MiB(b *testing.B) {
	line := append(bytes.Repeat([]byte("x"), 64<<20-1), '\n')
	c, peer := pair(b, Config{MaxLine: 64 << 20})
	plain, plainPeer := pair(b, Config{})
	in := bufio.NewReader(plain.cfg.Socket)
	feed := func(to *net.UnixConn) {
		go func() { _, _ = to.Write(line) }()
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		feed(peer)
		if got, err := c.Next(); err != nil || len(got) != len(line)-1 {
			b.Fatal(len(got), err)
		}
	}
	ours := time.Since(start)
	start = time.Now()
	for range b.N {
		feed(plainPeer)
		if got, err := in.ReadBytes('\n'); err != nil || len(got) != len(line) {
			b.Fatal(len(got), err)
		}
	}
	b.ReportMetric(ours.Seconds()/time.Since(start).Seconds(), "×bufio")
}
