package setup

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// terminal is where the operator is asked, if anybody can be.
type terminal struct {
	in   *os.File
	out  io.Writer
	line *bufio.Reader // of in
}

func newTerminal(in *os.File, out io.Writer) *terminal {
	return &terminal{in, out, bufio.NewReader(in)}
}

func (t *terminal) there() bool { return term.IsTerminal(int(t.in.Fd())) }

// ask asks one question; an empty answer stands for fallback.
func (t *terminal) ask(ctx context.Context, question, fallback string) (string, error) {
	if fallback != "" {
		question += " [" + fallback + "]"
	}
	fmt.Fprint(t.out, question+": ")
	answer, err := t.await(ctx, func() (string, error) { return t.line.ReadString('\n') })
	if answer = strings.TrimSpace(answer); answer == "" {
		answer = fallback
	}
	return answer, err
}

// askSecret asks for what is not shown while it is typed.
func (t *terminal) askSecret(ctx context.Context, question string) (string, error) {
	fd := int(t.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(t.out, question+" (not shown): ")
	defer fmt.Fprintln(t.out)
	answer, err := t.await(ctx, func() (string, error) {
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
	if ctx.Err() != nil {
		_ = term.Restore(fd, before) // the reader still waits, without echo
	}
	return strings.TrimSpace(answer), err
}

// await lets an interrupt end a read that nothing else ends.
func (t *terminal) await(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(t.out)
		return "", ctx.Err()
	case r := <-done:
		return r.text, r.err
	}
}

// During says what is going on while do takes its time, and what became of it.
func During(out io.Writer, what string, do func() error) error {
	fmt.Fprint(out, what+" …")
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprint(out, ".")
		case err := <-done:
			word := " done"
			if err != nil {
				word = " failed"
			}
			fmt.Fprintln(out, word)
			return err
		}
	}
}
