// Package localbroker runs the broker as a plain process with its embedded defaults
// (process launcher, SQLite) against the fake forge, both on loopback.
package localbroker
