package fakeforge_test

import (
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// A forge that was restored knows no token of before, and counts the same grant from where
// the backup was made.
func TestBackup(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	_, refresh := login(t, s, "alice", "read:user")
	restore := s.Backup()
	before := claims(t, refresh)
	access, _ := login(t, s, "alice", "read:user")
	restore()
	if got := call(t, "GET", s.URL+"/api/v1/user", "", "Authorization", "Bearer "+access).status; got != 401 {
		t.Errorf("a token of before the restore gets %d", got)
	}
	access, refresh = login(t, s, "alice", "read:user")
	after := claims(t, refresh)
	if after["gnt"] != before["gnt"] || after["cnt"] != before["cnt"].(float64)+1 {
		t.Errorf("the grant was %v at the backup, and is %v", before, after)
	}
	if got := call(t, "GET", s.URL+"/api/v1/user", "", "Authorization", "Bearer "+access).status; got != 200 {
		t.Errorf("a token of after the restore gets %d", got)
	}
}

func TestRedirect(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	if err := s.Redirect(s.App.ClientID, callback+"/elsewhere"); err != nil {
		t.Fatal(err)
	}
	if _, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(t.Context(), authorizeURL(s, "read:user", "x", nil)); err == nil {
		t.Error("a redirect URI that is not registered any more works")
	}
	if err := s.Redirect(s.App.ClientID, callback); err != nil {
		t.Fatal(err)
	}
	login(t, s, "alice", "read:user")
	if s.Redirect("nobody", callback) == nil {
		t.Error("no error for an application that is not there")
	}
}
