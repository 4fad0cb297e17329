package main

import (
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
)

// checkLandlock fails with a *config.Error where Landlock is required and missing.
func checkLandlock(cfg *config.Config) error {
	if !cfg.RequireLandlock || confine.Landlock() {
		return nil
	}
	return &config.Error{Faults: []string{"FJMCP_BROKER_REQUIRE_LANDLOCK=on: there is no Landlock, so forgejo-mcp could read the database and the secrets; " +
		"run Linux 5.13 or later with landlock among its security modules (/sys/kernel/security/lsm), and in a container a seccomp profile that allows landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"}}
}
