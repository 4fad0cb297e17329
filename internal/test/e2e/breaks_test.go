package e2e

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// broken is one way in which an operator breaks an installed system by accident, or has it
// broken by others, and what everybody is told then. A text is what stands in what is
// said: its parts, with " … " between them, in that order. An empty one means that nothing
// is wrong. Every row is one of docs/operations.md, see TestBreaksAreDocumented.
type broken struct {
	what  string
	begin step
	mend  step // may be nil
	// cure says what mends it. What stands in backticks are commands, which are run in that
	// order, after mend.
	cure string

	login, call string // what a client is told at a new login, and at a call in a session that runs
	exit        int    // of fjmcpctl status
	status      string // what that prints
	// doctor is what fjmcpctl doctor prints, where that is not what the status does; it
	// exits as that, or with 1 where it is worse.
	doctor  string
	worse   bool
	ready   string // what /readyz answers with its 503, or noAnswer
	journal string
	again   bool // who was logged in has to log in again
}

// step does something to an installed system.
type step func(*testing.T, *bench)

func sh(script string) step {
	return func(t *testing.T, b *bench) {
		t.Helper()
		_, err := b.C.Shell(t.Context(), script)
		must(t, err)
	}
}

// commands are what stands in backticks.
var commands = regexp.MustCompile("`([^`]+)`")

// breaks are all of them.
func breaks() []broken { return slices.Concat(brokerBreaks, policyBreaks, sessionBreaks, forgeBreaks) }

// TestE2EBreaks breaks one installed system in every way that there is, looks at what is
// said, mends it as the row says, and wants it healthy again.
func TestE2EBreaks(t *testing.T) {
	b := newBench(t)
	for _, row := range breaks() {
		t.Run(row.what, func(t *testing.T) { b.endure(t, row) })
		if b.ill {
			t.Fatalf("not healthy after %q; the others are not tried", row.what)
		}
	}
}

func (b *bench) endure(t *testing.T, row broken) {
	b.ill = true // unless it comes to its end
	b.healthy(t)
	b.since = b.cursor(t)
	mend := sync.OnceFunc(func() {
		if row.mend != nil {
			row.mend(t, b)
		}
		for _, command := range commands.FindAllStringSubmatch(row.cure, -1) {
			sh(command[1])(t, b)
		}
	})
	defer mend()
	row.begin(t, b)
	b.checkStatus(t, row)
	b.checkReady(t, row)
	b.checkTold(t, "a login", row.login, b.logIn(t))
	b.checkTold(t, "a call", row.call, b.call(t))
	b.checkDoctor(t, row) // which knows what has met a user as well
	b.checkJournal(t, row)
	b.checkQuiet(t)
	mend()
	b.ill = !b.healthy(t)
	if row.again {
		b.connect(t)
	}
	b.checkTold(t, "a login after the cure", "", b.logIn(t))
	b.checkTold(t, "a call after the cure", "", b.call(t))
}

// has reports whether the parts of want stand in said, in that order.
func has(said, want string) bool {
	for part := range strings.SplitSeq(want, " … ") {
		_, rest, found := strings.Cut(said, part)
		if !found {
			return false
		}
		said = rest
	}
	return true
}

// checkStatus waits for the status that should be: what is wrong is found out now and
// then.
func (b *bench) checkStatus(t *testing.T, row broken) bool {
	t.Helper()
	return b.until(t, "fjmcpctl status", fmt.Sprintf("exit status %d … %s", row.exit, row.status), func() string {
		r := b.status(t)
		return fmt.Sprintf("exit status %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	})
}

// ofDoctor is what the doctor's words and exit status should be.
func (r broken) ofDoctor() (exit int, words string) {
	if exit = r.exit; r.worse {
		exit = 1
	}
	return exit, cmp.Or(r.doctor, r.status)
}

func (b *bench) checkDoctor(t *testing.T, row broken) {
	t.Helper()
	exit, words := row.ofDoctor()
	b.until(t, "fjmcpctl doctor", fmt.Sprintf("exit status %d … %s", exit, words), func() string {
		r, err := b.C.Exec(t.Context(), nspawn.Cmd{Argv: []string{"fjmcpctl", "doctor"}})
		must(t, err)
		return fmt.Sprintf("exit status %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	})
}

func (b *bench) checkReady(t *testing.T, row broken) bool {
	t.Helper()
	want := "200 "
	if row.ready == noAnswer {
		want = noAnswer
	} else if row.ready != "" {
		want = "503 … " + row.ready
	}
	return b.until(t, "/readyz", want, func() string { return b.ready(t) })
}

func (b *bench) checkJournal(t *testing.T, row broken) {
	t.Helper()
	b.until(t, "the journal", row.journal, func() string { return strings.Join(b.said(t), "\n") })
}

// until waits until something says what is wanted, and wants no secret in it.
func (b *bench) until(t *testing.T, what, want string, say func() string) bool {
	t.Helper()
	said := say()
	for end := time.Now().Add(patience); !has(said, want) && time.Now().Before(end); said = say() {
		time.Sleep(200 * time.Millisecond)
	}
	if !has(said, want) {
		t.Errorf("%s says\n%s\nwant %q in it", what, said, want)
	}
	b.noSecret(t, what, said)
	return has(said, want)
}

// patience is with what is found out now and then.
const patience = roundTimeout

// checkTold wants a client to be told what it can use, and nothing of the inside.
func (b *bench) checkTold(t *testing.T, what, want string, err error) {
	t.Helper()
	said := ""
	if err != nil {
		said = err.Error()
	}
	if (said == "") != (want == "") || !has(said, want) {
		t.Errorf("%s is told %q, want %q", what, said, want)
	}
	for _, word := range unspoken {
		if strings.Contains(said, word) && !strings.Contains(want, word) {
			t.Errorf("%s is told of %q: %s", what, word, said)
		}
	}
	b.noSecret(t, what, said)
}

// Bounds of what one break may cause, and of what it may cause each time that monitoring
// and an operator look.
const (
	mostLines    = 60
	mostRestarts = 2
	looks        = 20
	mostOfLooks  = 5 // of something that happened to come meanwhile
)

// checkQuiet looks again and again, which is not to be told each time, nor is it to have
// anything restarted.
func (b *bench) checkQuiet(t *testing.T) {
	t.Helper()
	first := b.said(t)
	for range looks {
		b.ready(t)
		b.status(t)
	}
	all := b.said(t)
	restarts := strings.Count(strings.Join(all, "\n"), "Scheduled restart job")
	if more := len(all) - len(first); len(all) > mostLines || restarts > mostRestarts || more > mostOfLooks {
		t.Errorf("%d lines in the journal, %d of them at %d looks; %d restarts:\n%s", len(all), more, looks, restarts, strings.Join(all, "\n"))
	}
}

const noAnswer = "no answer"

func (b *bench) status(t *testing.T) nspawn.Result {
	t.Helper()
	r, err := b.C.Exec(t.Context(), nspawn.Cmd{Argv: []string{"fjmcpctl", "status"}})
	must(t, err)
	return r
}

// ready is the status and the body of /readyz, or noAnswer.
func (b *bench) ready(t *testing.T) string {
	t.Helper()
	resp, err := b.HTTP().Get(PublicURL + "/readyz")
	if err != nil {
		return noAnswer
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return fmt.Sprintf("%d %s", resp.StatusCode, text)
}

// healthy waits until nothing is wrong any more, and reports whether that is so.
func (b *bench) healthy(t *testing.T) bool {
	t.Helper()
	return b.checkStatus(t, broken{}) && b.checkReady(t, broken{})
}
