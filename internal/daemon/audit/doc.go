// Package audit writes security events: who logged in, which client got a
// token, which session started and ended, which tool was called.
//
// Under systemd each event is a journal entry with fields of its own, so that
// `journalctl FJMCP_EVENT=tool_call FJMCP_USER=alice` answers the operator's
// question; elsewhere it is a line on standard error. Trust the underscore
// fields (_SYSTEMD_UNIT=fjmcp-broker.service) for where an entry came from.
package audit
