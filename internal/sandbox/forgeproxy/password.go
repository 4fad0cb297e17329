package forgeproxy

import (
	"crypto/subtle"
	"encoding/base64"
	"net/http"
)

// The proxy asks for a password, which stands in the backend's environment and opens
// nothing else. On a network that sessions share, any local user can connect to it, and
// before Landlock's ABI 4 the other sessions' backends can.

const proxyUser = "fjmcp"

// authorization is the header of a request that may use the proxy (RFC 7617).
func (p *Proxy) authorization() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+p.key))
}

// known reports whether r comes from the backend.
func (p *Proxy) known(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.Header.Get("Proxy-Authorization")), []byte(p.authorization())) == 1
}

func (p *Proxy) refuseStranger(w http.ResponseWriter, r *http.Request) {
	p.log.Warn("refused a request that does not come from the backend", "method", r.Method)
	w.Header().Set("Proxy-Authenticate", `Basic realm="fjmcp"`)
	http.Error(w, "fjmcp: this is the way of one session to the forge", http.StatusProxyAuthRequired)
}
