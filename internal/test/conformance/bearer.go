package conformance

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// Bearer passes requests to target with a token and changes nothing else: Host and
// Origin stay, answers are passed on as they come, and a client that leaves is
// gone for the target, too.
func Bearer(target *url.URL, token string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.Out.Header.Set("Authorization", "Bearer "+token)
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // clients that left
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Else the server closes the request's body as the answer begins, and a
		// transport that has yet to see its end cuts the answer.
		_ = http.NewResponseController(w).EnableFullDuplex()
		proxy.ServeHTTP(w, r)
	})
}
