// Package inject is fjmcp-session: the main process of a session unit. It holds
// one user's Forgejo access token, runs an MCP backend (forgejo-mcp) that holds
// none, and is that backend's only way to the forge.
//
//	fd 0 ── MCP stream ──────────────────────▶ stdin and stdout of the backend
//	fd 1 ── control socket ── token pushes, reports
//	backend ── HTTP(S)_PROXY ──▶ proxy (sets Authorization) ──▶ the forge only
//
// # What keeps the token from the backend
//
// This process is undumpable, so that nobody of its own uid reads its memory,
// environment or descriptors through /proc or ptrace. The backend is started
// from an OS thread that has given up, for good, what a backend must not have;
// the backend inherits that, this process's other threads do not:
//
//   - no_new_privs;
//   - Landlock: read and execute below /usr, /lib, /lib64, /bin and of the
//     backend's own file; read below /proc and /sys and of the few files in /etc
//     that libraries look up; a few device nodes. A landlocked process may not
//     ptrace its parent either, not even as root. From ABI 4 on, TCP connections
//     to nothing but the proxy;
//   - seccomp: no sockets but IPv4 and IPv6 (the journal, D-Bus and the egress
//     socket are AF_UNIX), no io_uring (it would go round this filter), no
//     memfd, no ptrace.
//
// Where the kernel has no Landlock, one warning says so and the rest stands.
//
// # Exit status
//
// 0 the backend ended by itself after EOF, or SIGTERM came; 69 the forge is out
// of reach; 70 the backend crashed; 71 no credential or no sandbox; 72 the
// backend is missing, not executable or too old; 77 the forge refused the token;
// 78 faulty configuration. The numbers are those of sysexits.h, which systemctl
// shows by name.
//
// Only cmd/fjmcp-session imports this package.
package inject
