// Package authserver is the OAuth 2.1 authorization server: metadata,
// registration, tokens, revocation, and the bearer check for the resource
// server. Whoever gets past it acts as a user at the forge.
//
// All URLs are made from the public URL, never from a request's Host.
//
// Access tokens are checked without asking the database for each request
// (AccessCache). A revocation is seen at once when this process made it, and
// within AccessMaxAge when another process that shares the database did.
package authserver
