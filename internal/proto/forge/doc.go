// Package forge says where the operator's forge is and whom to trust there: its URL,
// the port, and the certificates. Every program reads the same settings and must come to
// the same answer, or the token would go to another place than the one that was checked.
//
// It links no net/http, so that the launcher may use it.
package forge
