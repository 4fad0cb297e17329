// Package cli reads the command line of a program that takes one word at most. What
// is a usage error, and the exit status of it, is so said once for all programs.
package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
)

// ExitUsage is what a program ends with when it cannot make out its command line.
const ExitUsage = 2

// Run does what args, the command line after the program's name, ask for, and returns
// its exit status. ways are the words it may be, "" for none, besides --version and
// --help; options may have one dash as well. usage says what they do.
func Run(name, usage string, args []string, ways map[string]func() int) int {
	word := strings.Join(args, " ")
	if option, ok := strings.CutPrefix(word, "-"); ok {
		word = "--" + strings.TrimPrefix(option, "-")
	}
	switch do, known := ways[word]; {
	case known:
		return do()
	case word == "--version":
		fmt.Println(name, version.String())
		return 0
	case word == "--help", word == "--h":
		fmt.Println("usage:", name, usage)
		return 0
	}
	fmt.Fprintln(os.Stderr, "usage:", name, usage)
	return ExitUsage
}

// Failed says on standard error why the program name cannot do what it was asked to,
// if err is not nil, and returns its exit status.
func Failed(name string, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, name+":", err)
	return 1
}
