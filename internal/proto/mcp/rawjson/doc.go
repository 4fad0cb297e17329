// Package rawjson finds and replaces values in JSON text without decoding it, so
// that everything else stays byte for byte: the bounds of values, the members of
// objects, and whether text is valid at all.
//
// Package mcp builds on it.
package rawjson
