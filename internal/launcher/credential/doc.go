// Package credential answers the service manager's question for the Forgejo
// token of a session that starts. The session's unit says
//
//	LoadCredential=forgejo-token:/run/fjmcp-private/credentials.sock
//
// so PID 1 connects there, as root, and reads until end of file. It says which
// credential of which unit it wants by the abstract address it binds, see
// systemd.exec(5) under LoadCredential=. The token thus never stands in a
// property, on the bus or on disk.
package credential
