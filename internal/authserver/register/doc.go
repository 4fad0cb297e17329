// Package register is where OAuth clients register themselves (RFC 7591). Anybody may, so
// nothing is stored: what a client registers stands in the id that it is given, see
// package clientid.
//
// A registration cannot be changed, since users agreed to the redirect URIs in it, nor
// read or deleted (RFC 7592): it has no owner, equal ones have one id.
package register
