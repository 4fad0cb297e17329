// Package logging makes the slog.Logger of a daemon: lines with a syslog
// priority prefix for the journal (sd-daemon(3)), lines with a time elsewhere.
package logging
