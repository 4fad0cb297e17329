package httpserver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hasty is a pace that tests can wait for.
var hasty = pace{headers: 200 * time.Millisecond, patience: 200 * time.Millisecond, slowest: 1 << 20, most: 3}

// start serves handler at a hasty pace and returns a connection to it.
func start(t *testing.T, handler http.HandlerFunc) net.Conn {
	t.Helper()
	return startAt(t, hasty, handler)
}

func startAt(t *testing.T, p pace, handler http.HandlerFunc) net.Conn {
	t.Helper()
	l, _ := listen(t)
	served := make(chan error, 1)
	go func() { served <- serve(t.Context(), []net.Listener{l}, handler, nil, discard, p) }()
	t.Cleanup(func() { <-served })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSlowHeadersAreCut(t *testing.T) {
	c := start(t, func(http.ResponseWriter, *http.Request) { t.Error("served") })
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if b, err := io.ReadAll(c); err != nil || strings.Contains(string(b), "200 OK") {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	c := start(t, func(http.ResponseWriter, *http.Request) { t.Error("served") })
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Large: %s\r\n\r\n", strings.Repeat("a", 70<<10))
	if b, _ := bufio.NewReader(c).ReadString('\n'); !strings.Contains(b, "431") {
		t.Errorf("got %q", b)
	}
}

// A body that drips is cut, whether the handler reads it or not.
func TestSlowBodiesAreCut(t *testing.T) {
	for _, reads := range []bool{true, false} {
		failed := make(chan error, 1)
		c := start(t, func(_ http.ResponseWriter, r *http.Request) {
			if reads {
				_, err := io.ReadAll(r.Body)
				failed <- err
			}
		})
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = io.Copy(io.Discard, c) // ends when the server hangs up
		}()
		for dripping := true; dripping; {
			select {
			case <-over:
				dripping = false
			case <-time.After(20 * time.Millisecond):
				fmt.Fprint(c, "x")
			}
		}
		if reads && <-failed == nil {
			t.Error("the handler got a whole body")
		}
	}
}

// What is clear without the body is said at once, whether the client waits for leave to
// send it or is slow. A connection whose body came is kept.
func TestAnswersWithoutTheBody(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
	for name, tc := range map[string]struct {
		sent   string
		closes bool
	}{
		"waits for leave": {head + "Expect: 100-continue\r\n\r\n", true},
		"slow":            {head + "\r\nab", true},
		"slow, chunked":   {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", true},
		"whole":           {head + "\r\nabcde", false},
	} {
		for how, handler := range map[string]http.HandlerFunc{
			"status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
			"text":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) },
			"none":   func(http.ResponseWriter, *http.Request) {},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel() // a connection that closes lingers
				p := usual
				p.patience = time.Hour
				c := startAt(t, p, handler)
				in := bufio.NewReader(c)
				fmt.Fprint(c, tc.sent)
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if resp.StatusCode/100 == 1 || resp.Close != tc.closes {
					t.Errorf("got %s, closes: %v", resp.Status, resp.Close)
				}
				if tc.closes {
					if _, err := in.ReadByte(); err != io.EOF {
						t.Errorf("after the answer came %v", err)
					}
					return
				}
				fmt.Fprint(c, tc.sent)
				if _, err := http.ReadResponse(in, nil); err != nil {
					t.Errorf("the next request: %v", err)
				}
			})
		}
	}
}

// A handler that wants the body has a client sent that waits for leave.
func TestContinue(t *testing.T) {
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s, %v", text, err)
	})
	in := bufio.NewReader(c)
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if line, err := in.ReadString('\n'); !strings.Contains(line, "100 Continue") {
		t.Fatalf("got %q, %v", line, err)
	}
	_, _ = in.ReadString('\n')
	fmt.Fprint(c, "abcde")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "abcde, <nil>" {
		t.Errorf("got %s", b)
	}
}

// Once the body has come, the answer may take its time.
func TestALongAnswerToABody(t *testing.T) {
	gone := make(chan error, 1)
	p := pace{headers: 2 * time.Second, patience: 2 * time.Second, slowest: 1 << 20, most: 3}
	c := startAt(t, p, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n != 1<<20 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		select {
		case <-r.Context().Done():
			gone <- r.Context().Err()
		case <-time.After(p.allowed(1<<20) + time.Second):
		}
		_, _ = io.WriteString(w, "done")
	})
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1<<20)
	_, _ = c.Write(make([]byte, 1<<20))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "done" {
		t.Errorf("got %q", b)
	}
	select {
	case err := <-gone:
		t.Errorf("the request was given up: %v", err)
	default:
	}
}

// A client that takes nothing of a stream loses its connection.
func TestSlowReadersAreCut(t *testing.T) {
	gone := make(chan struct{})
	c := start(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(gone)
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
				return
			}
		}
	})
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-gone // and reads nothing
}

// More than the most connections wait, and are served when others end.
func TestConnectionsAreBounded(t *testing.T) {
	p := usual
	p.most = 3
	first := startAt(t, p, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") })
	held := []net.Conn{first}
	for range 9 {
		c, err := net.Dial("tcp", first.RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	answered := make(chan int, len(held))
	for i, c := range held {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		go func() {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				answered <- i
			}
		}()
	}
	for n := 0; n < len(held); {
		round := map[int]bool{}
		for len(round) < min(p.most, len(held)-n) {
			round[<-answered] = true
		}
		select {
		case i := <-answered:
			t.Fatalf("connection %d was answered beside %v", i, round)
		case <-time.After(50 * time.Millisecond): // nothing more comes
		}
		for i := range round {
			held[i].Close()
		}
		n += len(round)
	}
}
