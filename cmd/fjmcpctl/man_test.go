package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
)

// option is one in cobra's list of them.
var option = regexp.MustCompile(`(?m)^ +(?:-\w, |    )--([a-z-]+)`)

// Every exit status that there is, and no other, is in the manual page.
func TestManualPageExitStatuses(t *testing.T) {
	page, err := os.ReadFile("../../packaging/man/fjmcpctl.1")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n.Sh EXIT STATUS\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^\.It (\d+)$`).FindAllStringSubmatch(section, -1) {
		listed = append(listed, m[1])
	}
	want := []string{"0"}
	for _, status := range []int{exitFailure, cli.ExitUsage, exitNotRunning} {
		want = append(want, strconv.Itoa(status))
	}
	if !slices.Equal(listed, want) {
		t.Errorf("the page lists %v, want %v", listed, want)
	}
}

// Every command and every option is in the manual page.
func TestManualPage(t *testing.T) {
	page, err := os.ReadFile("../../packaging/man/fjmcpctl.1")
	if err != nil {
		t.Fatal(err)
	}
	has := func(words string) bool { return strings.Contains(string(page), words) }
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if name := strings.TrimPrefix(c.CommandPath(), "fjmcpctl "); c.Runnable() && !c.HasSubCommands() && !has("\n.It Ic "+name) {
			t.Errorf("there is no %q", name)
		}
		for _, m := range option.FindAllStringSubmatch(c.LocalFlags().FlagUsages(), -1) {
			if !regexp.MustCompile(`Fl (\w , )?-` + m[1] + `\b`).Match(page) {
				t.Errorf("there is no option --%s of %s", m[1], c.CommandPath())
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
}

// Each key of an event in JSON is in the manual page.
func TestManualPageAuditKeys(t *testing.T) {
	page, err := os.ReadFile("../../packaging/man/fjmcpctl.1")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n.Sh JSON\n")
	_, section, _ = strings.Cut(section, "\n.It Ic audit\n")
	section, _, _ = strings.Cut(section, "\n.It ")
	words := strings.FieldsFunc(section, func(r rune) bool { return !(r == '_' || r >= 'a' && r <= 'z') })
	for event, i := reflect.TypeFor[journal.Event](), 0; i < event.NumField(); i++ {
		if key, _, _ := strings.Cut(event.Field(i).Tag.Get("json"), ","); key != "-" && !slices.Contains(words, key) {
			t.Errorf("there is no key %q of an event", key)
		}
	}
}
