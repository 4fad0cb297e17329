package nspawn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"
)

// Addresses in the container's network that apt.go serves at.
const (
	mirrorAddress = "127.0.0.1:3142"
	// RepositoryAddress is that of ServeRepository.
	RepositoryAddress = "127.0.0.1:3143"
)

// AddRepository is ServeRepository, and adds it to apt's sources as an operator would: key
// is its public key, armored, and alone is what signs it. The caller runs apt-get update.
func (c *Container) AddRepository(ctx context.Context, files http.Handler, key []byte) (stop func(), err error) {
	const keyFile = "/etc/apt/keyrings/fjmcp-broker.asc"
	source := fmt.Sprintf("Types: deb\nURIs: http://%s/\nSuites: stable\nComponents: main\nSigned-By: %s\n", RepositoryAddress, keyFile)
	err = errors.Join(
		c.WriteFile(keyFile, key, 0o644),
		c.WriteFile("/etc/apt/sources.list.d/fjmcp-broker.sources", []byte(source), 0o644),
	)
	if err != nil {
		return nil, err
	}
	return c.ServeRepository(ctx, files)
}

// ServeRepository serves an apt repository to the container, by HTTP at RepositoryAddress,
// until the function that it returns is called or the container ends.
func (c *Container) ServeRepository(ctx context.Context, files http.Handler) (stop func(), err error) {
	direct := "Acquire::http::Proxy::127.0.0.1 \"DIRECT\";\n" // not by way of AddMirror
	if err := c.WriteFile("/etc/apt/apt.conf.d/50fjmcp-repository", []byte(direct), 0o644); err != nil {
		return nil, err
	}
	return c.serve(ctx, RepositoryAddress, files)
}

// AddMirror lets the container's apt reach the Debian mirrors in its sources.list by way
// of this process, and no other host, until the function that it returns is called or the
// container ends. The caller runs apt-get update.
func (c *Container) AddMirror(ctx context.Context) (stop func(), err error) {
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.URL.Host }}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Scheme != "http" || !strings.HasSuffix(r.URL.Hostname(), ".debian.org") {
			http.Error(w, "only Debian's mirrors are reached from here", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	conf := fmt.Sprintf("Acquire::http::Proxy \"http://%s\";\n", mirrorAddress)
	if err := c.WriteFile("/etc/apt/apt.conf.d/50fjmcp-mirror", []byte(conf), 0o644); err != nil {
		return nil, err
	}
	return c.serve(ctx, mirrorAddress, handler)
}

func (c *Container) serve(ctx context.Context, address string, handler http.Handler) (stop func(), err error) {
	l, err := c.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: handler}
	go func() { _ = s.Serve(l) }()
	return func() { s.Close() }, nil
}
