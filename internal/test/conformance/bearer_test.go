package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
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

// The proxy adds the token, keeps Host, passes each event on as it comes and tells
// the target when the client leaves.
func TestBearer(t *testing.T) {
	left := make(chan struct{})
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s %s %s %q\n", r.Host, r.Header.Get("Origin"), r.Header.Get("Authorization"), r.Header["X-Forwarded-For"])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	}))
	defer target.Close()
	u, err := url.Parse(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(Bearer(u, "secret"))
	defer proxy.Close()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, proxy.URL+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example.com"
	r.Header.Set("Origin", "http://evil.example.com")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := "data: evil.example.com http://evil.example.com Bearer secret []\n"
	if got, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	leave()
	<-left
}
