package client

import (
	"strings"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// Error is a launcher's refusal. Its text is for the operator's journal, never
// for a client. errors.Is(err, ErrGone) holds for code gone.
type Error struct {
	Code    launchproto.Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// Is makes CodeGone match ErrGone.
func (e *Error) Is(target error) bool {
	return target == ErrGone && e.Code == launchproto.CodeGone
}

// LimitsError says that not so many sessions can live at once. Each fault is a sentence
// for the operator.
type LimitsError struct{ Faults []string }

func (e *LimitsError) Error() string { return strings.Join(e.Faults, "; ") }
