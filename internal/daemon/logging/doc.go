// Package logging makes the slog.Logger of a daemon: lines with a syslog
// priority prefix for the journal (sd-daemon(3)), lines with a time elsewhere.
//
// Only the programs in cmd, and package audit, import it.
package logging
