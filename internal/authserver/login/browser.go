package login

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/oauth"
)

// The browser cookie binds the consent form and the login to one browser. It
// holds a random value and says nothing about a user.

// cookieName has the __Host- prefix where browsers accept it: then no other
// host, and no page served over http, can set it.
func (h *Handler) cookieName() string {
	if h.secure() {
		return "__Host-fjmcp-browser"
	}
	return "fjmcp-browser"
}

// browserOf returns the value of the request's cookie, "" if there is none of
// the form that ensureBrowser sets.
func (h *Handler) browserOf(r *http.Request) string {
	c, err := r.Cookie(h.cookieName())
	if err != nil || len(c.Value) != browserLength {
		return ""
	}
	return c.Value
}

const browserLength = 43 // 256 bits in base64url

// ensureBrowser returns the browser's value and gives it one if it has none.
func (h *Handler) ensureBrowser(w http.ResponseWriter, r *http.Request) string {
	if value := h.browserOf(r); value != "" {
		return value
	}
	value := oauth.NewToken("")
	http.SetCookie(w, &http.Cookie{
		Name: h.cookieName(), Value: value, Path: "/", Secure: h.secure(), HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // the callback comes from Forgejo's site
	})
	return value
}

// formToken ties a consent form to the browser and to every parameter in it:
// whoever does not know the cookie cannot make one.
func formToken(browser string, params url.Values) string {
	mac := hmac.New(sha256.New, []byte(browser))
	mac.Write([]byte("fjmcp consent\n" + params.Encode()))
	return hex.EncodeToString(mac.Sum(nil))
}

func validFormToken(token, browser string, params url.Values) bool {
	return browser != "" && hmac.Equal([]byte(token), []byte(formToken(browser, params)))
}
