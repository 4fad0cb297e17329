package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/operator/checks/outside"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// client is the broker's own way to the forge, nil where the settings are wrong.
func (d *Doctor) client(f *Finding) *forgejo.Client {
	if d.cfg == nil {
		f.skip("the settings cannot be read, or are wrong")
		return nil
	}
	socket, plaintext := d.cfg.ForgeWay()
	c, err := forgejo.New(forgejo.Config{
		Socket: socket, Plaintext: plaintext, URL: d.cfg.ForgejoURL.String(), ClientID: d.cfg.ForgejoClientID, ClientSecret: d.cfg.ForgejoClientSecret,
		Scopes: d.cfg.ForgejoScopes, CAFile: d.cfg.ForgejoCAFile, RedirectURL: d.callback(),
	})
	if err != nil {
		f.fail(err.Error(), d.after())
	}
	return c
}

func (d *Doctor) callback() string { return d.cfg.PublicURL.String() + oauth.PathCallback }

// forge looks from here where no broker does.
func (d *Doctor) forge(ctx context.Context, f *Finding) {
	if c := d.client(f); c != nil {
		f.check(outside.Forge(c.Version, func(v string) { f.Detail = d.cfg.ForgejoURL.String() + " " + v }).Run(ctx))
	}
}

// application is as forge.
func (d *Doctor) application(ctx context.Context, f *Finding) {
	if c := d.client(f); c != nil {
		f.check(outside.Application(c.CheckClient).Run(ctx))
	}
}

// redirect looks whether the forge would send users back here.
func (d *Doctor) redirect(ctx context.Context, f *Finding) {
	c := d.client(f)
	if c == nil {
		return
	}
	f.Detail = d.callback()
	switch known, err := c.KnowsRedirect(ctx); {
	case err != nil && d.said(outside.NameApplication) == health.OK: // which was a while ago
		f.check(outside.Application(func(context.Context) error { return err }).Run(ctx))
	case err != nil:
		f.skip("the forge does not answer, or does not know the application")
	case !known:
		f.fail("the forge treats "+d.callback()+" as a redirect URI that the application does not have: no login can succeed",
			"enter it at the forge, among the redirect URIs of the application with the client ID "+d.cfg.ForgejoClientID)
	}
}

// users tells who has to log in again, and who has granted something else at the forge than
// is asked for. Some always have to: they revoke the application, or leave.
func (d *Doctor) users(_ context.Context, f *Finding) {
	if d.status == nil {
		f.skip("the broker does not run")
		return
	}
	s := d.status.Store
	f.Detail = fmt.Sprintf("%d known", s.Users)
	if s.UsersLost > 0 {
		f.Detail += fmt.Sprintf("; the forge has refused the token of %d, who log in again: they revoked the application, are suspended or gone, or it was restored from a backup", s.UsersLost)
	}
	if s.UsersLost >= 3 && 2*s.UsersLost > s.Users {
		f.warn(fmt.Sprintf("the forge has refused the tokens of %d of %d users, who have to log in again", s.UsersLost, s.Users),
			"nothing, if it was restored from a backup or the application made anew: they log in the next time they connect")
	}
	page := strings.TrimRight(d.status.Forgejo.URL, "/") + "/user/settings/applications"
	if s.UsersBroader > 0 {
		f.warn(fmt.Sprintf("%d users have granted more at the forge than FJMCP_BROKER_FORGEJO_SCOPES asks for now, and their clients get 401", s.UsersBroader),
			"have them revoke the application at "+page+" and log in again, or set the scopes of before")
	}
	if s.UsersNarrower > 0 {
		f.warn(fmt.Sprintf("%d users have granted less at the forge than FJMCP_BROKER_FORGEJO_SCOPES asks for now, and some tools are refused to them", s.UsersNarrower),
			"have them revoke the application at "+page+" and log in again")
	}
}

// mostSkew is how far clocks may be apart. Tokens live for minutes.
const mostSkew = time.Minute

// clock compares this machine's with the forge's.
func (d *Doctor) clock(ctx context.Context, f *Finding) {
	c := d.client(f)
	if c == nil {
		return
	}
	theirs, err := c.Date(ctx)
	if err != nil || theirs.IsZero() {
		f.skip("the forge does not tell the time")
		return
	}
	synchronized, cure := "this machine's is synchronized", "timedatectl status, on both machines; systemctl enable --now systemd-timesyncd.service, or another NTP client"
	if !d.systemd {
		synchronized, cure = "whether this machine's is synchronized cannot be seen", "have NTP set the clocks of both machines"
	} else {
		if out, err := d.Command(ctx, "timedatectl", "show", "--property=NTPSynchronized", "--value"); err != nil || out != "yes\n" {
			synchronized = "this machine's is not synchronized"
		}
	}
	apart, where := time.Until(theirs).Round(time.Second), "ahead of"
	if apart < 0 {
		where = "behind"
	}
	f.Detail = "as the forge's"
	if apart.Abs() <= mostSkew {
		return
	}
	f.warn(fmt.Sprintf("the forge's clock is %v %s this machine's; %s", apart.Abs(), where, synchronized), cure)
}
