// Package denypath says which paths of the forge's API no session may use,
// whatever its rights: those that create lasting credentials.
// The operator's list is checked where it is read and applied where the token is.
package denypath
