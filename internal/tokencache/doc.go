// Package tokencache checks access tokens without asking the database for each
// request. A revocation is seen at once when this process made it, and within
// MaxAge when another process that shares the database did.
//
// It is a service: authserver imports it; it imports store and words.
package tokencache
