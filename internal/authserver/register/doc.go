// Package register is where OAuth clients come and go: they register
// themselves (RFC 7591), read and delete their registration (RFC 7592).
//
// A registration cannot be changed: users agreed to the redirect URIs in it.
package register
