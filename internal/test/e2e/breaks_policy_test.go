package e2e

import "testing"

const (
	reload = "systemctl reload fjmcp-broker.service"
	// everybody may all, as without a policy.
	everybody = "[[grant]]\nname = \"everybody\"\neveryone = true\naccess = \"write\"\n"
)

// policy writes a policy, before a command that may fail.
func policy(text, command string) step {
	return func(t *testing.T, b *bench) {
		t.Helper()
		must(t, b.C.WriteFile(policyFile, []byte(text), 0o644))
		sh(command+" || true")(t, b)
	}
}

// noPolicy puts an end to what these rows begin with.
var noPolicy = sh("rm -f " + policyFile + "; systemctl restart fjmcp-broker.service")

// policyBreaks are of the operator's policy.
var policyBreaks = []broken{{
	what:  "the policy is faulty at the start",
	begin: policy(everybody+"tool = 1\n", "systemctl restart fjmcp-broker.service"),
	mend:  sh("rm " + policyFile),
	cure:  "its correction, " + restartBroker,
	login: unavailable, call: cannotStart,
	exit: 3, status: policyFile + ": line 5: there is no key",
	ready:   cannotStart,
	journal: policyFile + ": line 5: there is no key … cannot start",
}, {
	what: "the policy is faulty at a reload",
	begin: func(t *testing.T, b *bench) {
		policy(everybody, reload)(t, b)
		policy(faultyPolicy, reload)(t, b)
	},
	mend: noPolicy,
	cure: "its correction, `" + reload + "`",
	exit: 0, status: policyFile + " has … fault(s), with which the broker would not start … to do: fjmcpctl policy check",
	doctor: policyFile + " has … fault(s) … line 3: … is \"everyone\" meant?", worse: true,
	journal: policyFile + ": line 3: … is \"everyone\" meant? … nothing was changed, and what is in force stays",
}, {
	what: "a name of the policy is somebody else's by now",
	begin: func(t *testing.T, b *bench) {
		b.Forge.AddUser("mallory")
		deny := everybody + "[[deny]]\nname = \"no-mallory\"\nusers = [\"mallory\"]\n"
		policy(deny, reload)(t, b)
		must(t, b.Forge.Rename("mallory", "trudy"))
		b.Forge.AddUser("mallory")
		policy(deny+"# looked up anew\n", reload)(t, b)
	},
	mend: noPolicy,
	cure: "their numbers in the policy, `" + reload + "`",
	exit: 0, status: "the last reload failed: fjmcpctl policy check",
	doctor: "\"mallory\" was id … so somebody else has the name … to do: mend it", worse: true,
	journal: "\"mallory\" was id … so somebody else has the name … nothing was changed, and what is in force stays",
}}
