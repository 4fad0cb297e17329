// Package register is where OAuth clients come and go: they register
// themselves (RFC 7591), read and delete their registration (RFC 7592).
//
// A registration cannot be changed: users agreed to the redirect URIs in it.
//
// It imports oauth, store, clientmeta, admin, audit and web. Package authserver
// mounts it.
package register
