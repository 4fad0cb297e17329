// Package lines is the stdio transport of MCP over the descriptors that are a
// child's stdin and stdout: one message a line, either way. It bounds a line and what
// waits to be written, copies as little as can be, holds no buffer while nothing
// comes, and can be stopped so that another Conn continues where it was.
package lines
