// Package store keeps clients, users, grants, tokens, logins on their way,
// leases and sessions in one SQLite database, through gorm.
//
// What a bearer could use is stored as a SHA-256 hash. What must be read back
// (Forgejo's tokens, the PKCE verifier of a login, the successor of a rotated
// refresh token, what a process leaves to the next of a session) is sealed, with
// the row's identity as associated data.
//
// Every process has one writing connection, whose transactions begin with
// BEGIN IMMEDIATE, so that read-then-write is atomic over all processes that
// share the file; and a small pool of reading connections, which WAL lets run
// beside it. Commits are synchronous: an answer that was given survives a crash.
//
// Packages schema and sqlite beneath it hold the tables and the connections, seal the
// keys, and clientid the clients that have no row yet.
package store
