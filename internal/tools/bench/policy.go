package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

const (
	policyOff, policyFew, policyMany = "Policy/rules=0", "Policy/rules=2", "Policy/rules=10000"

	manyRules = 10_000 // as many as a policy may have
)

// policyOf is a policy of so many rules. Two bound the user by repository and by toolset,
// the others are for users that there are not.
func policyOf(rules int) string {
	var text strings.Builder
	text.WriteString("[[grant]]\nname = \"own\"\nusers = [\"alice\"]\naccess = \"write\"\nrepositories = [\"alice/*\"]\n")
	text.WriteString("[[deny]]\nname = \"no-wiki\"\neveryone = true\ntoolsets = [\"wiki\"]\n")
	for i := 2; i < rules; i++ {
		fmt.Fprintf(&text, "[[grant]]\nname = \"other-%d\"\nusers = [\"user%d#%d\"]\naccess = \"read\"\n", i, i, 1_000_000+i)
	}
	return text.String()
}

// withPolicies measures a call about a repository at a broker without a policy, with one of
// two rules, and with one of as many as there may be, in turn.
func withPolicies(ctx context.Context, cfg config, forge *fakeforge.Server, r results) (figures []figure, err error) {
	dir, err := os.MkdirTemp("", "fjmcp-bench-policy-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	under := func(rules int, use func(*broker)) error {
		file := fmt.Sprintf("%s/%d.toml", dir, rules)
		if err := os.WriteFile(file, []byte(policyOf(rules)), 0o644); err != nil {
			return err
		}
		return withBroker(ctx, cfg, forge, use, "FJMCP_BROKER_POLICY="+file)
	}
	err = withBroker(ctx, cfg, forge, func(off *broker) {
		need(under(2, func(few *broker) {
			need(under(manyRules, func(many *broker) {
				figures = comparePolicies(ctx, cfg, r, map[string]*broker{policyOff: off, policyFew: few, policyMany: many})
			}))
		}))
	})
	return figures, err
}

func comparePolicies(ctx context.Context, cfg config, r results, brokers map[string]*broker) []figure {
	var turns []turn
	for _, name := range []string{policyOff, policyFew, policyMany} {
		sessions := must(openAll(ctx, brokers[name].target(name), 1, repoCall))
		defer func() { _ = closeAll(sessions) }()
		turns = append(turns, turn{{name, func(ctx context.Context) (slice, error) { return calls(ctx, sessions, repoCall, cfg.slice) }}})
	}
	need(r.inTurn(ctx, cfg.rounds, turns, cfg.line))
	need(errors.Join(r[policyOff].failed, r[policyFew].failed, r[policyMany].failed))
	few, many := r.ratio(policyFew, policyOff, (*series).medians), r.ratio(policyMany, policyFew, (*series).medians)
	r.table(cfg.out, "A call that asks the forge about a repository, by the policy's rules", "none: time; 2 ÷ none; 10,000 ÷ 2 (quartiles of the rounds)", []row{
		{"none", policyOff, spreadOf(nil)}, {"2", policyFew, few}, {"10,000", policyMany, many},
	})
	return []figure{
		{"call under a policy, p50, by without", few.Median, "times", "at most", 1.05},
		{"call under 10,000 rules, p50, by 2", many.Median, "times", "at most", 1.05},
	}
}
