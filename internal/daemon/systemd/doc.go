// Package systemd is fjmcp's side of the service manager's contract with a
// service: sockets inherited through activation (sd_listen_fds(3)), readiness
// and state (sd_notify(3)) and the watchdog (sd_watchdog_enabled(3)).
//
// It holds no bus connection.
package systemd
