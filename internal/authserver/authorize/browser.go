package authorize

import (
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// The browser cookie binds the forms and the login to one browser. It holds a
// random value and says nothing about a user.

func (h *Handler) browser() pages.Cookie {
	return pages.Cookie{Name: "fjmcp-browser", Secure: h.secure()}
}

// browserOf returns the browser's value, "" if it has none.
func (h *Handler) browserOf(r *http.Request) string { return h.browser().Value(r) }

// ensureBrowser returns the browser's value and gives it one if it has none.
func (h *Handler) ensureBrowser(w http.ResponseWriter, r *http.Request) string {
	if value := h.browserOf(r); value != "" {
		return value
	}
	value := model.NewToken("")
	h.browser().Set(w, value)
	return value
}
