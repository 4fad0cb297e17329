package forgeproxy

import (
	"io"
	"net/http"
)

// probeVersion is what a probe's backend is told that the forge is: forgejo-mcp ends at
// once where it cannot read the version.
const probeVersion = `{"version":"11.0.0+gitea-1.22.0"}`

// probe answers in the forge's place. path is r's below the forge's.
func (p *Proxy) probe(w http.ResponseWriter, r *http.Request, path string) {
	if r.Method != http.MethodGet || path != "/api/v1/version" {
		p.refuse(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, probeVersion) // fails only when the backend has gone
}
