package main

import (
	"fmt"
	"strings"
)

// show prints a command and its output; of the long exposure report only the
// verdict.
func show(argv []string, out string) {
	fmt.Printf("\n# %s\n", strings.Join(argv, " "))
	if argv[0] != "systemd-analyze" {
		fmt.Print(out)
		return
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	fmt.Println(lines[len(lines)-1])
}
