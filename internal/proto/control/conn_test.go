package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"golang.org/x/sys/unix"
)

// pair returns two connected Conns.
func pair(t testing.TB) (a, b *control.Conn) {
	t.Helper()
	a, remote, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err = control.FromFile(remote)
	remote.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestMessagesKeepTheirBounds(t *testing.T) {
	a, b := pair(t)
	sent := []control.Message{
		{Type: control.TypeToken, Token: "t1"},
		{Type: control.TypeFailed, Reason: control.ReasonCrashed, Detail: "d", LastLines: []string{"x", "y"}},
		{Type: control.TypeReady},
	}
	for _, m := range sent {
		if err := a.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range sent {
		got, err := b.Receive(t.Context())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
}

// Only Waiting takes a descriptor, and it does not wait.
func TestWaiting(t *testing.T) {
	a, b := pair(t)
	if m, f, ok, err := b.Waiting(); ok || f != nil || err != nil {
		t.Fatalf("out of nothing came %v, %v, %v", m, f, err)
	}
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	for range 2 {
		if err := a.SendFile(t.Context(), control.Message{Type: control.TypeReady}, written); err != nil {
			t.Fatal(err)
		}
	}
	written.Close()
	m, f, ok, err := b.Waiting()
	if err != nil || !ok || f == nil || m.Type != control.TypeReady {
		t.Fatalf("got %v, %v, %v, %v", m, f, ok, err)
	}
	if _, err := b.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "x")
	f.Close()
	if got, err := io.ReadAll(read); string(got) != "x" || err != nil { // it ends: nobody has another copy
		t.Errorf("read %q, %v", got, err)
	}
	a.Close()
	if _, _, ok, err := b.Waiting(); ok || err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestReceiveEndsWhenThePeerIsGone(t *testing.T) {
	a, b := pair(t)
	a.Send(t.Context(), control.Message{Type: control.TypeReady})
	a.Close()
	if m, err := b.Receive(t.Context()); err != nil || m.Type != control.TypeReady {
		t.Fatalf("a message sent before close was lost: %v, %v", m, err)
	}
	if _, err := b.Receive(t.Context()); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
	if err := b.Send(t.Context(), control.Message{Type: control.TypeReady}); !errors.Is(err, unix.EPIPE) {
		t.Fatalf("send to nobody: got %v, want EPIPE", err)
	}
}

func TestReceiveIsInterrupted(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { _, err := b.Receive(ctx); got <- err }()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	if err := a.Send(t.Context(), control.Message{Type: control.TypeReady}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(t.Context()); err != nil {
		t.Fatalf("a cancelled receive spoilt the connection: %v", err)
	}
	go func() { _, err := b.Receive(context.Background()); got <- err }()
	b.Close()
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v, want net.ErrClosed", err)
	}
}

func TestSendToAFullBufferIsInterrupted(t *testing.T) {
	a, _ := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	m := control.Message{Type: control.TypeFailed, Detail: strings.Repeat("x", 60_000)}
	for {
		if err := a.Send(ctx, m); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v, want context.DeadlineExceeded", err)
			}
			return
		}
	}
}

func TestBadPackets(t *testing.T) {
	const secret = "s3cr3t"
	tests := []struct {
		name, packet, want string
	}{
		{"not JSON", secret, "is not a JSON message"},
		{"wrong type", `{"type":"token","token":{"a":"` + secret + `"}}`, "is not a JSON message"},
		{"no type", `{"token":"` + secret + `"}`, "has no type"},
		{"too large", `{"type":"token","token":"` + strings.Repeat(secret, 25_000) + `"}`, "is larger than 131072 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, remote, err := control.Pair()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			defer remote.Close()
			for _, p := range []string{tt.packet, `{"type":"ready","later":1}`} {
				if _, err := unix.Write(int(remote.Fd()), []byte(p)); err != nil {
					t.Fatal(err)
				}
			}
			_, err = c.Receive(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Fatalf("got %v, want …%s and no content", err, tt.want)
			}
			if m, err := c.Receive(t.Context()); err != nil || m.Type != control.TypeReady {
				t.Fatalf("the next packet did not arrive: %v, %v", m, err)
			}
		})
	}
}

func TestSendRefusesWhatCannotArrive(t *testing.T) {
	a, _ := pair(t)
	big := control.Message{Type: control.TypeToken, Token: strings.Repeat("s", control.MaxPacket)}
	err := a.Send(t.Context(), big)
	if err == nil || !strings.Contains(err.Error(), "at most 131072") || strings.Contains(err.Error(), "ssss") {
		t.Fatalf("got %v", err)
	}
	if err := a.Send(t.Context(), control.Message{}); err == nil {
		t.Fatal("a message without a type was sent")
	}
}

func TestFromFileRefusesOtherSockets(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	f := os.NewFile(uintptr(fds[0]), "stream")
	defer f.Close()
	if c, err := control.FromFile(f); err == nil {
		c.Close()
		t.Fatal("a stream socket was taken")
	}
}

func TestFileOutlivesTheConn(t *testing.T) {
	a, b := pair(t)
	f, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	again, err := control.FromFile(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Send(t.Context(), control.Message{Type: control.TypeToken, Token: "t"}); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Receive(t.Context()); err != nil || m.Token != "t" {
		t.Fatalf("got %v, %v", m, err)
	}
}

func TestStringHidesTheToken(t *testing.T) {
	m := control.Message{Type: control.TypeToken, Token: "s3cr3t"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "message", m)
	for _, s := range []string{m.String(), fmt.Sprintf("%v %+v %#v", m, m, m), log.String()} {
		if strings.Contains(s, "s3cr3t") {
			t.Error(s)
		}
	}
}

// The last words of a peer that leaves without reading what it was sent arrive.
func TestLastWordsOfAPeerThatDoesNotRead(t *testing.T) {
	local, remote := pair(t)
	ctx := t.Context()
	for range 3 {
		if err := local.Send(ctx, control.Message{Type: control.TypeToken, Token: "unread"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []control.Message{{Type: control.TypeReady}, {Type: control.TypeFailed, Reason: control.ReasonCrashed}} {
		if err := remote.Send(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	remote.Close()
	for _, want := range []control.Type{control.TypeReady, control.TypeFailed} {
		if m, err := local.Receive(ctx); err != nil || m.Type != want {
			t.Fatalf("got %v, %v; want %s", m, err, want)
		}
	}
	if _, err := local.Receive(ctx); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
}

// What is offered waits for nobody, and leaves room for what is sent.
func TestOffer(t *testing.T) {
	a, b := pair(t)
	n := 0
	for a.Offer(control.Message{Type: control.TypeTouched, Repo: "alice/site"}) {
		n++
	}
	if n < 20 {
		t.Errorf("only %d found room", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 20 {
		if err := a.Send(ctx, control.Message{Type: control.TypeUnauthorized}); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if err := b.Await(ctx); err != nil {
			t.Fatal(err)
		}
		if m, _, ok, err := b.Waiting(); !ok || err != nil || m.Repo != "alice/site" {
			t.Fatalf("got %v, %v", m, err)
		}
	}
	for range 20 {
		if m, err := b.Receive(ctx); err != nil || m.Type != control.TypeUnauthorized {
			t.Fatalf("got %v, %v", m, err)
		}
	}
	if !a.Offer(control.Message{Type: control.TypeTouched, Repo: "alice/site"}) {
		t.Error("there is no room again")
	}
}

// While one waits for a message, another may take it.
func TestWaitingWhileAwaited(t *testing.T) {
	a, b := pair(t)
	awaited := make(chan error)
	go func() {
		for range 2 {
			awaited <- b.Await(t.Context())
		}
	}()
	if _, _, ok, err := b.Waiting(); ok || err != nil {
		t.Fatalf("got %v, %v", ok, err)
	}
	a.Send(t.Context(), control.Message{Type: control.TypeReady})
	if err := <-awaited; err != nil {
		t.Fatal(err)
	}
	if m, _, ok, err := b.Waiting(); !ok || err != nil || m.Type != control.TypeReady {
		t.Fatalf("got %v, %v, %v", m, ok, err)
	}
	a.Close()
	if err := <-awaited; err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := b.Waiting(); err != io.EOF {
		t.Errorf("got %v", err)
	}
}
