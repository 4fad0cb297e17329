package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// policy has the broker look at its policy file, for which it asks the forge whom names
// mean now. What is in force is for the broker's own check.
func (d *Doctor) policy(ctx context.Context, f *Finding) {
	if d.status == nil {
		f.skip("the broker does not run; what is wrong with the file, the settings say")
		return
	}
	c, err := d.Caller.CheckPolicy(ctx, admin.PolicyText{})
	if err != nil {
		f.fail("cannot look at the policy: "+err.Error(), "fjmcpctl policy check")
		return
	}
	for _, fault := range c.Faults {
		f.fail(oneLine(c.File)+": "+oneLine(fault), "mend it, then systemctl reload fjmcp-broker.service")
	}
	if len(c.Faults) > 0 {
		return
	}
	if f.Detail = "there is none: each user may do here what the forge lets them"; c.Rules > 0 {
		f.Detail = fmt.Sprintf("%s: %d rule(s)", oneLine(c.File), c.Rules)
	}
	if n := len(c.Idle); n > 0 {
		f.Detail += fmt.Sprintf("; for nobody who has logged in here: %s", oneLine(strings.Join(c.Idle[:min(n, 5)], ", ")))
	}
}
