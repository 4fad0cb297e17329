package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// DefaultPolicy is where the policy is, if there is one. Elsewhere it must be there.
const DefaultPolicy = "/etc/fjmcp/policy.toml"

// policy finds where the policy is, and what it says.
func (l *loader) policy(c *Config) {
	c.PolicyFile, c.policyNeeded = cmp.Or(l.raw.Policy, l.policyFile), l.raw.Policy != ""
	if !filepath.IsAbs(c.PolicyFile) {
		l.fault("%sPOLICY=%q: want an absolute path", prefix, c.PolicyFile)
		return
	}
	doc, err := c.ReadPolicy()
	if err == nil && doc != nil {
		err = unaskable(doc, c.ForgejoScopes)
	}
	var faults *policy.Error
	if errors.As(err, &faults) {
		for _, f := range faults.Faults {
			l.fault("%s: %s", c.PolicyFile, f)
		}
	}
	c.Policy = doc
}

// ReadPolicy reads the policy as it is now, nil for none. The error is a *policy.Error. What
// the forge has to tell for it is not looked at.
func (c *Config) ReadPolicy() (*policy.Document, error) {
	text, err := readPolicy(c.PolicyFile)
	if errors.Is(err, fs.ErrNotExist) && !c.policyNeeded {
		return nil, nil
	}
	if err != nil {
		return nil, &policy.Error{Faults: []string{err.Error()}}
	}
	return policy.Parse(text)
}

// readPolicy returns fs.ErrNotExist only where nothing has the name: with a link that leads
// nowhere somebody meant to have a policy.
func readPolicy(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would have it wait
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return nil, errors.New("it is a link that leads nowhere; as a service the broker sees what is below /etc, /usr, /opt and /srv")
		}
		return nil, fmt.Errorf("it is not there (%w); write it, or remove %sPOLICY", fs.ErrNotExist, prefix)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w; let it belong to root with mode 0644, or to root and the broker's group with 0640", err)
	}
	defer f.Close()
	if err := trusted(f); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, policy.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w", err)
	}
	return text, nil
}

// trusted: whoever can write the file gives themselves rights.
func trusted(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot read it: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case owner != 0 && int(owner) != os.Geteuid():
		return fmt.Errorf("it belongs to the user with ID %d, who could change it; run chown root on it", owner)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others than its owner can write it (mode %04o); run chmod go-w on it", info.Mode().Perm())
	}
	return nil
}

// unaskable says by what membership rules grant that the forge does not tell with a token
// of scopes, of each kind at its first rule.
func unaskable(doc *policy.Document, scopes []string) error {
	var faults []string
	opened := strings.Join(scopes, " ")
	for _, by := range []struct {
		key   string
		scope []string
		used  func(policy.Rule) bool
	}{
		{"organizations", forgejo.OrganizationScope, func(r policy.Rule) bool { return len(r.Organizations) > 0 }},
		{"teams", forgejo.TeamScope, func(r policy.Rule) bool { return len(r.Teams) > 0 }},
		{"administrators", forgejo.AdministratorScope, func(r policy.Rule) bool { return r.Administrators }},
	} {
		i := slices.IndexFunc(doc.Rules, by.used)
		if i >= 0 && !forgejo.ScopeWithin(strings.Join(by.scope, " "), opened) {
			faults = append(faults, fmt.Sprintf("line %d: %s: the forge does not say who belongs to them unless %sFORGEJO_SCOPES opens %s, without public-only; add it, or grant to users",
				doc.Rules[i].Line, by.key, prefix, strings.Join(by.scope, " and ")))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return &policy.Error{Faults: faults}
}
