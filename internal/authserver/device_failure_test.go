package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// Forgejo fails when the browser comes back from it: the page leads on once that is over,
// and the device gets its tokens.
func TestForgeDownDuringADevicesLogin(t *testing.T) {
	for _, path := range []string{fakeforge.UserinfoPath, fakeforge.IntrospectPath} {
		w := newDeviceWorld(t)
		d, b := w.ask(""), newBrowser()
		there := w.deviceAtForge(b, d, "alice")
		w.must(w.forge.Inject(fakeforge.Fault{Path: path, Kind: "status", Status: 502}))
		page := w.do(b, w.request(http.MethodGet, there, ""))
		if page.StatusCode != http.StatusServiceUnavailable || !strings.Contains(page.body, "Forgejo does not answer") || strings.Contains(page.body, "Back to the application") {
			t.Errorf("%d %s", page.StatusCode, page.body)
		}
		w.forge.ClearFaults()
		if a := w.do(b, w.request(http.MethodGet, page.link(t, "Try again"), "")); !strings.Contains(a.body, "The device is connected") {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
		if a := d.wait(); a.StatusCode != 200 {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
		if !strings.Contains(w.trail.String(), `FJMCP_OUTCOME=down FJMCP_DETAIL="by a code: `) {
			t.Errorf("the trail:\n%s", w.trail)
		}
	}
}

// A login that takes longer than the code lives leads nowhere, and leaves nothing.
func TestDevicesLoginTakesTooLong(t *testing.T) {
	w := newDeviceWorld(t)
	d, b := w.ask(""), newBrowser()
	there := w.deviceAtForge(b, d, "alice")
	w.advance(11 * time.Minute)
	if a := w.do(b, w.request(http.MethodGet, there, "")); a.StatusCode != 400 || !strings.Contains(a.body, "This code is over") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if n := w.keptTokens() + w.count("SELECT COUNT(*) FROM logins") + w.count("SELECT COUNT(*) FROM grants"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	d.poll().wantError(t, 400, "expired_token", "")
}

// A blocked user connects no device, at whatever stage; one whose logins were ended has to
// begin anew.
func TestBlockedUsersConnectNoDevice(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	b := newBrowser()
	there := w.deviceAtForge(b, d, "alice")
	w.block()
	if a := w.do(b, w.request(http.MethodGet, there, "")); a.StatusCode != 403 || !strings.Contains(a.body, "Your account is blocked here") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	d.poll().wantError(t, 400, "authorization_pending", "")
	if n := w.keptTokens(); n != 0 {
		t.Errorf("%d token sets are stored", n)
	}
	w.must(w.store.UnblockUser(t.Context(), aliceNumber))

	agreed := w.ask(d.client)
	agreed.agree()
	w.block()
	agreed.poll().wantError(t, 400, "invalid_grant", "")
	w.must(w.store.UnblockUser(t.Context(), aliceNumber))
	agreed.wait().wantError(t, 400, "invalid_grant", "")

	began := w.ask(d.client)
	there = w.deviceAtForge(b, began, "alice")
	w.revoke()
	if a := w.do(b, w.request(http.MethodGet, there, "")); a.StatusCode != 403 || !strings.Contains(a.body, "This login was ended") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	began.agree()
	if a := began.wait(); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A client that the operator removes while its device waits gets nothing, nor does its user.
func TestRemovedClientsDevice(t *testing.T) {
	w := newDeviceWorld(t)
	first := w.ask("")
	first.agree()
	w.must(w.operator().RemoveClient(t.Context(), first.client))
	first.poll().wantError(t, 401, "invalid_client", "")
	if _, err := w.store.Client(t.Context(), first.client); !errors.Is(err, model.ErrNotFound) {
		t.Fatal(err)
	}
	w.post("/oauth/device_authorization", w.deviceForm(first.client)).wantError(t, 401, "invalid_client", "")
}

// Of many who come back from Forgejo at one time with one code, one has it, and of the
// others nothing is kept.
func TestManyBrowsersFinishAtOnce(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	var browsers []*http.Client
	var there []string
	for range 6 {
		b := newBrowser()
		browsers, there = append(browsers, b), append(there, w.deviceAtForge(b, d, "alice"))
	}
	var connected, over atomic.Int64
	var group sync.WaitGroup
	for i, b := range browsers {
		group.Go(func() {
			switch a := w.do(b, w.request(http.MethodGet, there[i], "")); {
			case strings.Contains(a.body, "The device is connected"):
				connected.Add(1)
			case strings.Contains(a.body, "This code is over"):
				over.Add(1)
			default:
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		})
	}
	group.Wait()
	if connected.Load() != 1 || over.Load() != 5 || w.count("SELECT COUNT(*) FROM grants") != 1 || w.count("SELECT COUNT(*) FROM logins") != 0 {
		t.Errorf("%d are connected, %d are not", connected.Load(), over.Load())
	}
	if a := d.wait(); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A login that Forgejo does not complete begins anew with the code.
func TestForgeRefusesADevicesLogin(t *testing.T) {
	w := newDeviceWorld(t)
	d, b := w.ask(""), newBrowser()
	there := w.deviceAtForge(b, d, "alice")
	spoiled, err := url.Parse(there)
	w.must(err)
	query := spoiled.Query()
	query.Set("code", "another")
	spoiled.RawQuery = query.Encode()
	page := w.do(b, w.request(http.MethodGet, spoiled.String(), ""))
	if page.StatusCode != http.StatusForbidden || page.link(t, "Try again") != w.url+"/device" {
		t.Fatalf("%d %s", page.StatusCode, page.body)
	}
	if a := w.do(b, w.request(http.MethodGet, w.deviceAtForge(b, d, "alice"), "")); !strings.Contains(a.body, "The device is connected") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
