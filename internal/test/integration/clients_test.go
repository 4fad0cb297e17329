package integration

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestRecordedClients replays what MCP clients send, in their order and with their
// headers. Each file of testdata/clients is one client, and says where it is from:
//
//	> POST /mcp        a request; further lines are its headers, and its body
//	& GET /mcp         the same, whose response stays open
//	< 200              its status
//	< Name: value      a header begins with value
//	< -Name            there is no such header
//	< ~text            the body holds text
//	<< message text    the next event of the response that is open, with text in it
//	<< end             that response ends
//	! refresh          the client gets another access token
//	! restart          the broker restarts
//	! cut              the response that is open is cut off
//
// $ROOT is the public URL, $TOKEN the access token, $SESSION the last
// Mcp-Session-Id, $ENDPOINT what an endpoint event told, $EVENT the last event id.
func TestRecordedClients(t *testing.T) {
	files, err := filepath.Glob("testdata/clients/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files, %v", err)
	}
	all := start(t, "standin")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			w := new(world)
			*w = *all
			w.t = t
			client, tokens := w.login("alice")
			r := &replay{world: w, client: client, refreshToken: tokens.field("refresh_token"), vars: map[string]string{
				"$ROOT": w.url, "$TOKEN": tokens.field("access_token"), "$SESSION": "", "$ENDPOINT": "", "$EVENT": "",
			}}
			script, err := os.ReadFile(file)
			w.must(err)
			for i, line := range strings.Split(string(script)+"\n", "\n") {
				r.line = i + 1
				r.take(line)
			}
		})
	}
}

// replay is a script on its way.
type replay struct {
	*world
	client, refreshToken string
	vars                 map[string]string
	line                 int

	request *http.Request // being read from the script
	stays   bool          // its response stays open
	body    string
	answer  *response
	open    *events
}

func (r *replay) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("line %d: "+format, append([]any{r.line}, args...)...)
}

func (r *replay) expand(text string) string {
	for name, value := range r.vars {
		text = strings.ReplaceAll(text, name, value)
	}
	return text
}

func (r *replay) take(line string) {
	r.t.Helper()
	kind, rest, _ := strings.Cut(line, " ")
	if rest = r.expand(rest); !strings.HasPrefix(kind, ">") {
		r.send()
	}
	switch kind {
	case "", "#":
	case ">", "&":
		if r.request == nil {
			r.begin(rest, kind == "&")
		} else if name, value, ok := strings.Cut(rest, ": "); ok && !strings.ContainsAny(name, `{["`) {
			r.request.Header.Set(name, value)
		} else {
			r.body = rest
		}
	case "<":
		r.check(rest)
	case "<<":
		r.event(rest)
	case "!":
		r.do(rest)
	default:
		r.fatalf("cannot read %q", line)
	}
}

func (r *replay) begin(line string, stays bool) {
	r.t.Helper()
	method, path, _ := strings.Cut(line, " ")
	req, err := http.NewRequest(method, r.broker.URL+path, nil)
	if err != nil {
		r.fatalf("%v", err)
	}
	req.Header.Set("User-Agent", "")
	r.request, r.stays, r.body = req, stays, ""
}

// send sends the request that has been read, if any.
func (r *replay) send() {
	r.t.Helper()
	if r.request == nil {
		return
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	req := r.request.WithContext(ctx)
	r.request = nil
	if r.body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(r.body)), int64(len(r.body))
	}
	resp, err := (&http.Client{Transport: r.transport}).Do(req)
	if err != nil {
		r.fatalf("%v", err)
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		r.vars["$SESSION"] = id
	}
	r.answer = &response{status: resp.StatusCode, header: resp.Header}
	if r.stays {
		r.open = &events{r.t, bufio.NewScanner(resp.Body), cancel}
		r.t.Cleanup(func() { cancel(); resp.Body.Close() })
		return
	}
	defer cancel()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.fatalf("%v", err)
	}
	r.answer.body = string(b)
}

// check holds the answer against an expectation.
func (r *replay) check(want string) {
	r.t.Helper()
	status, err := strconv.Atoi(want)
	name, value, isHeader := strings.Cut(want, ": ")
	ok := false
	switch {
	case r.answer == nil:
		r.fatalf("nothing was sent yet")
	case err == nil:
		ok = r.answer.status == status
	case strings.HasPrefix(want, "~"):
		ok = strings.Contains(r.answer.body, want[1:])
	case strings.HasPrefix(want, "-"):
		ok = r.answer.header.Get(want[1:]) == ""
	case isHeader:
		ok = slices.ContainsFunc(r.answer.header.Values(name), func(v string) bool { return strings.HasPrefix(v, value) })
	}
	if !ok {
		r.fatalf("want %s, got %d %v %.500s", want, r.answer.status, r.answer.header, r.answer.body)
	}
}

func (r *replay) event(want string) {
	r.t.Helper()
	if r.open == nil {
		r.fatalf("no response is open")
	}
	name, text, _ := strings.Cut(want, " ")
	got, ok := r.open.next()
	if name == "end" {
		for ok && got.data == "" { // an event id alone says nothing
			got, ok = r.open.next()
		}
		if ok {
			r.fatalf("the response goes on with %+v", got)
		}
		return
	}
	if !ok || got.name != name || name != "endpoint" && !strings.Contains(got.data, text) {
		r.fatalf("want %s, got %+v", want, got)
	}
	r.vars["$EVENT"] = got.id
	if name == "endpoint" {
		r.vars["$ENDPOINT"] = got.data
	}
}

func (r *replay) do(what string) {
	r.t.Helper()
	switch what {
	case "cut":
		r.open.cancel()
	case "restart":
		r.broker.Stop(syscall.SIGTERM)
		r.must(r.broker.Restart(r.t.Context(), r.program()))
	case "refresh":
		tokens, err := r.redeem(r.t.Context(), r.broker.URL, refreshForm(r.client, r.refreshToken))
		if err != nil || tokens.status != 200 {
			r.fatalf("refresh: %v %d %s", err, tokens.status, tokens.body)
		}
		r.vars["$TOKEN"], r.refreshToken = tokens.field("access_token"), tokens.field("refresh_token")
	default:
		r.fatalf("cannot do %q", what)
	}
}
