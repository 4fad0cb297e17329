package forgejo_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// A change of an application makes another secret, and the former one is dead.
func TestApplications(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	token, err := w.PersonalToken("bob", "write:user")
	if err != nil {
		t.Fatal(err)
	}
	if login, err := w.client.Account(t.Context(), token); login != "bob" || err != nil {
		t.Fatalf("account %q, %v", login, err)
	}
	for n := range 120 { // more than one page
		if _, err := w.client.SaveApplication(t.Context(), token, forgejo.Application{Name: fmt.Sprint("app ", n), RedirectURIs: []string{redirectURL}}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := w.client.Applications(t.Context(), token) // without that of the site
	if err != nil || len(all) != 120 || all[119].Name != "app 119" || all[0].ClientSecret != "" || !all[0].HasRedirect(redirectURL+"/") {
		t.Fatalf("%d applications, %v", len(all), err)
	}
	check := func(id, secret string) error {
		return w.with(t, func(c *forgejo.Config) { c.ClientID, c.ClientSecret = id, secret }).CheckClient(t.Context())
	}
	first, err := w.client.SaveApplication(t.Context(), token, all[0])
	if err != nil || first.ClientID != all[0].ClientID || check(first.ClientID, first.ClientSecret) != nil {
		t.Fatalf("%v, %v", first, err)
	}
	second, err := w.client.SaveApplication(t.Context(), token, all[0])
	if err != nil || check(first.ClientID, first.ClientSecret) == nil || check(second.ClientID, second.ClientSecret) != nil {
		t.Fatalf("%v, %v", second, err)
	}
	if printed := fmt.Sprintf("%v %+v %#v", second, second, &second); strings.Contains(printed, second.ClientSecret) {
		t.Errorf("the secret is printed: %s", printed)
	}
}

// What is wrong with a token is said, without the token.
func TestApplicationsRefused(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	narrow, err := w.PersonalToken("bob", "read:user")
	if err != nil {
		t.Fatal(err)
	}
	app := forgejo.Application{Name: "x", RedirectURIs: []string{redirectURL}}
	for token, want := range map[string]string{"unknown-token": "does not know this token", narrow: "write:user"} {
		_, err := w.client.SaveApplication(t.Context(), token, app)
		if kind(t, err) != forgejo.Denied || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	wide, _ := w.PersonalToken("bob", "write:user")
	app.ID = 4711
	if _, err := w.client.SaveApplication(t.Context(), wide, app); kind(t, err) != forgejo.Down {
		t.Errorf("an application that is not there: %v", err)
	}
}

func kind(t *testing.T, err error) forgejo.Kind {
	t.Helper()
	var e *forgejo.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *forgejo.Error", err)
	}
	return e.Kind
}
