// Command cmd serves a fake Forgejo (package fakeforge) on loopback, for programs
// that are tried by hand beside it.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:3000", "`address` to serve the forge on")
	flag.Parse()
	if err := serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "fakeforge:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	forge, err := fakeforge.New(fakeforge.Config{})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("a fake forge at http://%s with these accounts:\n", l.Addr())
	for _, u := range fakeforge.DefaultUsers {
		fmt.Printf("  %s, password %s\n", u.Name, u.Password)
	}
	server := &http.Server{Handler: forge, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}
