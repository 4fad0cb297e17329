// Package control speaks the protocol between the broker and fjmcp-session:
// one JSON object per packet over a SOCK_SEQPACKET socket pair that the broker
// makes for each session and fjmcp-session finds as its file descriptor 1.
//
// The broker sends modes and tokens, with its first message the backend's standard
// input; fjmcp-session reports what becomes of the child and of the forge.
package control
