package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

const (
	keptLines    = 10
	keptLineLen  = 200     // bytes of each kept line
	maxChildLine = 2 << 10 // bytes of a child's line, before it is cleaned

	// childPrefix begins each line of the child's. No line of fjmcp-session's own does.
	childPrefix = "forgejo-mcp: "
)

// lastLines copies a child's stderr line by line and keeps the end of it.
type lastLines struct {
	mu    sync.Mutex
	lines []string
	done  chan struct{} // closed at the end of the stream
}

// copyLines copies r to w until EOF, each line cleaned, cut and marked as the child's.
func copyLines(r io.ReadCloser, w io.Writer) *lastLines {
	l := &lastLines{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer r.Close()
		in := bufio.NewReaderSize(r, maxChildLine)
		for {
			line, err := nextLine(in)
			if line != "" {
				l.keep(line)
				io.WriteString(w, childPrefix+line+"\n")
			}
			if err != nil {
				return
			}
		}
	}()
	return l
}

// nextLine reads a line, of which it returns the beginning, cleaned, and how many bytes
// are missing.
func nextLine(in *bufio.Reader) (string, error) {
	piece, err := in.ReadSlice('\n')
	line := clean(string(piece))
	missing := 0
	for errors.Is(err, bufio.ErrBufferFull) {
		piece, err = in.ReadSlice('\n')
		missing += len(bytes.TrimSuffix(piece, []byte("\n")))
	}
	if missing > 0 {
		line += fmt.Sprintf(" … and %d bytes more", missing)
	}
	return line, err
}

func (l *lastLines) keep(line string) {
	if len(line) > keptLineLen {
		line = strings.ToValidUTF8(line[:keptLineLen], "")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	if len(l.lines) > keptLines {
		l.lines = l.lines[1:]
	}
}

// all returns the kept lines, oldest first.
func (l *lastLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// clean makes a line fit for the journal and for a terminal that shows it: without
// colours, and with U+FFFD for each character that cannot be seen.
func clean(line string) string {
	line = escapes.ReplaceAllString(strings.TrimRight(line, "\r\n"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r), unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			return unicode.ReplacementChar
		}
		return r
	}, line) // which takes invalid UTF-8 for that character, byte by byte
}
