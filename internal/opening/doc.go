// Package opening begins to speak with a backend: it finds out which revision of MCP
// to speak, learns what the backend says of itself, and refuses one that the broker
// cannot work with. It sends nothing itself: package unit, which imports it, does.
package opening
