// Package store keeps clients, users, grants, tokens, logins on their way,
// leases and sessions in one SQLite database, through gorm.
//
// What a bearer could use is stored as a SHA-256 hash. What must be read back
// (Forgejo's tokens, the PKCE verifier of a login, the successor of a rotated
// refresh token, what a process leaves to the next of a session) is sealed, with
// the row's identity as associated data.
//
// Every write is one transaction of package database. Where two callers may meet, the row
// that decides between them is read by takeLocked, and users come before their grants, so
// that nobody waits in a circle. Statements are such that databases other than SQLite take
// them as well. Commits are synchronous: an answer that was given survives a crash.
//
// In SQLite a process has one writing connection, whose transactions begin with BEGIN
// IMMEDIATE, so that read-then-write is atomic over all processes that share the file; and
// a small pool of reading connections, which WAL lets run beside it.
//
// Beneath it, schema holds the tables, sqlite the file, sealed what is under the store key,
// seal the keys, snapshot copies of the file, and clientid the clients that have no row yet.
package store
