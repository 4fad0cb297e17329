package sandbox

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// lineFor is a line that counts 1 KiB.
var lineFor = []byte(strings.Repeat("x", 1<<10-lineCost-1) + "\n")

// bounded is an Output whose clock stands, until it is advanced.
func bounded(atOnce int) (o *Output, log *bytes.Buffer, advance func(time.Duration)) {
	log = new(bytes.Buffer)
	o, now := NewOutput(log), time.Now()
	o.now = func() time.Time { return now }
	o.Bound(atOnce)
	return o, log, func(d time.Duration) { now = now.Add(d) }
}

// passed writes n lines of 1 KiB, and returns how many came out.
func passed(t *testing.T, o *Output, log *bytes.Buffer, n int) int {
	t.Helper()
	before := bytes.Count(log.Bytes(), lineFor)
	for range n {
		if written, err := o.Write(lineFor); written != len(lineFor) || err != nil {
			t.Fatalf("wrote %d, %v", written, err)
		}
	}
	return bytes.Count(log.Bytes(), lineFor) - before
}

func TestOutputKeepsToItsBudget(t *testing.T) {
	for atOnce, want := range map[int]int{-1: 0, 0: 0, 5 << 10: 5, control.MostOutput: 32, 10 * control.MostOutput: 32} {
		o, log, advance := bounded(atOnce)
		if got := passed(t, o, log, 1000); got != want {
			t.Errorf("given %d bytes, %d lines came out at once, want %d", atOnce, got, want)
		}
		advance(10 * time.Second)
		if got := passed(t, o, log, 1000); got != 10 {
			t.Errorf("given %d bytes, %d lines came out after 10 s, want 10", atOnce, got)
		}
		advance(time.Hour)
		if got := passed(t, o, log, 1000); got != 32 {
			t.Errorf("given %d bytes, %d lines came out after an hour, want 32", atOnce, got)
		}
	}
}

// Short lines count as well: an entry of the journal is never small.
func TestOutputBoundsLines(t *testing.T) {
	o, log, _ := bounded(control.MostOutput)
	for range 10_000 {
		fmt.Fprintln(o, "y")
	}
	if got := strings.Count(log.String(), "y\n"); got < 200 || got > control.MostOutput/lineCost {
		t.Errorf("%d lines came out", got)
	}
}

func TestOutputSaysOnceWhatItLeftOut(t *testing.T) {
	said := func(log *bytes.Buffer) int { return strings.Count(log.String(), "lines_left_out=") }
	o, log, advance := bounded(0)
	passed(t, o, log, 100)
	for range 50 { // a line comes out each second, and 99 do not
		advance(time.Second)
		passed(t, o, log, 100)
	}
	if got := said(log); got != 1 || !strings.Contains(log.String(), fmt.Sprintf("level=WARN msg=\"the session wrote more than its log takes\" lines_left_out=100 bytes_left_out=%d\n", 100*len(lineFor))) {
		t.Errorf("said %d times within a minute:\n%s", got, log)
	}
	advance(11 * time.Second)
	passed(t, o, log, 1)
	if got := said(log); got != 2 || !strings.Contains(log.String(), fmt.Sprint("lines_left_out=", 50*99)) {
		t.Errorf("said %d times within two minutes:\n%s", got, log)
	}
	o.Close()
	if got := said(log); got != 2 {
		t.Error("said at the end what had been said")
	}
	passed(t, o, log, 20)
	o.Close()
	if got := said(log); got != 3 || !strings.HasSuffix(log.String(), fmt.Sprintf("bytes_left_out=%d\n", 10*len(lineFor))) {
		t.Errorf("said %d times at the end:\n%s", got, log)
	}
}

func TestLastLineIsBeyondTheBudget(t *testing.T) {
	o, log, _ := bounded(0)
	fmt.Fprintln(o, "left out")
	fmt.Fprintln(always{o}, "why")
	if log.String() != "why\n" {
		t.Errorf("got %q", log)
	}
}

// journald makes lines of one of 48 KiB, and the second would begin as its writer likes.
func TestLinesAreCut(t *testing.T) {
	long := strings.Repeat("ä", maxLine) + "\n"
	o, log, _ := bounded(control.MostOutput)
	fmt.Fprint(o, long)
	fmt.Fprint(always{o}, long)
	for line := range strings.Lines(log.String()) {
		if len(line) > maxLine+len("…\n") || !strings.HasSuffix(line, "ä…\n") || strings.ToValidUTF8(line, "") != line {
			t.Errorf("%d bytes came out, at the end %q", len(line), line[len(line)-9:])
		}
	}
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("%d lines came out", got)
	}
}

func TestChildLinesAreCleanedAndCut(t *testing.T) {
	for in, want := range map[string]string{
		"plain\tand ünicode 日本\n":               "forgejo-mcp: plain and ünicode 日本\n",
		"<0>wake up\n":                          "forgejo-mcp: <0>wake up\n",
		"level=ERROR msg=\"session failed\"\n":  "forgejo-mcp: level=ERROR msg=\"session failed\"\n",
		"\x1b[1;31mred\x1b[0m\n":                "forgejo-mcp: red\n",
		"\x1b]0;title\x07\x1bc\n":               "forgejo-mcp: \uFFFD]0;title\uFFFD\uFFFDc\n",
		"a\rb\x00c\x7fd\u0085e\u009b31mf\n":     "forgejo-mcp: a\uFFFDb\uFFFDc\uFFFDd\uFFFDe\uFFFD31mf\n",
		"\u202eevil\u2066\u200b\u200d\ufeffx\n": "forgejo-mcp: \uFFFDevil\uFFFD\uFFFD\uFFFD\uFFFDx\n",
		"y\u00ad\u034f\ufe0f\u3164z\u2028q\n":   "forgejo-mcp: y\uFFFD\uFFFD\uFFFD\uFFFDz\uFFFDq\n",
		"raw \x9b31m \xff\xfe\n":                "forgejo-mcp: raw \uFFFD31m \uFFFD\uFFFD\n",
		"\r\n\n\n":                              "",
		"no end":                                "forgejo-mcp: no end\n",
		strings.Repeat("z", 5000) + "\nnext\n":  "forgejo-mcp: " + strings.Repeat("z", 2048) + " … and 2952 bytes more\nforgejo-mcp: next\n",
		strings.Repeat("z", 5000):               "forgejo-mcp: " + strings.Repeat("z", 2048) + " … and 2952 bytes more\n",
	} {
		var log bytes.Buffer
		l := copyLines(readCloser{strings.NewReader(in)}, &log)
		<-l.done
		if log.String() != want {
			t.Errorf("%.40q came out as %.80q, want %.80q", in, log.String(), want)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
