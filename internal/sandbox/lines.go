package sandbox

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
)

const (
	keptLines   = 20
	keptLineLen = 500     // bytes of each kept line
	maxLine     = 8 << 10 // longer lines are passed on in pieces
)

// lastLines copies a child's stderr line by line and keeps the end of it.
type lastLines struct {
	mu    sync.Mutex
	lines []string
	done  chan struct{} // closed at the end of the stream
}

// copyLines copies r to w until EOF, colours and control characters removed.
func copyLines(r io.ReadCloser, w io.Writer) *lastLines {
	l := &lastLines{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer r.Close()
		in := bufio.NewReaderSize(r, maxLine)
		for {
			piece, err := in.ReadSlice('\n')
			if line := clean(string(piece)); line != "" {
				l.keep(line)
				io.WriteString(w, line+"\n")
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return
			}
		}
	}()
	return l
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

// clean makes a line fit for the journal, which shows lines with control
// characters as binary data.
func clean(line string) string {
	line = escapes.ReplaceAllString(strings.TrimRight(line, "\r\n"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "\uFFFD"))
}
