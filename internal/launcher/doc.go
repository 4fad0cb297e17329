// Package launcher is the privileged side of fjmcp: it turns "start session X"
// into one fixed set of transient-unit properties and hands it to the service
// manager, as uid 0 without capabilities. Whoever could make it say more to systemd
// would own the machine.
//
//	fjmcp-broker ──SOCK_SEQPACKET, SCM_RIGHTS──▶ Server ──▶ manager ──D-Bus──▶ PID 1
//
//	server.go      who may ask; connections; when to exit
//	packet.go      one packet and the descriptors that came with it
//	manager.go     the operations
//	bus.go         PID 1's private socket and its jobs
//	properties.go  what a session's units are made of
//	settings.go    the operator's part of it, from the environment
//	egress.go      where the sessions' way out leads
//	apply.go       what runs under settings that have changed
//	unmount.go     mounts of the host that nobody needs any more
//
// What it takes from a caller is ids, numbers, the user's name and two sockets
// (package proto/launcher), never a property, a path or a command. Everything that
// confines a session stands in units/fjmcp-session@.service.d/10-sandbox.conf.
package launcher
