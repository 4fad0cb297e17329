// Package ratelimit tells where a request comes from, and when a source has asked
// too often. What goes over a limit is audited once a source and window, so that
// an attack cannot fill the journal.
package ratelimit
