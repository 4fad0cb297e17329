// Package denypath says which paths of the forge's API no session may use,
// whatever its rights: those that create lasting credentials.
//
// The broker and the launcher check the operator's list with it, fjmcp-session
// applies it. It links no net/http, so that the launcher may link it.
package denypath
