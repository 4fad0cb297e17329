// Package starts is the third part of `make bench`: how long sessions take to start
// and to wake under the systemd launcher, what one keeps for itself, and what three
// hundred live ones do to a call. The installed package runs in a container (package
// e2e), and the measure of all is a plain fork of the same child there, in turn with
// what it is compared to.
//
// internal/tools/benchstarts runs it, with internal/tools/forker in the container.
package starts
