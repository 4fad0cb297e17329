// Package register is where OAuth clients come and go: they register
// themselves (RFC 7591), read and delete their registration (RFC 7592), and the
// operator adds, lists and removes them.
//
// A registration cannot be changed: users agreed to the redirect URIs in it.
//
// It imports oauth, store, clientmeta, admin, audit and web. Package authserver
// mounts it.
package register
