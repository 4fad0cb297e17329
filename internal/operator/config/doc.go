// Package config turns the environment and the systemd credentials of
// fjmcp-broker into a validated Config, or into an Error that lists every fault
// with its cure.
package config
