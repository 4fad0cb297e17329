// Package setup takes an installed package to a running broker: it asks for the two URLs,
// has the forge register the OAuth2 application, writes settings and credentials, and
// enables the socket. Run again it changes what differs. Credentials that the unit has
// systemd decrypt stay encrypted.
//
// The forge tells a secret once, and forgets the former one when it changes an application.
// So it is stored, in a file that has its room beforehand, before anything else can fail,
// and from there put in its place. A run that is cut off leaves the settings as they were,
// or that file, which the next run puts in its place first.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

const (
	publicName = "FJMCP_BROKER_PUBLIC_URL"
	forgeName  = "FJMCP_BROKER_FORGEJO_URL"
	clientName = "FJMCP_BROKER_FORGEJO_CLIENT_ID"
)

// Options are what the operator says; what is empty is asked for, if anybody can be asked.
type Options struct {
	PublicURL        string
	ForgejoURL       string
	Name             string // of the application, as users see it at the forge
	TokenFile        string // holds a token of the forge's, with which the application is registered; "-" for In
	ClientID         string // of an application that is there already
	ClientSecretFile string // with ClientID; "-" for In
	Manual           bool   // do not register; say what to enter by hand
	Yes              bool   // do not ask whether to go on
	DryRun           bool   // change nothing
	Root             string // before the name of each file
}

// Config is what Run needs.
type Config struct {
	Options
	In  *os.File // where the operator types
	Out io.Writer
	// Systemctl runs systemctl and returns what it wrote; nil leaves systemd alone.
	Systemctl func(ctx context.Context, args ...string) (string, error)
	Exec      Runner // of systemd-creds; may be nil where Systemctl is
	// Backend is backend.Find.
	Backend func(configured string) (string, error)
}

type setup struct {
	Config
	terminal *terminal
	files    files

	sealed   Sealed                       // those of the unit
	opened   map[string]config.Credential // what is in them
	stored   credentials                  // what the files say
	settings *config.Config               // of the files, with the answers
	public   string                       // without a slash at its end
	forge    string
	written  bool // all files are
}

// Run does it all. The error is for the operator, and says what to do.
func Run(ctx context.Context, cfg Config) error {
	s := &setup{Config: cfg, terminal: newTerminal(cfg.In, cfg.Out), files: files{root: cfg.Root}}
	err := s.run(ctx)
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case s.written:
		return errors.New("interrupted; the files are complete\nhint: the same command again does the rest")
	}
	return errors.New("interrupted; nothing was changed")
}

func (s *setup) run(ctx context.Context) error {
	unlock, err := s.files.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.unseal(ctx); err != nil {
		return err
	}
	if err := s.resume(ctx); err != nil {
		return err
	}
	if err := s.answers(ctx); err != nil {
		return err
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	c, err := s.choose(ctx)
	if err != nil {
		return err
	}
	changed, err := s.apply(ctx, version, c)
	if err != nil {
		return err
	}
	if err := s.units(ctx, changed); err != nil {
		return err
	}
	if !s.DryRun {
		if _, err := s.Backend(s.settings.ForgejoMCP); err != nil {
			s.say("\nOne thing is missing: %v.\n%s", err, whereBackend)
		}
	}
	s.say("%s", Proxy(s.settings.PublicURL))
	return nil
}

// unseal finds out which credentials are encrypted, and decrypts them.
func (s *setup) unseal(ctx context.Context) (err error) {
	if s.Systemctl == nil {
		return nil
	}
	unit, err := s.Systemctl(ctx, "cat", serviceUnit)
	if err != nil {
		return fmt.Errorf("cannot ask systemd for %s: %w", serviceUnit, err)
	}
	s.sealed = SealedIn(unit)
	s.files.sealed = s.sealed
	if s.opened, err = s.sealed.Open(ctx, s.Exec, s.Root); err != nil {
		return fmt.Errorf("%w\nhint: put back the file from your backup, or take it out of the drop-in of %s", err, serviceUnit)
	}
	return nil
}

// resume finishes what an earlier run had stored.
func (s *setup) resume(ctx context.Context) error {
	c, found, err := s.pending(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("cannot read %s: %w", pendingFile, innermost(err))
	case found && s.DryRun:
		s.say("An earlier run was cut off; a run without --dry-run first puts the application %s in its place.", c.ClientID)
	case found:
		s.say("An earlier run was cut off; finishing it for the application %s.", c.ClientID)
		if err := s.settle(ctx, c); err != nil {
			return err
		}
	case !s.DryRun:
		if err := s.files.tidy(); err != nil {
			return err
		}
	}
	text, err := s.files.read(settingsFile)
	if err != nil {
		return err
	}
	secret, err := s.secret(ctx)
	if err != nil {
		return err
	}
	s.stored = credentials{setting(text, clientName), secret, normal(setting(text, publicName)), normal(setting(text, forgeName))}
	if found && s.DryRun {
		s.stored = c
	}
	return nil
}

// normal is a URL as it is compared; one that is none stays.
func normal(raw string) string {
	if u, err := forge.ParseURL(raw); err == nil {
		return u.String()
	}
	return raw
}

// answers finds out the two URLs, and judges them by the broker's own rules.
func (s *setup) answers(ctx context.Context) error {
	text, err := s.files.read(settingsFile)
	if err != nil {
		return err
	}
	environ := append(Environment(text), "CREDENTIALS_DIRECTORY="+s.files.at(credentialsDir))
	for _, q := range []struct{ name, flag, given, stored, question string }{
		{publicName, "--public-url", s.PublicURL, s.stored.PublicURL, "URL under which clients will reach the broker, such as https://mcp.example.org"},
		{forgeName, "--forgejo-url", s.ForgejoURL, s.stored.ForgeURL, "URL of the forge, such as https://git.example.org"},
	} {
		value, err := s.answer(ctx, environ, q.name, q.question, q.given, q.stored)
		if err != nil {
			return err
		}
		if value == "" {
			return fmt.Errorf("%s\nhint: repeat it with %s", s.fault(environ, q.name), q.flag)
		}
		environ = append(environ, q.name+"="+value)
	}
	if s.settings, err = config.Check(environ, s.opened); err != nil {
		var faults *config.Error
		if errors.As(err, &faults) {
			return fmt.Errorf("nothing was changed; mend this first:\n  %s", strings.Join(faults.Faults, "\n  "))
		}
		return err
	}
	s.public, s.forge = s.settings.PublicURL.String(), s.settings.ForgejoURL.String()
	return nil
}

// answer is what the command line says, or the operator, who is asked until it will do, or
// the files.
func (s *setup) answer(ctx context.Context, environ []string, name, question, given, stored string) (string, error) {
	if given != "" || !s.terminal.there() || s.Yes && stored != "" {
		if given == "" {
			given = stored
		}
		return given, nil // faults come all at once
	}
	for {
		value, err := s.terminal.ask(ctx, question, stored)
		if err != nil {
			return "", err
		}
		wrong := s.fault(append(environ, name+"="+value), name)
		if wrong == "" {
			return value, nil
		}
		s.say("%s", wrong)
	}
}

// fault is what the broker would say of one setting; "" for nothing.
func (s *setup) fault(environ []string, name string) string {
	_, err := config.Check(environ, s.opened)
	var faults *config.Error
	if errors.As(err, &faults) {
		for _, f := range faults.Faults {
			if rest, ok := strings.CutPrefix(f, name); ok && strings.ContainsAny(rest[:1], "=: ") {
				return f
			}
		}
	}
	return ""
}

func (s *setup) version(ctx context.Context) (version string, err error) {
	if s.settings.ForgejoUser != "" { // the way there is the broker's
		return "", nil
	}
	client, err := s.client(credentials{})
	if err != nil {
		return "", err
	}
	err = s.during("Asking "+s.forge+" for its version", func() (err error) {
		version, err = client.Version(ctx)
		return err
	})
	return audit.Clean(version), err
}

// apply shows what will be done, asks, and does it.
func (s *setup) apply(ctx context.Context, version string, c choice) (changed bool, err error) {
	loose, err := s.files.mend(true)
	if err != nil {
		return false, err
	}
	text, err := s.files.read(settingsFile)
	if err != nil {
		return false, err
	}
	obtain := c.save != nil || c.ClientID != s.stored.ClientID || c.Secret != s.stored.Secret
	next := c.credentials
	if c.save != nil {
		next = credentials{setting(text, clientName), "", s.public, s.forge}
	}
	changed = obtain || withSettings(text, next) != text || len(loose) > 0
	s.say("\npublic URL     %s\nforge          %s %s\napplication    %s", s.public, s.forge, version, c.text)
	for _, name := range loose {
		s.say("access         %s: to be taken from others", name)
	}
	switch {
	case !changed:
		s.say("unchanged: %s and the credentials", settingsFile)
		return false, nil
	case s.DryRun:
		s.say("%s", strings.Join(s.wouldWrite(obtain, withSettings(text, next) != text), "\n"))
		return true, nil
	}
	if err := s.confirm(ctx); err != nil {
		return false, err
	}
	if _, err := s.files.mend(false); err != nil {
		return false, fmt.Errorf("cannot set who may read the files: %w", err)
	}
	if obtain {
		if err = s.obtain(ctx, &c); err == nil {
			err = s.settle(ctx, c.credentials)
		}
	} else {
		err = s.writeSettings(c.credentials)
	}
	s.written = err == nil
	if s.written && c.token != "" {
		s.say("The token has done its work: delete it at %s/user/settings/applications", s.forge)
	}
	return true, err
}

func (s *setup) wouldWrite(secret, settings bool) (lines []string) {
	if secret || settings {
		lines = append(lines, "would write "+settingsFile)
	}
	if secret {
		lines = append(lines, "would write "+s.secretAt())
	}
	return lines
}

// confirm asks whether to go on.
func (s *setup) confirm(ctx context.Context) error {
	if err := ctx.Err(); err != nil || s.Yes {
		return err
	}
	if !s.terminal.there() {
		return errors.New("nobody can be asked whether to go on; nothing was changed\nhint: repeat it with --yes")
	}
	answer, err := s.terminal.ask(ctx, "\nGo on? [y/N]", "")
	if a := strings.ToLower(answer); err != nil || a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return ctx.Err()
}

func (s *setup) say(format string, args ...any) { fmt.Fprintf(s.Out, format+"\n", args...) }

func (s *setup) during(what string, do func() error) error { return During(s.Out, what, do) }

// whereBackend says how to get forgejo-mcp.
const whereBackend = `forgejo-mcp is a program of its own, from https://git.b4mad.industries/agentic-forges/forgejo-mcp, whose
README says where releases are. Version 2.18.0 or later will do:
  install -m 0755 forgejo-mcp /usr/local/bin/forgejo-mcp`

// Proxy says how Caddy is put before a broker with that public URL; nothing for one on
// loopback, which needs none.
func Proxy(public *url.URL) string {
	if public.Scheme == "http" {
		return ""
	}
	if public.Path == "" {
		return fmt.Sprintf(`
Caddy, for TLS in front of it (without it: apt install caddy); this replaces Caddy's configuration:
  sed 's/mcp\.example\.org/%s/' /usr/share/doc/fjmcp-broker/examples/Caddyfile >/etc/caddy/Caddyfile
  systemctl reload caddy
Beside other sites, or with nginx: /usr/share/doc/fjmcp-broker/docs/deploy-caddy.md`, public.Host)
	}
	return fmt.Sprintf(`
In the block of %s in /etc/caddy/Caddyfile:
	@fjmcp path %s/* /.well-known/oauth-* /.well-known/openid-configuration/*
	reverse_proxy @fjmcp unix//run/fjmcp/http.sock {
		flush_interval -1
	}
What else belongs there, or nginx: /usr/share/doc/fjmcp-broker/docs/deploy-caddy.md`, public.Host, public.Path)
}
