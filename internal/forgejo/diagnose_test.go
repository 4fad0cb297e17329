package forgejo_test

import (
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// What a forge says of its clock and of the redirect URI, and what it leaves open.
func TestDiagnose(t *testing.T) {
	const callback = "https://mcp.example.org/oauth/callback"
	forge := fakeforge.Start(t, fakeforge.Config{}, callback)
	asks := func(secret, redirect string) *forgejo.Client {
		c, err := forgejo.New(forgejo.Config{URL: forge.URL, ClientID: forge.App.ClientID, ClientSecret: secret, RedirectURL: redirect})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := asks(forge.App.ClientSecret, callback)
	for redirect, want := range map[string]bool{callback: true, callback + "/x": false, "http://127.0.0.1/cb": false} {
		if known, err := asks(forge.App.ClientSecret, redirect).KnowsRedirect(t.Context()); known != want || err != nil {
			t.Errorf("%s: %v, %v", redirect, known, err)
		}
	}
	if known, err := asks("wrong", callback+"/x").KnowsRedirect(t.Context()); !known || err == nil {
		t.Errorf("with a wrong secret: %v, %v", known, err)
	}
	forge.Advance(2 * time.Hour)
	if date, err := c.Date(t.Context()); err != nil || time.Until(date) < time.Hour {
		t.Errorf("%v, %v", date, err)
	}
	forge.Stop()
	if _, err := c.Date(t.Context()); err == nil {
		t.Error("a forge that is gone tells the time")
	}
	if known, err := c.KnowsRedirect(t.Context()); !known || err == nil {
		t.Errorf("of a forge that is gone: %v, %v", known, err)
	}
}
