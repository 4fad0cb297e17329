// Package sandbox is fjmcp-session: the main process of a session unit. It holds
// one user's Forgejo access token, runs an MCP backend (forgejo-mcp) that holds
// none, and is that backend's only way to the forge.
//
//	fd 0 ── MCP socket ◀─── stdout of the backend
//	fd 1 ── control socket ── token pushes, reports, and with the first message
//	        a pipe ───────▶ stdin of the backend
//	backend ── HTTP(S)_PROXY ──▶ proxy (sets Authorization) ──▶ the forge only
//
// This process is undumpable and the backend confined, so that the backend cannot
// get at the token: see package confine.
//
// # Exit status
//
// 0 the backend ended by itself after EOF, or SIGTERM came; 69 the forge is out
// of reach; 70 the backend crashed; 71 no credential or no sandbox; 72 the
// backend is missing, not executable or too old; 77 the forge refused the token;
// 78 faulty configuration. The numbers are those of sysexits.h, which systemctl
// shows by name.
package sandbox
