// Package e2e puts the whole system together as an operator would: the built
// Debian package installed in a container that systemd runs, configured through
// /etc/fjmcp, beside a fake forge that listens in the container's network. Its
// tests walk through it with the official Go SDK's client and a scripted
// browser, and then look around.
//
// It needs root and what nspawn.Check names. Environment:
//
//	FJMCP_E2E_DEB            the package to install; `make deb` builds one if unset
//	FJMCP_TEST_FORGEJO_MCP   a forgejo-mcp binary, for the tests that want the real one
//	FJMCP_SOAK               how long to soak, 45s if unset; `make soak` takes half an hour
//	FJMCP_E2E_ABANDONED      how many sessions to begin and leave, 150 if unset; `make abandoned` takes 1000
//	FJMCP_E2E_CROWD          how many sessions live at once, 420 if unset; `make crowd` takes 1000
package e2e
