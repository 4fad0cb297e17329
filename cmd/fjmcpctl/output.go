package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
)

// printable writes to a terminal what cannot steer it: all that is not printable shows as
// JSON escapes it, so that JSON keeps its meaning. It stands before all output, since a
// broker that was taken over chooses every byte that it answers.
type printable struct{ w io.Writer }

// Write takes whole runes.
func (p printable) Write(text []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(text) {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	if _, err := io.WriteString(p.w, b.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// word returns what may stand in a command that the operator copies into a shell.
func word(s string) string {
	if regexp.MustCompile(`^[A-Za-z0-9@._-]+$`).MatchString(s) {
		return s
	}
	return "…"
}

// printing adds --json to a command; note says what is special about it, if anything.
func (a *app) printing(cmd *cobra.Command, note string) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON"+note)
	return cmd
}

// print prints v, unless err says that there is none: for scripts as one value in one
// line, or what text makes of it for people.
func (a *app) print(cmd *cobra.Command, v any, err error, text func(*bytes.Buffer)) error {
	if err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
	}
	var out bytes.Buffer
	text(&out)
	_, err = out.WriteTo(cmd.OutOrStdout())
	return err
}

// table aligns columns. What others named is cleaned first, so that a row stays a row.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, head ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

func (t table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = audit.Clean(c)
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

// count is "1 session", "2 sessions".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// since is the whole seconds, minutes or hours since then.
func since(then time.Time) string {
	d := max(time.Since(then), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dmin", int(d.Minutes()))
	}
	return fmt.Sprintf("%dh", int(d.Hours()))
}

// clock is a time for people.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// moment is a time for people, with how long ago it was.
func moment(t time.Time) string { return clock(t) + " (" + since(t) + " ago)" }
