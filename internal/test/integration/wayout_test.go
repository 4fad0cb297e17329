package integration

import (
	"net"
	"strings"
	"testing"
)

// A broker without a way out says so, offers no documents, and registers clients.
func TestNoWayOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String() // nobody is to reach further than here
	l.Close()
	w := start(t, "standin", "FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS=on", "FJMCP_BROKER_CLIENT_METADATA_PROXY="+closed)
	w.waitLog(`msg="health check warns" check=client-documents`, 1)
	if !strings.Contains(w.log.String(), "FJMCP_BROKER_CLIENT_METADATA_PROXY") {
		t.Errorf("no cure is named: %s", w.log)
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		if r := w.doAt("GET", path, "", ""); r.status != 200 || strings.Contains(r.body, "client_id_metadata_document_supported") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if _, err := w.register(t.Context()); err != nil {
		t.Error(err)
	}
	if r, err := w.fetch(t.Context(), "GET", w.broker.URL+"/healthz", nil); err != nil || r.status != 200 {
		t.Errorf("a warning makes monitoring fail: %v %d %s", err, r.status, r.body)
	}
}
