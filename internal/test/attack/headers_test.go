package attack

import (
	"net/http"
	"slices"
	"strings"
)

// harmful are headers of a child's that change who acts, where it comes from, or what is
// asked for.
var harmful = []string{
	"Cookie: i_like_gitea=stolen", "Sudo: root", "X-Webauth-User: root", "X-Webauth-Email: root@example.org", "X-Real-Ip: 127.0.0.1", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: evil.example",
	"X-Forwarded-Proto: https", "Forwarded: for=127.0.0.1", "X-Original-Url: /admin", "X-Rewrite-Url: /admin", "X-Http-Method-Override: DELETE", "X-Http-Method: DELETE", "X-Method-Override: DELETE",
	"Via: 1.1 attack", "Proxy-Authorization: Basic cm9vdDpyb290", "X-Forgejo-Otp: 123456", "X-Gitea-Otp: 123456", "Private-Token: x", "X-Gitea-Internal-Auth: x", "Te: trailers",
	"Range: bytes=0-9", "If-Range: x", "Accept-Encoding: gzip;q=0.9, br", "Origin: http://evil.example", "X-Csrf-Token: x", "X-Remote-User: root", "Remote-User: root", "X-Client-Ip: 127.0.0.1", "True-Client-Ip: 127.0.0.1",
	"Expect: 100-continue", "X-Hub-Signature: x", "Content-Encoding: gzip", "Early-Data: 1", "Upgrade-Insecure-Requests: 1", "Front-End-Https: on", "Git-Protocol: version=2",
}

// riders are requests that say in a parameter who acts.
var riders = map[string]struct{ method, path, kind, body string }{
	"sudo in the query":                {"GET", repository + "a?sudo=root", "", ""},
	"sudo among others":                {"GET", repository + "a?page=1&sudo=root", "", ""},
	"sudo by a percent sign":           {"GET", repository + "a?%73udo=root", "", ""},
	"sudo behind a semicolon":          {"GET", repository + "a?page=1;sudo=root", "", ""},
	"token in the query":               {"GET", repository + "a?token=0123456789", "", ""},
	"access_token in the query":        {"GET", repository + "a?access_token=0123456789", "", ""},
	"access_token in a broken query":   {"GET", repository + "a?%zz&access_token=0123456789", "", ""},
	"sudo in a form":                   {"POST", repository + "a/issues", "application/x-www-form-urlencoded", "sudo=root&title=x"},
	"token in a form":                  {"POST", repository + "a/issues", "application/x-www-form-urlencoded", "token=0123456789&title=x"},
	"sudo in a form of odd case":       {"POST", repository + "a/issues", "Application/X-WWW-Form-Urlencoded; charset=utf-8", "sudo=root"},
	"sudo in a form with a parameter":  {"POST", repository + "a/issues", "application/x-www-form-urlencoded; x=application/json", "sudo=root"},
	"sudo in a multipart body":         {"POST", repository + "a/issues/1/assets", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"sudo\"\r\n\r\nroot\r\n--b--\r\n"},
	"token in a multipart body":        {"POST", repository + "a/issues/1/assets", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n0123456789\r\n--b--\r\n"},
	"sudo by an odd name in multipart": {"POST", repository + "a/issues/1/assets", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name*=utf-8''sudo\r\n\r\nroot\r\n--b--\r\n"},
	"a multipart body for an issue":    {"POST", repository + "a/issues", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nx\r\n--b--\r\n"},
	"a form without a type":            {"POST", repository + "a/issues", "", "sudo=root"},
	"two types":                        {"POST", repository + "a/issues", "application/json\r\nContent-Type: application/x-www-form-urlencoded", "sudo=root"},
	"a form with GET":                  {"GET", repository + "a", "application/x-www-form-urlencoded", "sudo=root"},
	"a form with DELETE":               {"DELETE", repository + "a/labels/1", "application/x-www-form-urlencoded", "sudo=root"},
}

func childHeaders() (all []attack) {
	for _, line := range harmful {
		name, value, _ := strings.Cut(line, ": ")
		all = append(all, attack{who: "C", name: "send the header " + line, right: "not at the forge", out: func(w *world) result {
			in, arrived := w.sent(request("GET", repository+"a", "", line))
			for _, a := range arrived {
				// What the proxy says on its own account is not the child's.
				if slices.Contains(a.Header[http.CanonicalHeaderKey(name)], value) {
					return verdict(false, "it arrived, %d", in.Status)
				}
			}
			return verdict(true, "%d without it", in.Status)
		}})
	}
	for _, name := range sorted(riders) {
		r := riders[name]
		all = append(all, attack{who: "C", name: "send " + name, right: "not at the forge", out: func(w *world) result {
			var headers []string
			if r.kind != "" {
				headers = []string{"Content-Type: " + r.kind}
			}
			in, arrived := w.sent(request(r.method, r.path, r.body, headers...))
			for _, a := range arrived {
				if text := a.URI + "\n" + a.Body; strings.Contains(text, "udo") || strings.Contains(text, "token") || strings.Contains(a.Header.Get("Content-Type"), "form") {
					return verdict(false, "%s %s %q", a.Method, a.URI, a.Body)
				}
			}
			return verdict(true, "%d, %d harmless", in.Status, len(arrived))
		}})
	}
	return all
}

// childReadOnly are attempts of a session that may only read, and of the broker's say.
func childReadOnly() (all []attack) {
	changes := map[string]string{
		"a plain change":              request("POST", repository+"a/issues", `{"title":"x"}`, "Content-Type: application/json"),
		"a change by PUT":             request("PUT", repository+"a/contents/f", `{}`, "Content-Type: application/json"),
		"a change by PATCH":           request("PATCH", repository+"a/issues/1", `{}`, "Content-Type: application/json"),
		"a change by DELETE":          request("DELETE", repository+"a/labels/1", ""),
		"a method that is none":       request("get", repository+"a/issues", "{}"),
		"a query method":              request("QUERY", repository+"a", "{}"),
		"a chunked change":            "POST " + forgeURL + repository + "a/issues HTTP/1.1\r\nHost: " + forgeHost + "\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"a change in origin form":     "POST " + repository + "a/issues HTTP/1.1\r\nHost: " + forgeHost + "\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
		"two requests in one packet":  "GET " + forgeURL + repository + "a HTTP/1.1\r\nHost: " + forgeHost + "\r\n\r\n" + request("POST", repository+"a/issues", "{}", "Content-Type: application/json"),
		"a change within a read":      request("GET", repository+"a", "POST "+repository+"a/issues HTTP/1.1\r\n\r\n"),
		"a change by a header's word": request("GET", repository+"a/issues", "", "X-HTTP-Method-Override: POST", "X-HTTP-Method: POST", "X-Method-Override: POST"),
		"a change by a parameter":     request("GET", repository+"a/issues?_method=POST", ""),
	}
	for _, name := range sorted(changes) {
		raw := changes[name]
		all = append(all, attack{who: "C", name: "send with a read-only session: " + name, right: "no change at the forge", out: func(w *world) result {
			mark := w.forge.mark()
			in := w.send(w.reader, raw)
			for _, a := range w.forge.since(mark) {
				changed := a.Method != "GET" && a.Method != "HEAD"
				for h := range a.Header {
					changed = changed || strings.Contains(h, "Method")
				}
				if changed || strings.Contains(a.Body, "POST") {
					return verdict(false, "%s %s %q", a.Method, a.URI, a.Body)
				}
			}
			return verdict(true, "%d", in.Status)
		}})
	}
	return all
}
