// Package forgejo is the OAuth client that logs people in at a Forgejo (or
// Gitea): authorization URL, code exchange, refresh, identity, introspection of
// the granted scope, and what every kind of failure there means.
//
// Forgejo's ways differ from the RFCs and between its versions. Decisions are
// made on HTTP status and on the `error` code only, never on message text; the
// table is at classifyRefresh and classifyExchange.
//
// It keeps no state of its own.
package forgejo
