package policy

import (
	"bytes"
	"errors"
	"sort"

	"github.com/pelletier/go-toml/v2/unstable"
)

// expressions reads a file's expressions, those too that follow a faulty one. The library
// reads no more than one expression at a time, so that it can be told to go on elsewhere.
type expressions struct {
	text  []byte
	lines []int // where each line begins
	at    int   // where the parser's text begins
	ended int   // the line, from 1, on which the last good expression ended; 0 for none
	unstable.Parser
}

func newExpressions(text []byte) *expressions {
	e := &expressions{text: text, lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			e.lines = append(e.lines, i+1)
		}
	}
	e.Reset(text)
	return e
}

// line is that of a range of the parser's text, from 1.
func (e *expressions) line(r unstable.Range) int { return e.lineAt(e.at + int(r.Offset)) }

func (e *expressions) lineAt(offset int) int {
	offset = max(0, min(offset, len(e.text)-1)) // a fault may be at the end
	return sort.Search(len(e.lines), func(i int) bool { return e.lines[i] > offset })
}

// each calls good with each expression and bad with each fault of syntax.
func (e *expressions) each(good func(*unstable.Node), bad func(line int, what string)) {
	for {
		for e.NextExpression() {
			n := e.Expression()
			e.ended = e.lastLine(n)
			good(n)
		}
		var fault *unstable.ParserError
		if !errors.As(e.Error(), &fault) {
			return
		}
		line := e.line(e.Range(fault.Highlight))
		bad(line, fault.Message)
		if !e.resume(line) {
			return
		}
	}
}

// lastLine is where the expression ends.
func (e *expressions) lastLine(n *unstable.Node) int {
	r := n.Raw
	if n.Kind != unstable.KeyValue {
		for key := n.Key(); key.Next(); {
			r = key.Node().Raw
		}
	}
	return e.line(unstable.Range{Offset: r.Offset + r.Length - 1})
}

// resume goes on at the next line that looks like the beginning of an expression, which
// may be the faulty line itself, where the one before was left open.
func (e *expressions) resume(faulty int) bool {
	line := e.ended + 1 // where the faulty expression begins
	for line < faulty && !e.hasContent(line) {
		line++
	}
	for line = max(line+1, faulty); line <= len(e.lines); line++ {
		if begins(e.lineText(line)) {
			e.ended, e.at = line-1, e.lines[line-1]
			e.Reset(e.text[e.at:])
			return true
		}
	}
	return false
}

func (e *expressions) hasContent(line int) bool {
	text := bytes.TrimSpace(e.lineText(line))
	return len(text) > 0 && text[0] != '#'
}

func (e *expressions) lineText(line int) []byte {
	end := len(e.text)
	if line < len(e.lines) {
		end = e.lines[line]
	}
	return e.text[e.lines[line-1]:end]
}

// begins reports whether a line looks as if it began an expression, and were none of a list.
func begins(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	key, _, assigned := bytes.Cut(line, []byte("="))
	return bytes.HasPrefix(line, []byte("[")) || assigned && isMadeOf(string(bytes.TrimRight(key, " \t")), nameChars, len(line))
}
