// Package attack attacks the installed package in containers with Debian 12 and 13, as
// four attackers: C, code that runs as a session's child; B, whoever controls the
// broker's process; L, a local user without rights; N, anybody on the network without an
// account. Each attack says what must come of it. What came of it is a line of TAP
// (Test Anything Protocol), and an attack that succeeds fails the test.
//
// The test's own program is also the attacker: it is copied into the containers, stands
// there in place of forgejo-mcp, and runs with the broker's sandbox and as the local
// user. It needs what package e2e needs. Environment:
//
//	FJMCP_ATTACK_TAP   file for the table
//	FJMCP_ATTACK       pattern (regexp) of the attacks to try, as "C list cgroups"; all if unset
package attack
