// Package version says which version and commit of fjmcp a program was built from.
package version
