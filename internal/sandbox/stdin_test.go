package sandbox_test

import (
	"os"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// The pipe is there with the first message before fjmcp-session is, and is the
// backend's standard input from then on.
func TestStandardInputComesWithTheFirstMessage(t *testing.T) {
	forge := newForge(t)
	ours := make(chan *os.File, 1)
	env := environment(serveHTTP(t, forge), standinBinary)
	r := startAfter(t, uint32(os.Getuid()), forge.token(t, "alice"), env, func(r *running) {
		stdin, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		if err := r.control.SendFile(t.Context(), control.Message{Type: control.TypeMode, ID: "first", Mode: control.ModeReadWrite}, stdin); err != nil {
			t.Fatal(err)
		}
		ours <- w
	})
	stdin := <-ours
	defer stdin.Close()
	if id := r.want(control.TypeAck).ID; id != "first" {
		t.Errorf("%q was confirmed", id)
	}
	r.want(control.TypeReady)
	mustCall(t, r.connectOver(stdin), "get_my_user_info", nil, `"alice"`)
	stdin.Close()
	r.want(control.TypeExited)
	if status := r.status(); status != 0 {
		t.Errorf("it ended with status %d", status)
	}
}
