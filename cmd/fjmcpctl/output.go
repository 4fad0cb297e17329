package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"
	"golang.org/x/text/width"

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

// Below a head, cells are cut at so many columns of a terminal: the first, an ID to copy,
// and the others, which hold what people and clients call themselves.
const (
	idWidth   = 100
	cellWidth = 48
)

// table aligns columns. What others named is cleaned first, so that a row stays a row, and
// below a head it is cut.
type table struct {
	out  io.Writer
	head bool
	rows [][]string
}

func newTable(out io.Writer, head ...string) *table {
	t := &table{out: out, head: len(head) > 0}
	if t.head {
		t.row(head...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		switch c = audit.Clean(c); {
		case t.head && i == 0:
			c = cut(c, idWidth)
		case t.head:
			c = cut(c, cellWidth)
		}
		cells[i] = c
	}
	t.rows = append(t.rows, cells)
}

// Flush prints the rows.
func (t *table) Flush() {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(c))
		}
	}
	for _, row := range t.rows {
		for i, c := range row {
			if i < len(row)-1 {
				c += strings.Repeat(" ", widths[i]+2-columns(c))
			}
			fmt.Fprint(t.out, c)
		}
		fmt.Fprintln(t.out)
	}
}

// columns is how much room a text takes on a terminal: marks on a letter none, what is wide
// in East Asian writing two (UAX #11).
func columns(s string) (n int) {
	for _, r := range s {
		kind := width.LookupRune(r).Kind()
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case kind == width.EastAsianWide, kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// cut shortens a text to so many columns, the last of which says so.
func cut(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	runes := []rune(s)
	for columns(string(runes)) >= most {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// count is "1 session", "2 sessions".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// since is the whole seconds, minutes, hours or days since then; "-" if that never was.
func since(then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return span(time.Since(then))
}

func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dmin", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// clock is a time for people.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// moment is a time for people, with how long ago it was.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return clock(t) + " (" + since(t) + " ago)"
}
