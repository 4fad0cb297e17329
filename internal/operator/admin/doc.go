// Package admin is the operator's side door: HTTP and JSON over a unix socket
// that only root and group fjmcp may open, and the client fjmcpctl uses.
package admin
