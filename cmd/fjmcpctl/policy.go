package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

func (a *app) checkPolicy() *cobra.Command {
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Look for what is wrong with a policy, and change nothing",
		Long: `Look for what is wrong with a policy, and change nothing: that of the broker's own file,
or another FILE; - is standard input. All faults are told at once, each with its line and
what mends it. The broker asks the forge whom names mean. Without a broker that runs all
but that is looked at.

Exit status: 0 if there is no fault, 1 if there is one.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.check(cmd, args)
			if err == nil {
				err = a.tellFaults(cmd, c, c.PolicyCheck, func(w *bytes.Buffer) {
					printRules(w, c.PolicyCheck, "in it", c.NotLookedAt == "")
					if c.NotLookedAt != "" {
						fmt.Fprintln(w, "Not looked at: "+c.NotLookedAt)
					}
				})
			}
			return err
		},
	}
	check.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault // names of files
	}
	return a.printing(check, "")
}

// policyChecked is what was found, and what could not be looked at.
type policyChecked struct {
	admin.PolicyCheck
	NotLookedAt string `json:"not_looked_at,omitempty"`
}

// check has the broker look, or looks itself where none runs.
func (a *app) check(cmd *cobra.Command, args []string) (policyChecked, error) {
	file, t := "", admin.PolicyText{}
	if len(args) > 0 {
		text, err := readPolicy(cmd.InOrStdin(), args[0])
		if err != nil {
			return policyChecked{}, err
		}
		file, t.Text = args[0], &text
	}
	c, err := a.caller().CheckPolicy(cmd.Context(), t)
	c.File = cmp.Or(file, c.File)
	if !errors.Is(err, admin.ErrNotRunning) {
		return policyChecked{PolicyCheck: c}, err
	}
	why := err
	if t.Text == nil {
		file = config.DefaultPolicy
		text, err := readPolicy(nil, file)
		if err != nil {
			return policyChecked{}, err
		}
		t.Text = &text
	}
	doc, err := policy.Parse([]byte(*t.Text))
	found := policyChecked{NotLookedAt: "whom names mean at the forge, and what is in force: " + strings.ReplaceAll(why.Error(), "\nhint: ", "; "), PolicyCheck: admin.PolicyCheck{
		File: file, Digest: doc.Digest(), Faults: []string{}, Added: []string{}, Removed: []string{}, Changed: []string{}, Idle: []string{},
	}}
	var faulty *policy.Error
	switch {
	case errors.As(err, &faulty):
		found.Faults = faulty.Faults
	case err == nil:
		found.Rules = len(doc.Rules)
	}
	return found, nil
}

// readPolicy reads a file, of which a policy may have so many bytes.
func readPolicy(stdin io.Reader, name string) (string, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, policy.MaxFile+1))
	if err == nil && len(text) > policy.MaxFile {
		err = fmt.Errorf("%s is longer than the %d bytes that a policy may have", name, policy.MaxFile)
	}
	return string(text), err
}

// tellFaults prints v, and where there are faults, these and nothing else.
func (a *app) tellFaults(cmd *cobra.Command, v any, c admin.PolicyCheck, text func(*bytes.Buffer)) error {
	if len(c.Faults) == 0 || a.json {
		if err := a.print(cmd, v, nil, text); err != nil || len(c.Faults) == 0 {
			return err
		}
		return errTold
	}
	for _, f := range c.Faults {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", oneLine(c.File), oneLine(f))
	}
	return errors.New(count(len(c.Faults), "fault") + "; nothing was changed, and what is in force stays")
}

// printRules says how many rules there are, and by which they differ from what was in force.
func printRules(w *bytes.Buffer, c admin.PolicyCheck, where string, compared bool) {
	fmt.Fprintf(w, "%s: %s %s, digest %s.\n", oneLine(c.File), count(c.Rules, "rule"), where, oneLine(cmp.Or(c.Digest, "-")))
	t := newTable(w)
	for _, d := range []struct {
		what  string
		names []string
	}{{"added", c.Added}, {"removed", c.Removed}, {"changed", c.Changed}} {
		for _, name := range d.names {
			t.row(d.what, name)
		}
	}
	if len(t.rows) == 0 && compared {
		fmt.Fprintln(w, "No rule is another than in what was in force.")
	}
	t.Flush()
	for _, name := range c.Idle {
		fmt.Fprintf(w, "Hint: rule %s is for nobody who has logged in here.\n", word(name))
	}
}

func (a *app) reloadPolicy() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:   "reload",
		Short: "Put the policy in force, if nothing is wrong with it",
		Long: `Put in force what the broker's policy file says, as "systemctl reload fjmcp-broker"
does. If anything is wrong with it, all faults are told and the policy stays what it was.
Running sessions are held to it within seconds. What users gain takes a new login.

Exit status: 0 if it is in force, 1 if there is a fault, 3 if the broker does not run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.caller().ReloadPolicy(cmd.Context())
			if err != nil {
				return err
			}
			return a.tellFaults(cmd, l, l.PolicyCheck, func(w *bytes.Buffer) { printLoad(w, l) })
		},
	}, "")
}

func printLoad(w *bytes.Buffer, l admin.PolicyLoad) {
	if l.Rules == 0 {
		fmt.Fprintf(w, "There is no %s, and no policy in force: each user may do here what the forge lets them.\n", oneLine(l.File))
		return
	}
	printRules(w, l.PolicyCheck, "in force", true)
	if len(l.Sessions) == 0 {
		fmt.Fprintln(w, "No running session may do other things than before.")
		return
	}
	fmt.Fprintf(w, "%s other things than before:\n", map[bool]string{true: "1 running session may do", false: count(len(l.Sessions), "running session") + " may do"}[len(l.Sessions) == 1])
	t := newTable(w, "SESSION", "USER", "USER ID", "CLIENT")
	for _, s := range l.Sessions {
		t.row(s.ID, cmp.Or(s.User, "-"), admin.IDPrefix+s.UserID, s.Client)
	}
	t.Flush()
}

func (a *app) explainPolicy() *cobra.Command {
	var q admin.PolicyQuestion
	explain := &cobra.Command{
		Use:   "explain --user USER",
		Short: "Say what a user may do by the policy in force, and why",
		Long: `Say what a user may do by the policy in force: the rules that are for the user and why,
those that decide, what the forge said the user is a member of with the numbers there,
and of each login the rights that it began with, which are its upper bound.
` + userForms + `
With --tool and --repo it answers for that tool, and for that repository. Exit status 0
says that there is an answer, whatever it is.`,
		Example: `  fjmcpctl policy explain --user alice
  fjmcpctl policy explain --user alice --tool create_issue --repo acme/site`,
		Args: cobra.MatchAll(cobra.NoArgs, func(*cobra.Command, []string) error {
			if q.User == "" {
				return errors.New("say of whom: --user")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := a.caller().ExplainPolicy(cmd.Context(), q)
			return a.print(cmd, answer, err, func(w *bytes.Buffer) { printAnswer(w, q, answer) })
		},
	}
	f := explain.Flags()
	f.StringVar(&q.User, "user", "", "the user with that login name, or with that number at the forge: id:7")
	f.StringVar(&q.Tool, "tool", "", "whether that tool may be used, or that resource template")
	f.StringVar(&q.Repository, "repo", "", "whether it may be in that repository, owner/name")
	_ = explain.RegisterFlagCompletionFunc("user", a.completeUsers())
	_ = explain.RegisterFlagCompletionFunc("tool", completeTools)
	return a.printing(explain, "")
}

func completeTools(*cobra.Command, []string, string) (all []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, t := range forgeapi.AllTools() {
		if !t.IsTemplate() {
			all = append(all, cobra.CompletionWithDesc(t.Name, t.Title))
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func printAnswer(w *bytes.Buffer, q admin.PolicyQuestion, answer admin.PolicyAnswer) {
	what := "anything"
	if q.Tool != "" {
		what = q.Tool
	}
	if q.Repository != "" {
		what += " in " + q.Repository
	}
	t := newTable(w)
	t.row("user", person(answer.User, answer.UserID))
	t.row("may do "+what, verdict(answer.Policy, answer.Allowed, answer.Rule))
	printMember(t, answer.Member)
	t.Flush()
	for _, r := range answer.Rules {
		fmt.Fprintln(w)
		printMatch(w, r)
	}
	for _, l := range answer.Logins {
		fmt.Fprintln(w)
		printBound(w, what, answer.Policy, l)
	}
}

// verdict says whether something is allowed, and why not.
func verdict(inForce, allowed bool, rule string) string {
	switch {
	case allowed && !inForce:
		return "yes: no policy is in force"
	case allowed:
		return "yes"
	case rule == "":
		return "no: no rule grants it"
	}
	return "no: the rule " + rule + " denies it"
}

func printMember(t *table, m admin.PolicyMember) {
	switch {
	case m.Asked.IsZero():
		t.row("member of", "not known: the forge was never asked")
		return
	case !m.Counts:
		t.row("member of", "the forge could not be asked since, so that nothing is granted by this:")
	}
	t.row("asked", moment(m.Asked))
	t.row("administrator", map[bool]string{true: "yes", false: "no"}[m.Administrator])
	t.row("organizations", cmp.Or(named(m.Organizations), "-"))
	t.row("teams", cmp.Or(named(m.Teams), "-"))
}

// named lists as a policy names them.
func named(all []admin.PolicyNamed) string {
	list := make([]string, len(all))
	for i, n := range all {
		list[i] = n.Name + "#" + strconv.FormatInt(n.ID, 10)
	}
	return strings.Join(list, ", ")
}

func printMatch(w *bytes.Buffer, r admin.PolicyRule) {
	says := map[bool]string{true: "decides", false: "another rule decides"}[r.Decides]
	if len(r.Misses) > 0 {
		says = "is of another " + strings.Join(r.Misses, ", ")
	}
	t := newTable(w)
	t.row(map[bool]string{true: "denial", false: "grant"}[r.Deny], fmt.Sprintf("%s, line %d: %s", r.Name, r.Line, says))
	t.row("for", strings.Join(r.By, ", "))
	t.row("of", r.Covers)
	t.Flush()
}

func printBound(w *bytes.Buffer, what string, inForce bool, l admin.PolicyLogin) {
	t := newTable(w)
	t.row("login", l.Grant)
	t.row("of", l.Client+", "+span(time.Since(l.Created))+" ago")
	t.row("may do "+what, verdict(inForce || l.Bound != nil, l.Allowed, l.Rule))
	if l.Bound == nil {
		t.row("at most", "everything: it began without a policy")
	}
	for _, c := range l.Covers {
		t.row("at most", c)
	}
	if l.Bound != nil && len(l.Covers) == 0 {
		t.row("at most", "nothing")
	}
	t.Flush()
}
