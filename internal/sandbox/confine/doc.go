// Package confine runs a program that must not get at a secret its parent holds.
//
// Harden makes the parent undumpable: nobody of its own uid reads its memory,
// environment or descriptors through /proc or ptrace. Start runs the program from
// an OS thread that has given up, for good, what the program must not have; the
// program inherits that, the parent's other threads do not:
//
//   - no_new_privs, and all capabilities;
//   - Landlock: read and execute below /usr, /lib, /lib64, /bin and of the
//     program's own file; read below /proc and of the few files in /etc
//     that libraries look up; a few device nodes. A landlocked process may not
//     ptrace its parent either;
//   - seccomp: no sockets but TCP over IPv4 and IPv6 (the journal, D-Bus and the
//     egress socket are AF_UNIX; Landlock binds nothing but TCP to ports), no
//     io_uring (it would go round this filter), no memfd, no ptrace; and, since
//     Landlock does not see them: no truncating and no watching of files, no change
//     of their mode, owner, times or attributes, nor of another process's limits,
//     priority or processors, no leaving of the process group, no namespaces, keys or
//     SysV IPC.
//
// What there is depends on the kernel's Landlock ABI, which is never a reason not to
// start:
//
//	ABI  since       what it adds
//	0    -           nothing: files are open; Process.Warning says so
//	1    Linux 5.13  files
//	3    Linux 6.2   truncating (the filter refuses it in any case)
//	4    Linux 6.7   TCP connections to given ports only; Process.AnyPort without
//	6    Linux 6.12  signals to the program's own processes only; before it the filter
//	                 refuses them all, but for the one by which Go stops its threads
//
// The program also gets a lower priority and coarser timers than its parent.
package confine
