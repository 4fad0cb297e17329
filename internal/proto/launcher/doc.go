// Package proto/launcher holds the words spoken on the launcher's socket: one JSON
// Request per SOCK_SEQPACKET packet, descriptors beside it by SCM_RIGHTS, one
// JSON Reply. It also holds the grammar of ids, which both sides check.
//
// A request carries ids, choices and descriptors; never a property, a path or a
// command.
package launcher
