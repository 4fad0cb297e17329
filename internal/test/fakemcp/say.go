package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// sayRequest is a line of any bytes. Its parts are written as Go writes strings, without
// the quotes: JSON cannot carry every byte.
type sayRequest struct {
	Before string `json:"before,omitempty"`
	Unit   string `json:"unit,omitempty"`
	Times  int    `json:"times,omitempty"`
	After  string `json:"after,omitempty"`
	// Answers: the line is said as often, each time with the next number, from 1 on, in
	// place of {id}: one of them answers the call that is in flight.
	Answers int `json:"answers,omitempty"`
}

const sayChunk = 1 << 20 // bytes written at once

// say writes the line past the SDK.
func say(_ context.Context, in sayRequest) (string, error) {
	var parts [3]string
	for i, quoted := range []string{in.Before, in.Unit, in.After} {
		text, err := strconv.Unquote(`"` + quoted + `"`)
		if err != nil {
			return "", fmt.Errorf("part %d: %w", i, err)
		}
		parts[i] = text
	}
	defer fmt.Fprintln(os.Stderr, "said it")
	for id := range max(in.Answers, 1) {
		if err := sayLine(strings.ReplaceAll(parts[0], "{id}", strconv.Itoa(id+1)), parts[1], in.Times, parts[2]); err != nil {
			return "", err
		}
	}
	return "said", nil
}

func sayLine(before, unit string, times int, after string) error {
	if _, err := os.Stdout.WriteString(before); err != nil {
		return err
	}
	at := max(sayChunk/max(len(unit), 1), 1)
	chunk := strings.Repeat(unit, min(at, times))
	for ; times > 0; times -= at {
		if _, err := os.Stdout.WriteString(chunk[:len(unit)*min(at, times)]); err != nil {
			return err
		}
	}
	_, err := os.Stdout.WriteString(after + "\n")
	return err
}
