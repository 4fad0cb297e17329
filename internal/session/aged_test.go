package session_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// A session that is too old serves nobody, also when it cannot be ended; then the log
// says why.
func TestASessionThatIsTooOld(t *testing.T) {
	const said = "cannot end a session that is too old"
	w := start(t, "standin")
	first, second := w.begin(w.access), w.begin(w.access)
	w.advance(w.cfg.MaxAge)
	get := func(id string) {
		t.Helper()
		if s, err := w.Get(t.Context(), id, w.access); !errors.Is(err, model.ErrNotFound) {
			t.Errorf("got %v, %v", s, err)
		}
	}
	get(first.ID())
	if _, err := w.store.Session(t.Context(), first.ID()); !errors.Is(err, model.ErrNotFound) || strings.Contains(w.log.String(), said) {
		t.Errorf("it was not ended: %v", err)
	}
	w.must(w.store.Close())
	get(second.ID())
	if !strings.Contains(w.log.String(), said) {
		t.Error("nobody hears that it could not be ended")
	}
}
