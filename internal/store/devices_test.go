package store_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func ask(t *testing.T, s *store.Store, client string, now time.Time) store.DeviceRequest {
	t.Helper()
	d := store.DeviceRequest{ID: model.NewID(), ClientID: client, Requested: model.ScopeRead, Address: "192.0.2.1", CreatedAt: now, ExpiresAt: now.Add(time.Minute), Interval: 5}
	must(t, s.CreateDeviceRequest(t.Context(), d, "fjd_code", "WDJBMJHT"))
	return d
}

// A user code is no plain hash, which could be turned back within minutes, and is found
// under an older key as long as there is one.
func TestUserCodesAreKeyed(t *testing.T) { teststore.Both(t, testUserCodesAreKeyed) }

func testUserCodesAreKeyed(t *testing.T) {
	path, now := teststore.Path(t), time.UnixMilli(time.Now().UnixMilli()).UTC()
	want := ask(t, openAt(t, path, "o", nil), "client", now)
	text := onDisk(t, path)
	for _, hidden := range []string{"WDJBMJHT", "fjd_code", string(model.Hash("WDJBMJHT"))} {
		if bytes.Contains(text, []byte(hidden)) {
			t.Errorf("the files have %q", hidden)
		}
	}
	if !bytes.Contains(text, model.Hash("fjd_code")) {
		t.Error("the device code is not known by its hash")
	}
	if got, err := openAt(t, path, "no", nil).DeviceRequestOf(t.Context(), "WDJBMJHT"); err != nil || got != want {
		t.Errorf("under the older key: %+v, %v; want %+v", got, err, want)
	}
}

// Between the user's answer and the device's poll nothing but the request needs Forgejo's
// token set, and it is kept.
func TestAgreedDevicesKeepTheTokenSet(t *testing.T) {
	teststore.Both(t, testAgreedDevicesKeepTheTokenSet)
}

func testAgreedDevicesKeepTheTokenSet(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	s := teststore.Open(t, teststore.Path(t), clock)
	l := teststore.LogIn(t, s, "alice", now)
	_, err := s.Disconnect(t.Context(), l.User.ID, "")
	must(t, err)
	must(t, s.PutForgejoTokens(t.Context(), l.User.ID, model.ForgejoTokens{AccessToken: "a", RefreshToken: "r", ExpiresAt: now.Add(time.Hour)}))
	d := ask(t, s, l.Client.ID, now)
	login := store.Login{StateHash: model.Hash("state"), BrowserHash: model.Hash("browser"), ClientID: l.Client.ID, DeviceID: d.ID, ExpiresAt: now.Add(time.Minute)}
	must(t, s.CreateLogin(t.Context(), login))
	grant := model.Grant{ID: model.NewID(), UserID: l.User.ID, ClientID: l.Client.ID, Scope: model.ScopeRead, Requested: model.ScopeRead, CreatedAt: now}
	_, err = s.FinishDeviceLogin(t.Context(), login, grant)
	must(t, err)
	if dropped, err := s.DropUnusedForgejoTokens(t.Context(), l.User.ID); err != nil || dropped {
		t.Errorf("the set was deleted: %v, %v", dropped, err)
	}
	now = now.Add(2 * time.Minute) // the device never came
	if dropped, err := s.DropUnusedForgejoTokens(t.Context(), l.User.ID); err != nil || !dropped {
		t.Errorf("the set stays: %v, %v", dropped, err)
	}
}

// What ends before the device has polled is not given out.
func TestRevokedBeforeThePoll(t *testing.T) { teststore.Both(t, testRevokedBeforeThePoll) }

func testRevokedBeforeThePoll(t *testing.T) {
	now := time.Now()
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	l := teststore.LogIn(t, s, "alice", now)
	d := ask(t, s, l.Client.ID, now)
	login := store.Login{StateHash: model.Hash("state"), BrowserHash: model.Hash("browser"), ClientID: l.Client.ID, DeviceID: d.ID, ExpiresAt: now.Add(time.Minute)}
	must(t, s.CreateLogin(t.Context(), login))
	grant := model.Grant{ID: model.NewID(), UserID: l.User.ID, ClientID: l.Client.ID, Scope: model.ScopeRead, Requested: model.ScopeRead, CreatedAt: now}
	_, err := s.FinishDeviceLogin(t.Context(), login, grant)
	must(t, err)
	if _, err := s.FinishDeviceLogin(t.Context(), login, grant); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("finished twice: %v", err)
	}
	_, err = s.Disconnect(t.Context(), l.User.ID, l.Client.ID)
	must(t, err)
	if _, _, err := s.RedeemDevice(t.Context(), "fjd_code", l.Client, store.Pair{Access: "a"}); !errors.Is(err, model.ErrRevoked) {
		t.Errorf("%v", err)
	}
}
