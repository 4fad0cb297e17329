// Package confine runs a program that must not get at a secret its parent holds.
//
// Harden makes the parent undumpable: nobody of its own uid reads its memory,
// environment or descriptors through /proc or ptrace. Start runs the program from
// an OS thread that has given up, for good, what the program must not have; the
// program inherits that, the parent's other threads do not:
//
//   - no_new_privs, and all capabilities;
//   - Landlock: read and execute below /usr, /lib, /lib64, /bin and of the
//     program's own file; read below /proc and of the few files in /etc that
//     libraries look up; a few device nodes. A landlocked process may not
//     ptrace its parent either. From ABI 4 on, TCP connections to given ports
//     only;
//   - seccomp: no sockets but IPv4 and IPv6 (the journal, D-Bus and the egress
//     socket are AF_UNIX), no io_uring (it would go round this filter), no
//     memfd, no ptrace.
//
// Where the kernel has no Landlock, a warning says so and the rest stands. The program
// also gets a lower priority and coarser timers than its parent.
package confine
