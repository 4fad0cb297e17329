// Package podman holds tests only: they build the container image with Debian's
// Podman, from base images made here, and use it as docs/deploy-podman.md says. All of
// it happens in namespaces of the test's own, so that no interface, no packet filter
// and no process of it outlives the test or meets another.
package podman
