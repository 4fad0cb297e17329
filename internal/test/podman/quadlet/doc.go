// Package quadlet holds tests only: they hand packaging/podman/fjmcp-broker.container to
// Debian 13's Quadlet and what comes of it to its systemd, and compare it with how
// make image-run starts the image.
package quadlet
