package unit

import (
	"context"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// The next process gets the broker's ends in any order, and speaks over them.
func TestFromFiles(t *testing.T) {
	for name, order := range map[string]func([]*os.File){"as kept": func([]*os.File) {}, "turned around": slices.Reverse[[]*os.File]} {
		t.Run(name, func(t *testing.T) {
			near, far, err := socketPair()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			files, err := near.Files()
			near.Close()
			if err != nil {
				t.Fatal(err)
			}
			order(files)
			next, err := nearFromFiles(files)
			for _, f := range files {
				f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer next.Close()
			said := control.Message{Type: control.TypeMode, ID: "1"}
			if err := next.Control.Send(t.Context(), said); err != nil {
				t.Fatal(err)
			}
			if got := received(t, far.Control); got.Type != said.Type || got.ID != said.ID {
				t.Errorf("got %+v", got)
			}
			over(t, next.Stdin, far.Stdin)
			over(t, far.MCP, next.MCP)
		})
	}
}

func received(t *testing.T, f *os.File) control.Message {
	t.Helper()
	conn, err := control.FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m, err := conn.Receive(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// over sends a line.
func over(t *testing.T, to io.Writer, from io.Reader) {
	t.Helper()
	if _, err := io.WriteString(to, "{}\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(from, got); err != nil || string(got) != "{}\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFromFilesRefuses(t *testing.T) {
	near, far, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	defer far.Close()
	files, err := near.Files()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	for i, f := range files {
		rest := slices.Delete(slices.Clone(files), i, i+1)
		if _, err := nearFromFiles(rest); err == nil {
			t.Errorf("it did without %s", f.Name())
		}
		if _, err := nearFromFiles(append(rest, rest[0])); err == nil {
			t.Errorf("it took one twice for %s", f.Name())
		}
	}
}
