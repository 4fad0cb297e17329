// Package version says which version and commit of fjmcp a program was built
// from. It imports nothing of this module; every program may import it.
package version
