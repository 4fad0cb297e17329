package forgejo_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

func TestVersion(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	if v, err := w.client.Version(t.Context()); err != nil || v == "" {
		t.Errorf("got %q, %v", v, err)
	}
	for _, fault := range []fakeforge.Fault{{Kind: "status", Status: 502}, {Kind: "html"}, {Kind: "drop"}} {
		fault.Path = fakeforge.APIPath
		if err := w.Inject(fault); err != nil {
			t.Fatal(err)
		}
		v, err := w.client.Version(t.Context())
		var e *forgejo.Error
		if !errors.As(err, &e) || e.Kind != forgejo.Down || v != "" {
			t.Errorf("%s: got %q, %v", fault.Kind, v, err)
		}
		w.ClearFaults()
	}
}

// A forge that shows itself to those who are logged in only is there all the same.
func TestVersionOfAClosedForge(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer s.Close()
	c, err := forgejo.New(forgejo.Config{URL: s.URL, ClientID: "c", ClientSecret: "s", RedirectURL: redirectURL})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.Version(t.Context()); err != nil || v != "" {
		t.Errorf("got %q, %v", v, err)
	}
}
