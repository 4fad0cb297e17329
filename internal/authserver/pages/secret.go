package pages

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
)

// Cookie is a cookie with a random value that only this server reads: no script,
// and no request that another site makes but a link to here.
type Cookie struct {
	Name   string
	Secure bool // browsers reach the server over https
}

// name has the __Host- prefix where browsers accept it: then no other host, and
// no page served over http, can set the cookie.
func (c Cookie) name() string {
	if c.Secure {
		return "__Host-" + c.Name
	}
	return c.Name
}

// cookieLength is 256 bits in base64url.
const cookieLength = 43

// Value returns what With has given the browser, "" if the request has nothing of
// that form.
func (c Cookie) Value(r *http.Request) string {
	v, err := r.Cookie(c.name())
	if err != nil || len(v.Value) != cookieLength {
		return ""
	}
	return v.Value
}

// With gives the browser a value, 256 random bits in base64url, until it is closed.
func (c Cookie) With(value string) *http.Cookie {
	return &http.Cookie{
		Name: c.name(), Value: value, Path: "/", Secure: c.Secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // the way back from Forgejo is another site's
	}
}

// Without takes the value away.
func (c Cookie) Without() *http.Cookie {
	gone := c.With("")
	gone.MaxAge = -1
	return gone
}

// FormToken ties a form to the holder of a cookie's value, to what the form is
// for and to every parameter in it: whoever does not know the cookie cannot make
// one.
func FormToken(secret, purpose string, params url.Values) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("fjmcp " + purpose + "\n" + params.Encode()))
	return hex.EncodeToString(mac.Sum(nil))
}

// ValidFormToken reports whether FormToken gave token. Without a secret none is
// valid.
func ValidFormToken(token, secret, purpose string, params url.Values) bool {
	return secret != "" && hmac.Equal([]byte(token), []byte(FormToken(secret, purpose, params)))
}
