// Package authserver is the OAuth 2.1 authorization server: metadata,
// registration, tokens, revocation, and the bearer check for the resource
// server. Authorization itself is in its package authorize.
//
// All URLs are made from the public URL, never from a request's Host.
//
// It imports oauth, web, store, forgejo, upstream and words. Package gateway and
// cmd/fjmcp-broker import it.
package authserver
