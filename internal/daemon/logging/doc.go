// Package logging makes the slog.Logger of a daemon: lines with a syslog
// priority prefix for the journal (sd-daemon(3)), lines with a time elsewhere.
//
// A line holds the attributes too, so that `journalctl -u` shows the cause of an error.
// Handlers that speak the journal's own protocol, such as systemd/slog-journal, make
// fields of them, which it does not show, and drop keys in lower case.
package logging
