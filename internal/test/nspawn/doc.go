// Package nspawn boots a Debian with a real systemd in a container, for tests
// and for `make demo`.
//
// Root builds (once a month, with mmdebstrap) the tree a container starts
// from; Boot starts systemd-nspawn on it with a writable layer in memory, so
// that the tree itself never changes and any number of containers may share
// it. A Container runs commands, takes files, shows its journal, and gives out
// connections and listeners of its own network namespace, which has a loopback
// and nothing else.
//
// Nothing outlives a run: all of a container's processes stand in a cgroup
// named after the process that booted it, Close empties and removes it, and a
// later Boot clears what a killed run left.
//
// It needs root; Check says what is missing.
package nspawn
