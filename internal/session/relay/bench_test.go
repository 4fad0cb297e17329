package relay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// echo answers each request with the same result.
func (c *child) echo(result string) {
	out := bufio.NewWriterSize(c.conn, 128<<10)
	for c.in.Scan() {
		m, err := mcp.Parse(c.in.Bytes())
		if err != nil {
			return
		}
		fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID(), result)
		if out.Flush() != nil {
			return
		}
	}
}

// plainCall is what a client of one child does over the socket: encode, write,
// read a line, decode the envelope.
func plainCall(conn io.Writer, in *bufio.Reader, id int) error {
	request := struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      int             `json:"id"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params"`
	}{"2.0", id, "tools/call", json.RawMessage(`{"name":"get_issue","arguments":{"owner":"o","repo":"r","index":1}}`)}
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return err
	}
	line, err = in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var response struct {
		ID     int
		Result json.RawMessage
	}
	if err := json.Unmarshal(line, &response); err != nil || response.ID != id {
		return fmt.Errorf("got %d, %w", response.ID, err)
	}
	return nil
}

// BenchmarkRelayCall gives the time of a call, and that as a part of a plain call's
// (bufio and encoding/json, one caller) over the same kind of socket in the same
// run.
func BenchmarkRelayCall(b *testing.B) {
	for _, size := range []int{100, 90 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			result := `{"content":[{"type":"text","text":"` + strings.Repeat("x", size) + `"}]}`
			r, child := start(b, Config{})
			go child.echo(result)
			conn, other := newChild(b)
			go other.echo(result)
			in := bufio.NewReaderSize(conn, 64<<10)
			raw := []byte(`{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"get_issue","arguments":{"owner":"o","repo":"r","index":1}}}`)
			b.ReportAllocs()
			started := time.Now()
			for b.Loop() {
				m, err := mcp.Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				c, err := r.Start(b.Context(), m)
				if err != nil {
					b.Fatal(err)
				}
				if e, err := c.Next(b.Context()); err != nil || !e.Final {
					b.Fatal(err)
				}
			}
			ours := time.Since(started)
			started = time.Now()
			for i := range b.N {
				if err := plainCall(conn, in, i); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(ours.Seconds()/time.Since(started).Seconds(), "×plain")
		})
	}
}
