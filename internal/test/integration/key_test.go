package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// The store key is changed as docs/operations.md says, under calls: sessions and
// logins go on, and the old key is not needed afterwards.
func TestStoreKeyIsChangedWithoutALogin(t *testing.T) {
	w := start(t, "standin")
	alice, bob := w.mustConnect("alice"), w.mustConnect("bob")
	key, old := filepath.Join(w.dir, "store-key"), filepath.Join(w.dir, "store-key-old")
	restart := func() {
		t.Helper()
		w.broker.Stop(syscall.SIGTERM)
		if err := w.broker.Restart(t.Context(), w.program()); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Rename(key, old))
	must(os.WriteFile(key, make([]byte, seal.KeySize), 0o600))
	restart()
	stop := make(chan struct{})
	var g sync.WaitGroup
	g.Go(func() {
		for {
			if _, err := call(t.Context(), alice, "get_my_user_info", nil); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	caller := admin.NewCaller(filepath.Join(w.dir, "state", "admin.sock"))
	done, err := caller.RotateKey(t.Context())
	again, err2 := caller.RotateKey(t.Context())
	close(stop)
	g.Wait()
	must(err)
	must(err2)
	if done.Moved < 2 || done.Unreadable > 0 || again.Moved > 0 || again.Values < 2 { // two users' token sets
		t.Errorf("%+v, then %+v", done, again)
	}
	must(os.Remove(old))
	restart()
	w.mustCall(alice, "get_my_user_info", nil, "alice")
	w.mustCall(bob, "get_my_user_info", nil, "bob")
}

// With another key the broker does not start, and says what to do. With the right one
// again nothing has happened.
func TestWrongStoreKey(t *testing.T) {
	w := start(t, "standin")
	alice := w.mustConnect("alice")
	w.broker.Stop(syscall.SIGTERM)
	file := filepath.Join(w.dir, "store-key")
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(key []byte) error {
		if err := os.WriteFile(file, key, 0o600); err != nil {
			t.Fatal(err)
		}
		return w.broker.Restart(t.Context(), w.program())
	}
	var exit *exec.ExitError
	if err := swap(make([]byte, seal.KeySize)); !errors.As(err, &exit) || exit.ExitCode() != 78 {
		t.Errorf("with another key: %v", err)
	}
	if !strings.Contains(w.log.String(), "configuration: credential store-key: it is not the key of "+filepath.Join(w.dir, "state", "fjmcp.db")) {
		t.Error("the log does not say so")
	}
	if err := swap(key); err != nil {
		t.Fatal(err)
	}
	w.mustCall(alice, "get_my_user_info", nil, "alice")
	s, err := admin.NewCaller(filepath.Join(w.dir, "state", "admin.sock")).Status(t.Context())
	if err != nil || s.Health != admin.Healthy || s.Store.Unreadable != 0 {
		t.Errorf("afterwards: %+v, %v", s, err)
	}
}
