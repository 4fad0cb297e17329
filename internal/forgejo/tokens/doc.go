// Package tokens is the one place that gives out a user's Forgejo access
// token. It keeps the token set in one of three states:
//
//   - ok: a set is stored, and is refreshed before its access token ends.
//   - down: Forgejo gives no usable answer. The stored set is kept and given out
//     for as long as its access token lives; after that callers get
//     model.ErrForgejoDown.
//   - dead: Forgejo definitely refused the set, which is then deleted. Callers
//     get model.ErrForgejoGrantDead until the user logs in again.
//
// Forgejo rotates refresh tokens with one counter per user and application, so
// at most one refresh runs per user, over all processes that share the store,
// and its result is stored before anyone uses it.
package tokens
