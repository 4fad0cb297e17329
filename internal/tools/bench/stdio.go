package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// stdioTarget is the way without anything in between: a child of ours over pipes.
func stdioTarget(command ...string) target {
	return target{"stdio", func(ctx context.Context) (session, time.Duration, error) {
		began := time.Now()
		s := &stdio{cmd: exec.CommandContext(ctx, command[0], command[1:]...), next: firstID}
		s.cmd.WaitDelay = time.Second
		in, err1 := s.cmd.StdinPipe()
		out, err2 := s.cmd.StdoutPipe()
		if err := errors.Join(err1, err2, s.cmd.Start()); err != nil {
			return nil, 0, fmt.Errorf("cannot start the child: %w", err)
		}
		s.in, s.out = in, bufio.NewReaderSize(out, 64<<10)
		_, _, err := checked(s, initialize)
		took := time.Since(began)
		if err == nil {
			_, err = io.WriteString(s.in, initialized+"\n")
		}
		if err != nil {
			return nil, 0, errors.Join(err, s.Close())
		}
		return s, took, nil
	}}
}

// stdio is a session with a child of this process.
type stdio struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	next int
	line []byte // sent
	got  []byte // received
}

// Call implements session.
func (s *stdio) Call(r request) ([]byte, time.Duration, error) {
	s.next++
	s.line = append(r.append(s.line[:0], s.next), '\n')
	start := time.Now()
	if _, err := s.in.Write(s.line); err != nil {
		return nil, 0, err
	}
	for {
		var err error
		if s.got, err = readLine(s.out, s.got[:0]); err != nil {
			return nil, 0, fmt.Errorf("the child ended: %w", err)
		}
		if answers(s.got, s.next) {
			return s.got, time.Since(start), nil
		}
	}
}

// Close implements session.
func (s *stdio) Close() error {
	s.in.Close() // at which the child ends
	return s.cmd.Wait()
}
