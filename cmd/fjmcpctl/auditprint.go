package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
)

// auditColumns are what a line has of an event. What is longer than its column takes more
// room, so that a line is written as its event comes; what is above cellWidth is cut.
var auditColumns = []struct {
	head  string
	width int
	of    func(journal.Event) string
}{
	{"TIME", 23, func(e journal.Event) string { return clock(e.Time) }},
	{"EVENT", 15, func(e journal.Event) string { return string(e.Kind) }},
	{"USER", 12, func(e journal.Event) string { return e.User }},
	{"OUTCOME", 8, func(e journal.Event) string { return e.Outcome }},
	{"TOOL", 18, func(e journal.Event) string { return cmp.Or(e.Tool, e.Prompt, e.Resource) }},
	{"REPOSITORY", 18, repository},
	{"TOOK", 6, func(e journal.Event) string { return took(e.DurationUsec) }},
	{"CLIENT", 12, func(e journal.Event) string { return e.Client }},
	{"SESSION", 16, func(e journal.Event) string { return e.Session }},
	{"ADDRESS", 15, func(e journal.Event) string { return e.Address }},
	{"DETAIL", 0, detail},
}

// repository is what the arguments name, else what the call touched or, with a question
// mark, may have touched.
func repository(e journal.Event) string {
	if e.Repo != "" && e.Issue != "" {
		return e.Repo + "#" + e.Issue
	}
	all := slices.Clone(e.ReposSeen)
	for _, repo := range e.ReposPossible {
		all = append(all, repo+"?")
	}
	return cmp.Or(e.Repo, strings.ReplaceAll(strings.Join(all, ","), "+?", "+"))
}

func detail(e journal.Event) string {
	text := e.Detail
	if e.Rule != "" {
		text += ", rule " + e.Rule
	}
	if e.Operator != "" {
		text += ", by " + e.Operator
	}
	return strings.TrimPrefix(text, ", ")
}

// took is a duration for people.
func took(usec int64) string {
	d := time.Duration(usec) * time.Microsecond
	switch {
	case d == 0:
		return ""
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// terminalWidth is how many columns standard output has; 0 if it is no terminal.
func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// auditPrinter prints events as they come: lines for people, which end where a terminal
// does, or JSON. What is said between them is a line of its own, in JSON on standard error.
type auditPrinter struct {
	out    *bufio.Writer
	err    io.Writer
	json   bool
	live   bool // each line at once
	width  int
	headed bool
}

func newAuditPrinter(out, err io.Writer) *auditPrinter {
	return &auditPrinter{out: bufio.NewWriter(out), err: err, width: terminalWidth()}
}

func (p *auditPrinter) print(i auditItem) {
	switch {
	case i.note != "" && p.json:
		p.say(i.note)
	case i.note != "":
		p.line("-- " + i.note + " --")
	case p.json:
		_ = json.NewEncoder(p.out).Encode(i.event) // an error comes again at the flush
	default:
		p.event(i.event)
	}
	if p.live {
		_ = p.out.Flush()
	}
}

func (p *auditPrinter) event(e journal.Event) {
	cells := make([]string, len(auditColumns))
	if !p.headed {
		p.headed = true
		for i, c := range auditColumns {
			cells[i] = c.head
		}
		p.row(cells)
	}
	for i, c := range auditColumns {
		cells[i] = cmp.Or(audit.Clean(c.of(e)), "-")
	}
	p.row(cells)
}

func (p *auditPrinter) row(cells []string) {
	var b strings.Builder
	for i, c := range auditColumns {
		text := cells[i]
		if i < len(auditColumns)-1 {
			text = cut(text, cellWidth)
			text += strings.Repeat(" ", max(0, c.width-columns(text))+2)
		}
		b.WriteString(text)
	}
	p.line(b.String())
}

func (p *auditPrinter) line(text string) {
	if p.width > 0 {
		text = cut(text, p.width)
	}
	fmt.Fprintln(p.out, strings.TrimRight(text, " "))
}

func (p *auditPrinter) say(text string) {
	_ = p.out.Flush()
	fmt.Fprintln(p.err, "fjmcpctl:", text)
}

// end says what else has to be known of what was read.
func (p *auditPrinter) end(r *auditReader) {
	if !r.follow && r.shown == 0 && !p.json {
		p.line("-- no events --")
	}
	for _, id := range slices.Sorted(maps.Keys(r.others)) {
		p.say(fmt.Sprintf("%s of another user who was called %s once: --user %s%s shows them",
			count(r.others[id], "event"), audit.Clean(r.filter.User), admin.IDPrefix, word(id)))
	}
	if r.unknown > 0 {
		p.say(count(r.unknown, "event") + " not shown may have touched the repository: they touched more than an event can name")
	}
	for _, doubt := range r.all.Doubts() {
		p.say(doubt)
	}
}
