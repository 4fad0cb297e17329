package policy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Bounds of a file.
const (
	MaxFile   = 1 << 20 // bytes
	maxRules  = 10_000
	maxList   = 1_000 // entries
	maxFaults = 100   // that are told
)

// Error says all that is wrong with a policy.
type Error struct{ Faults []string } // each with its line, what is wrong and what to do

func (e *Error) Error() string { return strings.Join(e.Faults, "; ") }

// Parse reads a policy file. The error is an *Error.
func Parse(text []byte) (*Document, error) {
	if len(text) > MaxFile {
		return nil, &Error{[]string{fmt.Sprintf("line 1: the file has %d bytes of at most %d: merge rules", len(text), MaxFile)}}
	}
	if !utf8.Valid(text) {
		return nil, &Error{[]string{fmt.Sprintf("line %d: the file is not UTF-8: save it as such", invalidLine(text))}}
	}
	p := parser{expressions: newExpressions(bytes.TrimPrefix(text, []byte("\uFEFF"))), names: make(map[string]int), pins: make(map[Subject]pin)}
	p.each(p.expression, p.syntax)
	p.endRule()
	p.endFile()
	if err := p.err(); err != nil {
		return nil, err
	}
	return &p.doc, nil
}

func invalidLine(text []byte) int {
	line := 1
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		text = text[n:]
	}
	return line
}

// parser makes a Document of a file's expressions.
type parser struct {
	*expressions
	doc    Document
	tables int      // how many there were, faulty ones too
	rule   *reading // nil before the first, and within a table that is none
	names  map[string]int
	pins   map[Subject]pin
	faults []fault
}

type fault struct {
	line int
	text string
}

// pin is where a name was pinned to an id.
type pin struct {
	id   int64
	line int
}

func (p *parser) fault(line int, format string, a ...any) {
	p.faults = append(p.faults, fault{line, fmt.Sprintf("line %d: ", line) + fmt.Sprintf(format, a...)})
}

func (p *parser) err() error {
	if len(p.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(p.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	e := &Error{}
	for i, f := range p.faults {
		if i == maxFaults {
			e.Faults = append(e.Faults, fmt.Sprintf("line %d: and %d more faults from here", f.line, len(p.faults)-i))
			break
		}
		e.Faults = append(e.Faults, f.text)
	}
	return e
}

func (p *parser) expression(n *unstable.Node) {
	key, line := p.key(n)
	switch {
	case n.Kind != unstable.KeyValue:
		p.endRule()
		p.table(n.Kind, key, line)
	case p.rule != nil:
		p.rule.set(p, key, line, n.Value())
	case p.tables == 0:
		p.fault(line, "%.100q stands before the first rule: write it below [[%s]] or [[%s]]", key, tableGrant, tableDeny)
	}
}

// syntax notes a fault of it. What else is missing from the rule may have been there.
func (p *parser) syntax(line int, what string) {
	p.fault(line, "%s", what)
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(p.lineText(line)), []byte("[")):
		p.endRule()
		p.tables++
	case p.rule != nil:
		p.rule.broken = true
	}
}

// key is the whole of a dotted one.
func (p *parser) key(n *unstable.Node) (key string, line int) {
	var parts []string
	for k := n.Key(); k.Next(); {
		if len(parts) == 0 {
			line = p.line(k.Node().Raw)
		}
		parts = append(parts, string(k.Node().Data))
	}
	return strings.Join(parts, "."), line
}

// Tables of a file.
const (
	tableGrant = "grant"
	tableDeny  = "deny"
)

func (p *parser) table(kind unstable.Kind, name string, line int) {
	p.tables++
	switch {
	case name != tableGrant && name != tableDeny:
		p.fault(line, "%.100q is no rule: want [[%s]] or [[%s]]", name, tableGrant, tableDeny)
	case kind != unstable.ArrayTable:
		p.fault(line, "[%s] has single brackets: write [[%s]]", name, name)
	default:
		p.rule = &reading{Rule: Rule{Line: line, Deny: name == tableDeny}, seen: make(map[string]int)}
	}
}

// endRule judges the rule as a whole and takes it into the document.
func (p *parser) endRule() {
	if p.rule == nil {
		return
	}
	p.rule.judge(p)
	p.doc.Rules = append(p.doc.Rules, p.rule.Rule)
	p.rule = nil
	if len(p.doc.Rules) == maxRules+1 {
		p.fault(p.doc.Rules[maxRules].Line, "there are more than %d rules: merge some", maxRules)
	}
}

// endFile judges the document as a whole.
func (p *parser) endFile() {
	if !slices.ContainsFunc(p.doc.Rules, func(r Rule) bool { return !r.Deny }) {
		p.fault(1, "there is no [[%s]], so nobody could do anything: write one, or remove the file for no policy", tableGrant)
	}
	if n := p.doc.Compile(nil).everyone.size(); n > MaxBytes {
		p.fault(1, "the rules for everyone take %d bytes of at most %d: merge them, or name owners or patterns in place of repositories", n, MaxBytes)
	}
}
