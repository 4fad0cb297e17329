package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command that there is, is offered, and so is each of its options.
func TestEveryCommandIsCompleted(t *testing.T) {
	complete := func(words ...string) string {
		t.Helper()
		var out bytes.Buffer
		cmd := (&app{socket: "nowhere"}).root()
		cmd.SetArgs(append([]string{cobra.ShellCompNoDescRequestCmd}, words...))
		cmd.SetOut(&out)
		cmd.SetErr(new(bytes.Buffer))
		if err := cmd.Execute(); err != nil {
			t.Errorf("after %q: %v", words, err)
		}
		return "\n" + out.String()
	}
	commands := 0
	var walk func(*cobra.Command, []string)
	walk = func(c *cobra.Command, path []string) {
		offered := complete(append(path, "")...)
		for _, sub := range c.Commands() {
			commands++
			if !strings.Contains(offered, "\n"+sub.Name()+"\n") {
				t.Errorf("after %q there is no %s", path, sub.Name())
			}
			walk(sub, append(path[:len(path):len(path)], sub.Name()))
		}
		offered = complete(append(path, "--")...)
		for _, m := range option.FindAllStringSubmatch(c.LocalFlags().FlagUsages(), -1) {
			if !strings.Contains(offered, "\n--"+m[1]) {
				t.Errorf("after %q there is no --%s", path, m[1])
			}
		}
	}
	walk((&app{}).root(), nil)
	if commands < 12 {
		t.Errorf("only %d commands were found", commands)
	}
}

// A broker that was taken over names its sessions as it likes; what the shell then puts
// into the command line must be no command.
func TestOffersAreWords(t *testing.T) {
	var o offers
	for _, id := range []string{"aa11", "$(reboot)", "a b", "a;b", "a\tb", "a\nb", ""} {
		o.add(id, "$(reboot)\tx")
	}
	if len(o) != 1 || o[0] != "aa11\t…" {
		t.Errorf("offered is %q", o)
	}
}
