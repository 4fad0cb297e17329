// Package client starts, touches and stops sessions: Systemd through
// fjmcp-launcher's socket, Process directly as child processes where systemd is
// not PID 1. Both give fjmcp-session the same contract: the MCP socket as
// descriptor 0, the control socket as descriptor 1, the user's token as
// $CREDENTIALS_DIRECTORY/forgejo-token.
package client
