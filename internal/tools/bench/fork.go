package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// serveForks is what runs in the container beside the broker: upon each HTTP request it
// starts a program, sends it an MCP initialize request and tells how long the answer
// took, in nanoseconds.
func serveForks(address string, program []string) error {
	child := stdioTarget(program...)
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		took, err := startOnce(context.Background(), child)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, took.Nanoseconds())
	}))
}

// startOnce begins a session and ends it. Only the beginning counts.
func startOnce(ctx context.Context, t target) (time.Duration, error) {
	s, took, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	return took, s.Close()
}
