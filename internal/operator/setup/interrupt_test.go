package setup

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// errKilled is what a run panics with in place of being killed: nothing is tidied up.
var errKilled = errors.New("killed")

// attempt runs a setup whose step number n is not done: the disk is full, or it is killed.
func (w *world) attempt(t *testing.T, o Options, n int, killed bool) (steps int, err error) {
	t.Helper()
	s, _ := w.new(t, o)
	s.files.step = func(op, path string) error {
		steps++
		switch {
		case steps != n:
			return nil
		case killed:
			panic(errKilled)
		}
		return fmt.Errorf("%s %s: %w", op, path, syscall.ENOSPC)
	}
	defer func() {
		if r := recover(); r == any(errKilled) {
			err = errKilled
		} else if r != nil {
			panic(r)
		}
	}()
	return steps, s.run(t.Context())
}

// Whatever write fails, or wherever a run is killed: what the broker would begin with is as
// before or complete, or a file holds what the next run puts in its place; the forge's
// secret is never lost but where the write of that very file fails; and the same command
// again makes all well, with one application.
func TestCutOffAtEachWrite(t *testing.T) {
	for name, begin := range map[string]func(*testing.T, *world) Options{
		"register": func(t *testing.T, w *world) Options { return w.options(t) },
		"change": func(t *testing.T, w *world) Options {
			_, err := w.run(t, w.options(t))
			must(t, err)
			o := w.options(t)
			o.PublicURL = "https://new.example.org"
			return o
		},
		"another": func(t *testing.T, w *world) Options { // the one of before was deleted
			_, err := w.run(t, w.options(t))
			must(t, err)
			id, _ := w.pair()
			must(t, w.DeleteApp(id))
			return w.options(t)
		},
		"encrypted": func(t *testing.T, w *world) Options { // the one of before has a new secret
			_, err := w.run(t, w.options(t))
			must(t, err)
			w.seal(t)
			id, _ := w.pair()
			_, err = w.RotateSecret(id)
			must(t, err)
			return w.options(t)
		},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed: %t", name, killed), func(t *testing.T) {
				for n := 1; ; n++ {
					w := newWorld(t)
					o := begin(t, w)
					oldID, oldSecret := w.pair()
					oldSettings := w.read(settingsFile)
					steps, err := w.attempt(t, o, n, killed)
					if err == nil {
						if steps >= n || n < 12 {
							t.Fatalf("step %d of %d failed, and the run did not", n, steps)
						}
						return
					}
					w.neverMixed(t, n, oldID, oldSecret, oldSettings)
					w.nothingInClear(t)
					for file := range w.tree(t) {
						if !killed && strings.Contains(file, "fjmcp-setup") {
							t.Errorf("step %d: left %s", n, file)
						}
					}
					if _, err := w.run(t, o); err != nil {
						t.Fatalf("step %d: again: %v", n, err)
					}
					w.settledAfter(t, n)
				}
			})
		}
	}
}

// neverMixed: the forge's new secret is in the settings, or pending, or there is none.
func (w *world) neverMixed(t *testing.T, n int, oldID, oldSecret, oldSettings string) {
	t.Helper()
	s, _ := w.new(t, Options{})
	must(t, s.unseal(t.Context()))
	c, pending, err := s.pending(t.Context())
	must(t, err)
	id, secret := w.pair()
	switch {
	case pending && w.good(t, c.ClientID, c.Secret):
	case id == oldID && secret == oldSecret && w.read(settingsFile) == oldSettings:
	case w.good(t, id, secret):
	default:
		t.Errorf("step %d: settings and secret are of two applications, and nothing is pending", n)
	}
}

// settledAfter allows for the file of a killed run, until its name is used again.
func (w *world) settledAfter(t *testing.T, n int) {
	t.Helper()
	w.settled(t, 1)
	if t.Failed() {
		t.Fatalf("after step %d", n)
	}
}

// Two runs at once would each register an application.
func TestOneAtATime(t *testing.T) {
	w := newWorld(t)
	unlock, err := (&files{root: w.root}).lock()
	must(t, err)
	if _, err := w.run(t, w.options(t)); err == nil || !strings.Contains(err.Error(), "another fjmcpctl setup") {
		t.Errorf("got %v", err)
	}
	unlock()
	_, err = w.run(t, w.options(t))
	must(t, err)
}
