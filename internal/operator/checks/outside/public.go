package outside

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

const (
	publicTimeout = 3 * time.Second
	maxMetadata   = 64 << 10 // bytes
)

// PublicURL fetches the authorization server's metadata at the public URL, as each client
// does first, and compares the issuer (RFC 8414 §3.3). No answer is a warning: the way from
// here may be another than users'. A name that does not exist, or another's answer, is a
// failure. roots are CAs beside the system's.
func PublicURL(public *url.URL, roots *x509.CertPool) health.Check {
	dialer := &localhost.Dialer{Dialer: net.Dialer{Timeout: publicTimeout}}
	client := &http.Client{
		Timeout:       publicTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
	}
	document := *public
	document.Path = "/.well-known/oauth-authorization-server" + public.Path
	return health.Check{
		Name: "public-url", Every: 10 * time.Minute, Fresh: 10 * time.Second,
		Run: func(ctx context.Context) error {
			status, issuer, err := fetchIssuer(ctx, client, document.String())
			return judgePublic(public.String(), status, issuer, err)
		},
	}
}

func fetchIssuer(ctx context.Context, client *http.Client, document string) (status int, issuer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, document, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var metadata struct{ Issuer string }
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxMetadata)).Decode(&metadata) // no issuer is another one
	return resp.StatusCode, metadata.Issuer, nil
}

func judgePublic(want string, status int, issuer string, err error) error {
	var unknown *net.DNSError
	fails := func(fault health.Fault, format string, args ...any) error {
		return &health.Problem{Fault: fault, Cause: fmt.Sprintf(format, args...)}
	}
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return fails(health.PublicURLWrong, "the name of FJMCP_BROKER_PUBLIC_URL=%s does not exist", want)
	case err != nil:
		return &health.Problem{Fault: health.PublicURLSilent, Warning: true,
			Cause: fmt.Sprintf("%s cannot be reached from this machine: %v", want, innermost(err))}
	case status >= 500:
		return fails(health.PublicURLProxy, "%s answers %d: the proxy there does not reach the broker", want, status)
	case status != http.StatusOK || issuer == "":
		return fails(health.PublicURLWrong, "what answers at %s is not this broker (HTTP %d)", want, status)
	case issuer != want:
		return fails(health.PublicURLWrong, "the broker at %s calls itself another name", want)
	}
	return nil
}

// innermost leaves out what only repeats the URL.
func innermost(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
