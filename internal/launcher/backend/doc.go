// Package backend finds the operator's files that sessions use: the forgejo-mcp
// binary and, with File, a CA file. It looks at the disk anew at each call, so
// that installing a missing file is all the cure it takes.
package backend
