package setup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

// credentials are what the broker is to the forge. They print redacted.
type credentials struct {
	ClientID  string `json:"client_id"`
	Secret    string `json:"client_secret"`
	PublicURL string `json:"public_url"`
	ForgeURL  string `json:"forgejo_url"`
}

// Format hides the secret, whatever the verb.
func (c credentials) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "credentials(%s, redacted)", c.ClientID)
}

// choice is the OAuth2 application that the broker shall be.
type choice struct {
	credentials
	save  *forgejo.Application // to be registered, or changed if it has an ID; nil to take credentials
	token string               // for it
	text  string               // what is done
}

var (
	clientIDForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,255}$`)
	secretForm   = regexp.MustCompile(`^[!-~]{1,1000}$`) // RFC 6749 appendix A.2, without space
)

// choose finds out which application it shall be. It changes nothing.
func (s *setup) choose(ctx context.Context) (choice, error) {
	if s.ClientID != "" {
		return s.given(ctx)
	}
	known := s.stored.ClientID != "" && s.stored.Secret != "" && s.stored.ForgeURL == s.forge
	if known {
		err := s.check(ctx, s.stored)
		var refused *forgejo.Error
		switch {
		case err == nil && s.stored.PublicURL == s.public && !s.Manual:
			return choice{credentials: s.stored, text: "unchanged: " + s.stored.ClientID}, nil
		case err == nil:
		case errors.As(err, &refused) && refused.Kind == forgejo.Misconfigured && refused.Code != "":
			known = false
			s.say("The forge does not know the client ID and the secret of before. If the application has been given a new secret, use --manual.")
		default:
			return choice{}, err
		}
	}
	if s.Manual {
		return s.byHand(ctx)
	}
	token, err := s.token(ctx)
	switch {
	case err != nil:
		return choice{}, err
	case token == "" && s.DryRun:
		return choice{save: new(forgejo.Application), text: "to be registered at the forge, or changed there, with a token that is asked for"}, nil
	case token == "":
		return s.byHand(ctx)
	}
	return s.atForge(ctx, token, known)
}

// given takes the application that the command line names.
func (s *setup) given(ctx context.Context) (choice, error) {
	secret, err := s.readSecret(s.ClientSecretFile, "client secret")
	if err != nil {
		return choice{}, err
	}
	return s.taken(ctx, s.ClientID, secret)
}

// byHand has the operator make the application.
func (s *setup) byHand(ctx context.Context) (choice, error) {
	s.say("Register an OAuth2 application at the forge, at one of these pages:\n"+
		"  for the whole site, as an administrator:  %s/admin/applications\n"+
		"  for your account alone:                   %s/user/settings/applications\n"+
		"Enter there:\n"+
		"  Application name:     %s\n"+
		"  Redirect URI:         %s\n"+
		"  Confidential client:  yes", s.forge, s.forge, s.Name, callback(s.public))
	if s.DryRun {
		return choice{save: new(forgejo.Application), text: "to be registered by hand"}, nil
	}
	if !s.terminal.there() {
		return choice{}, errors.New("client ID and client secret are missing\nhint: repeat it with --client-id and --client-secret-file")
	}
	id, err := s.terminal.ask(ctx, "Client ID", s.stored.ClientID)
	if err != nil {
		return choice{}, err
	}
	question, kept := "Client secret", ""
	if id == s.stored.ClientID && s.stored.Secret != "" {
		question, kept = question+", empty to keep that of before", s.stored.Secret
	}
	secret, err := s.terminal.askSecret(ctx, question)
	if err != nil {
		return choice{}, err
	}
	secret = cmp.Or(secret, kept)
	return s.taken(ctx, id, secret)
}

// wellFormed says whether both are what a forge gives out, and fit for the files.
func wellFormed(id, secret string) error {
	if !clientIDForm.MatchString(id) {
		return fmt.Errorf("client ID %q: want it as the forge shows it, such as 01234567-89ab-cdef-0123-456789abcdef", id)
	}
	if !secretForm.MatchString(secret) {
		return errors.New("the client secret is empty, or more than one word; want it as the forge shows it")
	}
	return nil
}

// taken takes an application that somebody has made, if the forge knows it.
func (s *setup) taken(ctx context.Context, id, secret string) (choice, error) {
	if err := wellFormed(id, secret); err != nil {
		return choice{}, err
	}
	c := credentials{ClientID: id, Secret: secret, PublicURL: s.public, ForgeURL: s.forge}
	if err := s.check(ctx, c); err != nil {
		return choice{}, err
	}
	text := id
	if c == s.stored {
		text = "unchanged: " + id
	}
	return choice{credentials: c, text: text}, nil
}

// check asks the forge whether it knows the application and its secret.
func (s *setup) check(ctx context.Context, c credentials) error {
	if s.settings.ForgejoUser != "" {
		s.say("FJMCP_BROKER_FORGEJO_USER is set, so the broker alone may send secrets there: it will check client ID and secret itself.")
		return nil
	}
	client, err := s.client(c)
	if err != nil {
		return err
	}
	return s.during("Asking the forge whether it knows the application", func() error { return client.CheckClient(ctx) })
}

// atForge finds the application among those of the token's account. One that exists keeps
// its client ID, to which the users' consent is bound. known says that its secret is good.
func (s *setup) atForge(ctx context.Context, token string, known bool) (choice, error) {
	if s.settings.ForgejoUser != "" {
		return choice{}, errors.New("FJMCP_BROKER_FORGEJO_USER is set, so only the broker may send secrets to the forge\nhint: repeat it with --manual")
	}
	client, err := s.client(credentials{})
	if err != nil {
		return choice{}, err
	}
	var account string
	var all []forgejo.Application
	err = s.during("Asking the forge for the token's account and its applications", func() (err error) {
		if account, err = client.Account(ctx, token); err != nil {
			return err
		}
		account = audit.Clean(account)
		all, err = client.Applications(ctx, token)
		return err
	})
	if err != nil {
		return choice{}, err
	}
	uri := callback(s.public)
	app := findApplication(all, s.stored.ClientID, uri)
	c := choice{credentials: credentials{PublicURL: s.public, ForgeURL: s.forge}, token: token}
	switch {
	case app == nil:
		c.save = &forgejo.Application{Name: s.Name, RedirectURIs: []string{uri}}
		c.text = fmt.Sprintf("to be registered for the account %s: %q, redirect URI %s", account, s.Name, uri)
		if known {
			c.text += fmt.Sprintf("\n               %s, which the broker was before, is not this account's, and stays at the forge;\n"+
				"               all users log in anew. To keep it, change its redirect URI by hand and use --manual.", s.stored.ClientID)
		}
	case known && app.ClientID == s.stored.ClientID && app.HasRedirect(uri):
		c.ClientID, c.Secret, c.text = s.stored.ClientID, s.stored.Secret, "unchanged: "+app.ClientID
	default:
		if !app.HasRedirect(uri) {
			app.RedirectURIs = append(app.RedirectURIs, uri)
		}
		c.save, c.text = app, fmt.Sprintf("%q of the account %s, %q, to get a new secret, redirect URI %s", app.ClientID, account, app.Name, uri)
	}
	if c.save != nil {
		c.text += fmt.Sprintf("\n               The forge's API makes it this account's own: it is gone with the account. For one of the\n"+
			"               whole site use --manual; its page is %s/admin/applications", s.forge)
	}
	return c, nil
}

// findApplication returns the one of that client ID, else one with that redirect URI,
// which is of an earlier run that was cut off; nil if there is none.
func findApplication(all []forgejo.Application, clientID, uri string) (found *forgejo.Application) {
	for i := range all {
		if all[i].ClientID == clientID {
			return &all[i]
		}
		if found == nil && all[i].HasRedirect(uri) {
			found = &all[i]
		}
	}
	return found
}

// token is that of an account at the forge; "" for none, which stands for by hand.
func (s *setup) token(ctx context.Context) (string, error) {
	if s.TokenFile != "" {
		return s.readSecret(s.TokenFile, "token")
	}
	if s.DryRun {
		return "", nil
	}
	if !s.terminal.there() {
		return "", errors.New("the broker needs an OAuth2 application at the forge\nhint: repeat it with --token-file, for which setup registers one, " +
			"or register it yourself: --manual says how")
	}
	s.say("The broker needs an OAuth2 application at the forge. Setup registers it with a token, which it uses once and stores nowhere.\n"+
		"Make one at %s/user/settings/applications, with the permission user: read and write, and delete it there afterwards.\n"+
		"The application will be that account's own. For one of the whole site, or without a token, leave it empty.", s.forge)
	return s.terminal.askSecret(ctx, "Token")
}

// readSecret reads one word from a file, or from standard input for "-".
func (s *setup) readSecret(path, what string) (string, error) {
	in := s.In
	if path != "-" {
		var err error
		if in, err = os.Open(path); err != nil {
			return "", fmt.Errorf("cannot read the %s: %w", what, err)
		}
		defer in.Close()
	}
	b, err := io.ReadAll(io.LimitReader(in, reserved/2))
	if err != nil {
		return "", fmt.Errorf("cannot read the %s: %w", what, err)
	}
	if secret := strings.TrimSpace(string(b)); secretForm.MatchString(secret) {
		return secret, nil
	}
	return "", fmt.Errorf("%s: want the %s alone on one line", path, what)
}

// client asks the forge as c.
func (s *setup) client(c credentials) (*forgejo.Client, error) {
	return forgejo.New(forgejo.Config{
		URL: s.forge, ClientID: cmp.Or(c.ClientID, "setup"), ClientSecret: cmp.Or(c.Secret, "none"), RedirectURL: callback(s.public),
		CAFile: s.settings.ForgejoCAFile, Socket: s.settings.ForgejoSocket, Plaintext: s.settings.ForgejoSocket != "",
	})
}

func callback(public string) string { return public + "/oauth/callback" }

// pendingName is bound into an encrypted pendingFile.
const pendingName = "setup-pending"

// obtain has the forge save the application and keeps what it answers, before anything
// else. Room for it is there before. An interrupt does not cut it off.
func (s *setup) obtain(ctx context.Context, c *choice) error {
	room, err := s.files.reserve()
	if err != nil {
		return fmt.Errorf("cannot store what the forge would answer; it was not asked: %w", err)
	}
	defer room.Close()
	if _, err := s.closed(ctx, pendingName, ""); err != nil { // else nothing could be encrypted afterwards
		err = fmt.Errorf("cannot encrypt what the forge would answer; it was not asked: %w", err)
		return errors.Join(err, s.files.remove(pendingFile))
	}
	if c.save != nil {
		client, err := s.client(credentials{})
		if err == nil {
			var saved forgejo.Application
			err = s.during("Having the forge save the application", func() (err error) {
				saved, err = client.SaveApplication(context.WithoutCancel(ctx), c.token, *c.save)
				return err
			})
			c.ClientID, c.Secret = saved.ClientID, saved.ClientSecret
		}
		if err == nil {
			err = wellFormed(c.ClientID, c.Secret)
		}
		if err != nil {
			return errors.Join(err, s.files.remove(pendingFile))
		}
	}
	plain, err := json.Marshal(c.credentials)
	if err != nil {
		return err
	}
	text, err := s.closed(context.WithoutCancel(ctx), pendingName, string(plain))
	if err == nil {
		err = s.files.fill(room, text+strings.Repeat(" ", max(0, reserved-len(text))))
	}
	if err != nil {
		return fmt.Errorf("cannot store the application's secret: %w; once that is mended, the same command gets a new one", err)
	}
	return nil
}

// pending returns what an earlier run had stored and not yet put in its place, if any.
func (s *setup) pending(ctx context.Context) (c credentials, found bool, err error) {
	text, err := s.files.read(pendingFile)
	if text = strings.TrimSpace(text); err != nil || text == "" {
		return c, false, err
	}
	if !strings.HasPrefix(text, "{") {
		if text, err = s.Exec(ctx, text, "systemd-creds", "decrypt", "--name="+pendingName, "-", "-"); err != nil {
			return c, false, err
		}
	}
	if json.Unmarshal([]byte(text), &c) != nil || c.ClientID == "" || c.Secret == "" {
		return credentials{}, false, nil // cut off before the forge's answer was there
	}
	return c, true, nil
}

// settle puts c in its place, the pending file last of all.
func (s *setup) settle(ctx context.Context, c credentials) error {
	if err := s.writeSettings(c); err != nil {
		return err
	}
	if secret, err := s.secret(ctx); err != nil || secret != c.Secret {
		text, err := s.closed(ctx, config.ClientSecretName, c.Secret+"\n")
		if err == nil {
			err = s.files.replace(s.secretAt(), text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("cannot write %s: %w; run setup again, which finishes it", s.secretAt(), err)
		}
		s.say("written: %s", s.secretAt())
	}
	return s.files.remove(pendingFile)
}

// writeSettings sets the three settings that are required, where they differ.
func (s *setup) writeSettings(c credentials) error {
	text, err := s.files.read(settingsFile)
	if err != nil {
		return err
	}
	next := withSettings(text, c)
	if next == text {
		return nil
	}
	if err := s.files.replace(settingsFile, next, 0o644); err != nil {
		return fmt.Errorf("cannot write %s: %w; run setup again, which finishes it", settingsFile, err)
	}
	s.say("written: %s", settingsFile)
	return nil
}

func withSettings(text string, c credentials) string {
	for name, url := range map[string]string{publicName: c.PublicURL, forgeName: c.ForgeURL} {
		if normal(setting(text, name)) != url { // else it may be written otherwise
			text = withSetting(text, name, url)
		}
	}
	return withSetting(text, clientName, c.ClientID)
}
