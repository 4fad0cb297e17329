// Package registry holds no code: its test holds server.json, by which the MCP registry
// lists this server, against the registry's own schema. That is taken from the registry's
// Go module, of one version, by the module proxy, and is no part of this project.
package registry
