package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
)

// TestMain makes the test binary, under the name fjmcp-broker, the broker itself
// with a profile of its CPU time and of what it allocated left beside it when it
// ends. docs/benchmarks.md says how to use it.
func TestMain(m *testing.M) {
	self, err := os.Executable()
	if err != nil || filepath.Base(self) != "fjmcp-broker" {
		os.Exit(m.Run())
	}
	code, err := profiled(fmt.Sprintf("%s-%d", self, os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot write a profile:", err)
	}
	os.Exit(code)
}

func profiled(name string) (int, error) {
	cpu, err := os.Create(name + ".cpu")
	if err != nil {
		return 1, err
	}
	defer cpu.Close()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return 1, err
	}
	code := run()
	pprof.StopCPUProfile()
	allocs, err := os.Create(name + ".allocs")
	if err != nil {
		return code, err
	}
	defer allocs.Close()
	return code, pprof.Lookup("allocs").WriteTo(allocs, 0)
}
