// Command fakeforge serves a fake Forgejo for `make run`, the demo and the
// container test.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

type options struct {
	listen, url, control                string
	clientID, clientSecret, redirectURI string
	profile, tlsCert, tlsKey            string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "testforge: "+err.Error())
		os.Exit(2)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("testforge", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:3000", "`address` to serve the forge on")
	flags.StringVar(&o.url, "url", "", "public `URL`; empty means the host of each request")
	flags.StringVar(&o.control, "control-listen", "", "`address` to serve the control API on, or unix:PATH; empty means none")
	flags.StringVar(&o.clientID, "client-id", "fjmcp", "client `id` of the OAuth application")
	flags.StringVar(&o.clientSecret, "client-secret", "", "its `secret`; a test's secret, visible to every local user")
	flags.StringVar(&o.redirectURI, "redirect-uri", "", "its redirect `URI`; empty registers no application")
	flags.StringVar(&o.profile, "profile", fakeforge.Forgejo15.Name, "`version` to imitate: "+profileNames())
	flags.StringVar(&o.tlsCert, "tls-cert", "", "PEM certificate `file`, for https")
	flags.StringVar(&o.tlsKey, "tls-key", "", "PEM key `file`, for https")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: testforge [flags]\n\nServes a fake Forgejo, in memory, with these accounts:")
		for _, u := range fakeforge.DefaultUsers {
			fmt.Fprintf(flags.Output(), "  %s, password %s\n", u.Name, u.Password)
		}
		fmt.Fprintln(flags.Output(), "\nFlags:")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("cannot use the argument %q", flags.Arg(0))
	case o.redirectURI != "" && o.clientSecret == "":
		return o, errors.New("cannot register an application without --client-secret")
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return o, errors.New("cannot serve https without both --tls-cert and --tls-key")
	}
	return o, nil
}

func profileNames() string {
	names := make([]string, 0, len(fakeforge.Profiles))
	for _, p := range fakeforge.Profiles {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func profileByName(name string) (fakeforge.Profile, error) {
	for _, p := range fakeforge.Profiles {
		if p.Name == name {
			return p, nil
		}
	}
	return fakeforge.Profile{}, fmt.Errorf("cannot find the profile %q; there are %s", name, profileNames())
}

func run(args []string) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	forge, err := newForge(o)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	if o.control != "" {
		if _, err := serve(o.control, forge.Control(), "", "", failed); err != nil {
			return err
		}
	}
	address, err := serve(o.listen, forge, o.tlsCert, o.tlsKey, failed)
	if err != nil {
		return err
	}
	fmt.Println("testforge ready on " + address)
	return <-failed
}

func newForge(o options) (*fakeforge.Forge, error) {
	profile, err := profileByName(o.profile)
	if err != nil {
		return nil, err
	}
	forge, err := fakeforge.New(fakeforge.Config{URL: o.url, Profile: profile})
	if err != nil || o.redirectURI == "" {
		return forge, err
	}
	_, err = forge.Register(fakeforge.App{Name: "fjmcp", ClientID: o.clientID, ClientSecret: o.clientSecret, RedirectURIs: []string{o.redirectURI}})
	return forge, err
}

// serve starts serving and returns the address it listens on.
func serve(address string, h http.Handler, cert, key string, failed chan<- error) (string, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if cert != "" {
			failed <- server.ServeTLS(l, cert, key)
			return
		}
		failed <- server.Serve(l)
	}()
	return l.Addr().String(), nil
}
