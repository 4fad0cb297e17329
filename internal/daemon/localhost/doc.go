// Package localhost says by its name whether a host is this machine, and makes names
// under ".localhost" reach it, as RFC 6761 §6.3 wants. The C library's resolver may
// ask DNS for them or answer that they do not exist, and Go's own resolver does the
// same; a forge at http://forgejo.localhost:3000 would then be out of reach.
package localhost
