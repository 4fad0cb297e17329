package mcp

import (
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
)

// maxKept bounds what an Outline keeps of a key or an id, in bytes.
const maxKept = 256

// Outline notes what a message is about while its text passes, in pieces: for text
// that is too long to be kept, or no message. What stands before the first fault of
// its form counts. The zero value is ready. Encoded as JSON it continues elsewhere.
type Outline struct {
	ID     []byte // the "id", JSON; nil when there is none, or several
	RPC    bool   // there is a "jsonrpc"
	Method bool   // there is a "method"
	Answer bool   // there is a "result" or an "error"
	Depth  int    // how many containers were open at once, the message's own among them
	IDs    int    // how often "id" stands there

	// Where it is.
	Place   place
	Open    int // containers
	Quoted  bool
	Escaped bool // in a string, after a backslash
	Name    string
	Text    []byte // the beginning of the key or value that is being read
}

type place byte

const (
	atObject place = iota
	atKey
	atColon
	atValue
	inScalar // a number or a literal
	atComma
	atEnd // of the object, or of what can be understood
)

// Write takes the next piece. It never fails.
func (o *Outline) Write(p []byte) (int, error) {
	for i := 0; i < len(p) && o.Place != atEnd; i++ {
		if o.Quoted && !o.Escaped && (o.Open > 1 || len(o.Text) > maxKept) { // nothing of it is kept
			if i = rawjson.SkipPlain(p, i); i == len(p) {
				break
			}
		}
		o.take(p[i])
	}
	return len(p), nil
}

func (o *Outline) take(c byte) {
	switch {
	case o.Quoted:
		o.quoted(c)
	case o.Open > 1:
		o.nested(c)
	default:
		o.member(c)
	}
}

// quoted takes a byte of a string.
func (o *Outline) quoted(c byte) {
	o.keep(c)
	switch {
	case o.Escaped:
		o.Escaped = false
	case c == '\\':
		o.Escaped = true
	case c == '"':
		o.Quoted = false
		o.endString()
	}
}

func (o *Outline) endString() {
	switch {
	case o.Open > 1:
	case o.Place == atKey:
		o.key(strings.ToLower(text(o.Text)))
	default:
		o.endValue()
	}
}

// key notes a member by its name, whose case encoding/json would not mind.
func (o *Outline) key(name string) {
	o.Name, o.Text, o.Place = name, nil, atColon
	o.RPC = o.RPC || name == "jsonrpc"
	o.Method = o.Method || name == "method"
	o.Answer = o.Answer || name == "result" || name == "error"
}

// nested takes a byte inside a container below the object, but outside of strings.
func (o *Outline) nested(c byte) {
	switch c {
	case '"':
		o.Quoted = true
	case '{', '[':
		o.open()
	case '}', ']':
		if o.Open--; o.Open == 1 {
			o.endValue()
		}
	}
}

func (o *Outline) open() {
	o.Open++
	o.Depth = max(o.Depth, o.Open)
}

// member takes a byte of the object itself, outside of strings.
func (o *Outline) member(c byte) {
	inWord := strings.IndexByte(" \t\r\n,:\"{}[]", c) < 0
	if o.Place == inScalar && !inWord {
		o.endValue()
	}
	switch {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
	case o.Place == atObject && c == '{':
		o.open()
		o.Place = atKey
	case c == '"' && (o.Place == atKey || o.Place == atValue):
		o.Quoted = true
		o.keep(c)
	case o.Place == atColon && c == ':':
		o.Place = atValue
	case o.Place == atValue && (c == '{' || c == '['):
		o.open()
	case inWord && (o.Place == atValue || o.Place == inScalar):
		o.Place = inScalar
		o.keep(c)
	case o.Place == atComma && c == ',':
		o.Place = atKey
	default:
		o.Place = atEnd
	}
}

func (o *Outline) keep(c byte) {
	if o.Open == 1 && len(o.Text) <= maxKept {
		o.Text = append(o.Text, c)
	}
}

func (o *Outline) endValue() {
	if o.Name == "id" {
		o.ID, o.IDs = nil, o.IDs+1
		if o.IDs == 1 && len(o.Text) <= maxKept {
			o.ID = o.Text
		}
	}
	o.Name, o.Text, o.Place = "", nil, atComma
}

// Response reports whether a response was meant. JSON that is written for people, such
// as a line of a log, has no "jsonrpc", though it may have an "id" or an "error".
func (o *Outline) Response() bool {
	return o.RPC && (o.Answer || !o.Method) || o.Answer && o.IDs > 0
}

// Request reports whether a request was meant.
func (o *Outline) Request() bool { return o.RPC && o.Method && !o.Answer && o.IDs > 0 }

// TooDeep reports whether more containers are open at once than Parse takes.
func (o *Outline) TooDeep() bool { return o.Depth > rawjson.MaxDepth }
