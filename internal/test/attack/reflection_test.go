package attack

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// reflections are ways in which a forge may give a request's token back.
var reflections = map[string]func(w http.ResponseWriter, r *http.Request, token string){
	"clear": func(w http.ResponseWriter, _ *http.Request, token string) { fmt.Fprintf(w, `{"a":"%s"}`, token) },
	"json": func(w http.ResponseWriter, _ *http.Request, token string) {
		fmt.Fprintf(w, `{"a":"%s"}`, escape(token, `\u%04x`))
	},
	"json-upper": func(w http.ResponseWriter, _ *http.Request, token string) {
		fmt.Fprintf(w, `{"a":"%s"}`, escape(token, `\u%04X`))
	},
	"html":        func(w http.ResponseWriter, _ *http.Request, token string) { fmt.Fprint(w, escape(token, "&#%d;")) },
	"html-hex":    func(w http.ResponseWriter, _ *http.Request, token string) { fmt.Fprint(w, escape(token, "&#x%x;")) },
	"percent":     func(w http.ResponseWriter, _ *http.Request, token string) { fmt.Fprint(w, escape(token, "%%%02X")) },
	"percent-low": func(w http.ResponseWriter, _ *http.Request, token string) { fmt.Fprint(w, escape(token, "%%%02x")) },
	"base64-0":    shifted(0), "base64-1": shifted(1), "base64-2": shifted(2),
	"base64-url": func(w http.ResponseWriter, _ *http.Request, token string) {
		fmt.Fprint(w, base64.RawURLEncoding.EncodeToString([]byte(token)))
	},
	"base64-basic": func(w http.ResponseWriter, _ *http.Request, token string) {
		fmt.Fprint(w, base64.StdEncoding.EncodeToString([]byte("alice:"+token)))
	},
	"header": func(w http.ResponseWriter, _ *http.Request, token string) { w.Header().Set("X-Token", token) },
	"cookie": func(w http.ResponseWriter, _ *http.Request, token string) { w.Header().Set("Set-Cookie", "a="+token) },
	"location": func(w http.ResponseWriter, r *http.Request, token string) {
		http.Redirect(w, r, "/x?token="+token, http.StatusFound)
	},
	"header-percent": func(w http.ResponseWriter, _ *http.Request, token string) {
		w.Header().Set("Link", "</x?a="+escape(token, "%%%02X")+">; rel=next")
	},
	"error": func(w http.ResponseWriter, _ *http.Request, token string) {
		http.Error(w, "bad token "+token, http.StatusInternalServerError)
	},
	"forbidden": func(w http.ResponseWriter, _ *http.Request, token string) {
		http.Error(w, "bad token "+token, http.StatusForbidden)
	},
	"chunks": func(w http.ResponseWriter, _ *http.Request, token string) {
		for _, b := range []byte(token) {
			w.Write([]byte{b})
			w.(http.Flusher).Flush()
		}
	},
	"late": func(w http.ResponseWriter, _ *http.Request, token string) {
		w.Write(bytes.Repeat([]byte("x"), 200<<10))
		fmt.Fprint(w, token)
	},
	"border": func(w http.ResponseWriter, _ *http.Request, token string) {
		w.Write(bytes.Repeat([]byte("x"), 32<<10-len(token)/2))
		fmt.Fprint(w, token, strings.Repeat("x", 40<<10))
	},
	"gzip": func(w http.ResponseWriter, _ *http.Request, token string) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, token)
		z.Close()
	},
	"trailer": func(w http.ResponseWriter, _ *http.Request, token string) {
		w.Header().Set("Trailer", "X-Token")
		fmt.Fprint(w, "{}")
		w.Header().Set("X-Token", token)
	},
	"hints": func(w http.ResponseWriter, _ *http.Request, token string) {
		w.Header().Set("Link", "</"+token+">; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "{}")
	},
	"twice": func(w http.ResponseWriter, _ *http.Request, token string) {
		fmt.Fprint(w, token[:len(token)/2], token)
	},
	"attachment": func(w http.ResponseWriter, _ *http.Request, token string) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment; filename=x")
		fmt.Fprint(w, "\x00\x01", token, "\xff")
	},
}

func shifted(offset int) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, token string) {
		fmt.Fprint(w, base64.StdEncoding.EncodeToString([]byte("xyz"[:offset]+token+"xyz")))
	}
}

func escape(s, format string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// holds tells in which form one of the secrets stands in what came back.
func holds(raw []byte, secrets []string) string {
	text := unzipped(raw)
	for _, s := range secrets {
		if len(s) < 16 {
			continue
		}
		forms := append([]string{s}, append(base64Shifts(s), escape(s, `\u%04x`), escape(s, `\u%04X`), escape(s, "&#%d;"), escape(s, "&#x%x;"), escape(s, "%%%02X"), escape(s, "%%%02x"), hex.EncodeToString([]byte(s)), url.QueryEscape(s))...)
		for _, form := range slices.Clone(forms) {
			forms = append(forms, strings.NewReplacer("+", "-", "/", "_").Replace(form))
		}
		for _, form := range forms {
			if strings.Contains(text, form) {
				return form[:4] + "…"
			}
		}
	}
	return ""
}

// unzipped adds what a compressed answer holds, chunks joined.
func unzipped(raw []byte) string {
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	text := string(raw) + "\n" + dechunked(string(body))
	if at := bytes.Index(body, []byte("\x1f\x8b")); at >= 0 && bytes.Contains(bytes.ToLower(head), []byte("gzip")) {
		if z, err := gzip.NewReader(bytes.NewReader(body[at:])); err == nil {
			plain := make([]byte, 1<<16)
			n, _ := z.Read(plain)
			text += string(plain[:n])
		}
	}
	return text
}

// dechunked leaves out lines that are sizes of chunks, and joins the rest.
func dechunked(body string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(body, "\r\n") {
		if strings.Trim(part, "0123456789abcdef") != "" || len(part) == 1 && b.Len() == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

func childReflection() (all []attack) {
	all = append(all, attack{who: "C", name: "have the forge reflect the token it had before", right: "no token in the answer", out: func(w *world) result {
		_, arrived := w.sent(request("GET", repository+"a", ""))
		if len(arrived) == 0 {
			return result{false, "cannot try: nothing arrives"}
		}
		old := strings.TrimPrefix(arrived[0].Header.Get("Authorization"), "token ")
		w.s.Forge.ExpireAccessTokens()
		renewed := eventually(func() bool {
			_ = w.try(w.alice, toolWhoami, nil)
			_, arrived = w.sent(request("GET", repository+"a", ""))
			return len(arrived) > 0 && !strings.Contains(arrived[0].Header.Get("Authorization"), old)
		})
		if !renewed {
			return result{false, "cannot try: the token stays the same"}
		}
		w.forge.say(old)
		in := w.send(w.alice, request("GET", repository+"said", ""))
		form := holds(in.Raw, []string{old})
		return verdict(form == "" && in.Status != 0, "%d %s", in.Status, form)
	}})
	for _, kind := range sorted(reflections) {
		all = append(all, attack{who: "C", name: "have the forge reflect the token, " + kind, right: "no token in the answer", out: func(w *world) result {
			in, arrived := w.sent(request("GET", repository+kind, ""))
			if len(arrived) == 0 {
				return verdict(false, "cannot try: it is not asked, %d %s", in.Status, in.Err)
			}
			if form := holds(in.Raw, w.issued()); form != "" {
				return verdict(false, "the token as %s", form)
			}
			return verdict(true, "%d %s in %d bytes", in.Status, in.Err, len(in.Raw))
		}})
	}
	return append(all,
		attack{who: "C", name: "have a reflected token go unnoticed", right: "an event in the audit", out: func(w *world) result {
			w.sent(request("GET", repository+"clear", ""))
			found := w.run("journalctl -q --no-pager -o json _SYSTEMD_UNIT=fjmcp-broker.service -p err | grep -ci 'token' || true")
			return verdict(strings.TrimSpace(found) != "0", "%s such entries", strings.TrimSpace(found))
		}},
	)
}
