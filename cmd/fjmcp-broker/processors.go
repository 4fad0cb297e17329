package main

import (
	"os"
	"runtime"
)

// shareProcessors has the broker compute on half of the processors that it may use,
// at least one: a call is carried out by broker and backend in turn, and threads that
// look for work on the others only have to be woken for it (docs/adr/0048). Whoever
// sets GOMAXPROCS in the environment knows better.
func shareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	}
}
