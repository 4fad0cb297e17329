// Package proxy holds no code: its tests run Debian's Caddy and nginx with the
// files of packaging/caddy and packaging/nginx, in front of a broker on the unix
// socket, and use them as docs/deploy-caddy.md says. Each fault that the page cures is
// made on purpose.
//
// The programs are those of the Debian packages, which are unpacked into the test
// cache and not installed: an installed one would start a server on this machine. The
// tests run in a network of their own, with /run and /var/log of their own, so that
// the shipped files' ports and paths can be used as they are. That needs root.
package proxy
