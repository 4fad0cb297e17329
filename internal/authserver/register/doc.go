// Package register is where OAuth clients register themselves (RFC 7591), read and
// delete their registration (RFC 7592). Anybody may, so what is stored is bounded, and
// what no user agreed to makes room first.
//
// A registration cannot be changed: users agreed to the redirect URIs in it.
package register
