package cli

import (
	"errors"
	"testing"
)

func TestRun(t *testing.T) {
	ways := map[string]func() int{"": func() int { return 10 }, "apply": func() int { return 11 }, "--check": func() int { return 12 }}
	for _, tt := range []struct {
		args []string
		want int
	}{
		{nil, 10},
		{[]string{"apply"}, 11},
		{[]string{"--check"}, 12},
		{[]string{"-check"}, 12},
		{[]string{"--version"}, 0},
		{[]string{"--help"}, 0},
		{[]string{"-h"}, 0},
		{[]string{"check"}, ExitUsage},
		{[]string{"--apply"}, ExitUsage},
		{[]string{"---check"}, ExitUsage},
		{[]string{"appl"}, ExitUsage},
		{[]string{"apply", "now"}, ExitUsage},
		{[]string{"--version", "--check"}, ExitUsage},
	} {
		if got := Run("x", "[apply | --check]", tt.args, ways); got != tt.want {
			t.Errorf("%q: exit status %d, want %d", tt.args, got, tt.want)
		}
	}
}

func TestFailed(t *testing.T) {
	if got := Failed("x", nil); got != 0 {
		t.Errorf("no error: %d", got)
	}
	if got := Failed("x", errors.New("it rains")); got != 1 {
		t.Errorf("an error: %d", got)
	}
}
