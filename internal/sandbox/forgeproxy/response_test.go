package forgeproxy

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// Tokens as Forgejo gives them out, and one of characters that each encoding escapes.
var (
	jwt  = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJnbnQiOjEsInR0IjowLCJleHAiOjE3NjQ1MjgwMDAsImlhdCI6MTc2NDUyNDQwMH0." + strings.Repeat("q-Z_9kTbX0", 34)
	pat  = "0123456789abcdef0123456789abcdef01234567"
	rare = `<a>&"b'/c+d=e\f%g~<h>/i+j=k&l"m`
)

// written are the ways in which a server may write a token.
func written(token string) map[string]string {
	quoted, _ := json.Marshal(token)
	each := func(format string) string {
		var b strings.Builder
		for _, c := range []byte(token) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	all := map[string]string{
		"clear": token, "upper case": strings.ToUpper(token), "json": string(quoted), "json slash": strings.ReplaceAll(token, "/", `\/`), "html": html.EscapeString(token),
		"query": url.QueryEscape(token), "path": url.PathEscape(token), "hex": hex.EncodeToString([]byte(token)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(token))),
		"%xx": each("%%%02x"), "%XX": each("%%%02X"), `\u`: each(`\u%04x`), `\U`: each(`\u%04X`), "&#": each("&#%d;"), "&#x": each("&#x%x;"), `\x`: each(`\x%02x`),
	}
	for name, e := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding, "raw": base64.RawURLEncoding} {
		for before, with := range []string{"", "x", "xy"} {
			all[fmt.Sprintf("base64 %s %d", name, before)] = e.EncodeToString([]byte(with + token + "tail"))
		}
		all["basic "+name] = e.EncodeToString([]byte("alice:" + token))
		quoted, _ := json.Marshal(e.EncodeToString([]byte("alice:" + token)))
		all["basic json "+name] = strings.ReplaceAll(string(quoted), "/", `\/`)
	}
	return all
}

// ways are how a body is read to its end: by little, and by as much as ReverseProxy does.
var ways = map[string]func(*guarded) ([]byte, error){
	"by some": func(g *guarded) ([]byte, error) {
		defer g.Close()
		return io.ReadAll(g)
	},
	"by chunks": func(g *guarded) ([]byte, error) {
		defer g.Close()
		buf := g.buffers.Get()
		defer g.buffers.Put(buf)
		var all bytes.Buffer
		_, err := io.CopyBuffer(struct{ io.Writer }{&all}, g, buf)
		return all.Bytes(), err
	},
}

func TestMarks(t *testing.T) {
	const filler = "some 40 bytes of text stand before this, "
	pool := new(buffers)
	for name, token := range map[string]string{"jwt": jwt, "pat": pat, "rare": rare} {
		m := newMarks("another-token-that-is-long-enough", token)
		for form, text := range written(token) {
			for _, before := range []int{0, 1, 7, 30} {
				whole := filler[:before] + text + filler
				if !m.in([]byte(whole)) {
					t.Errorf("%s, %s after %d bytes is not found: %s", name, form, before, whole)
				}
				// Cut anywhere, what has passed before the cut and the rest hold no mark.
				for cut := range len(whole) {
					for way, read := range ways {
						out, err := read(&guarded{src: io.NopCloser(io.MultiReader(strings.NewReader(whole[:cut]), strings.NewReader(whole[cut:]))), marks: m, buffers: pool, leaked: func() {}})
						if err != errLeaked || m.in(out) {
							t.Fatalf("%s, %s cut at %d, %s: %v, %q", name, form, cut, way, err, out)
						}
					}
				}
			}
		}
	}
	if newMarks("", "short") != nil {
		t.Error("short tokens stand in answers by chance")
	}
}

// Whatever has no token in it comes out as it was, in pieces of any size.
func TestGuardedIsWhole(t *testing.T) {
	m, pool := newMarks(jwt, pat), new(buffers)
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var text strings.Builder
		for text.Len() < 3*chunk {
			n := r.IntN(markLength)
			fmt.Fprintf(&text, "%s%s%s%d", pat[:n], jwt[:r.IntN(len(jwt)-330)], base64.StdEncoding.EncodeToString([]byte(pat[:n])), r.Uint64())
		}
		for way, read := range ways {
			src := iotest.HalfReader(iotest.DataErrReader(strings.NewReader(text.String())))
			out, err := read(&guarded{src: io.NopCloser(src), marks: m, buffers: pool, leaked: func() {}})
			if err != nil || string(out) != text.String() {
				t.Fatalf("%s: %d of %d bytes, %v", way, len(out), text.Len(), err)
			}
		}
	}
}

// Nothing waits for more but what may begin a token.
func TestGuardedDoesNotWait(t *testing.T) {
	m := newMarks(pat)
	r, w := io.Pipe()
	g := &guarded{src: r, marks: m, buffers: new(buffers), leaked: func() {}}
	buf := make([]byte, 100)
	for written, want := range map[string]string{"data: x\n\n": "data: x\n\n", "ends with " + pat[:5]: "ends with "} {
		go io.WriteString(w, written)
		if n, err := g.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q: got %q, %v", written, buf[:n], err)
		}
		if want != written {
			go io.WriteString(w, "!")
			if n, _ := g.Read(buf); string(buf[:n]) != written[len(want):]+"!" {
				t.Errorf("then got %q", buf[:n])
			}
		}
	}
}

// leaky is a forge that writes the Authorization it gets where the request's query says.
func leaky(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "token ")
	switch r.URL.Query().Get("in") {
	case "header":
		w.Header().Set("X-Echo", "Bearer "+token)
	case "name":
		w.Header().Set("X-"+token, "x")
	case "early":
		w.Header().Set("Link", token)
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
	case "trailer":
		w.Header().Set("Trailer", "X-Echo")
		defer w.Header().Set("X-Echo", token)
		io.WriteString(w, "{}")
	case "late trailer":
		defer w.Header().Set(http.TrailerPrefix+"X-Echo", token)
		io.WriteString(w, "{}")
	case "body":
		fmt.Fprintf(w, `{"header":{"Authorization":"Bearer %s"}}`, token)
	case "error":
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, html.EscapeString(token))
	case "chunks":
		for _, c := range strings.Split("before"+token+"after", "") {
			io.WriteString(w, c)
			w.(http.Flusher).Flush()
		}
	case "far":
		w.Write(bytes.Repeat([]byte("x"), 5*chunk-20))
		io.WriteString(w, token)
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "compressed "+token)
	case "cookie":
		w.Header().Set("Set-Cookie", "session=x")
		w.Header().Set("X-Total-Count", "7")
		io.WriteString(w, "{}")
	default:
		io.WriteString(w, "{}")
	}
}

func TestLeaksAreCut(t *testing.T) {
	var mu sync.Mutex
	var reported []control.Reason
	var token string
	for _, token = range []string{jwt, pat} {
		p := newProxy(t, "", token, leaky, func(r Refusal) {
			mu.Lock()
			defer mu.Unlock()
			reported = append(reported, r.Reason)
		})
		at, _ := url.Parse(p.URL())
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at), DisableKeepAlives: true}}
		for where, leak := range map[string]bool{"header": true, "name": true, "early": false, "trailer": false, "late trailer": false, "body": true, "error": true, "chunks": true, "far": true, "gzip": false, "cookie": false, "": false} {
			reported = nil
			resp, err := client.Get("http://" + p.origin.url.Host + "/git/api/v1/user?in=" + url.QueryEscape(where))
			var got bytes.Buffer
			status := 0
			if err == nil {
				status = resp.StatusCode
				_, err = io.Copy(&got, resp.Body)
				resp.Header.Write(&got)
				resp.Trailer.Write(&got)
				resp.Body.Close()
			}
			if newMarks(token).in(got.Bytes()) {
				t.Errorf("%s: the backend got the token", where)
			}
			mu.Lock()
			if leak != (len(reported) == 1 && reported[0] == control.ReasonTokenLeaked) {
				t.Errorf("%s: reported %q", where, reported)
			}
			mu.Unlock()
			if leak && err == nil && (status != http.StatusBadGateway || !strings.Contains(got.String(), "held the access token")) {
				t.Errorf("%s: got %d %s", where, status, got.String())
			}
			if where == "gzip" && status != http.StatusBadGateway || !leak && where != "gzip" && (err != nil || status != http.StatusOK) {
				t.Errorf("%s: got %d, %v", where, status, err)
			}
			if where == "cookie" && (resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("X-Total-Count") != "7") {
				t.Errorf("got the header %q", resp.Header)
			}
		}
	}
}

func TestThePreviousTokenIsCut(t *testing.T) {
	var reports sync.Map
	p := newProxy(t, "", pat, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, pat) }, func(r Refusal) { reports.Store(r.Reason, true) })
	if err := p.SetToken(jwt); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "http://"+p.origin.url.Host+"/git/api/v1/user", nil)
	r.Header.Set("Proxy-Authorization", p.authorization())
	p.proxyRequest(w, r)
	if _, told := reports.Load(control.ReasonTokenLeaked); !told || strings.Contains(w.Body.String(), pat) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// BenchmarkCall is a call through the proxy, with and without the search for a token that
// an answer must not hold. A token too short to be a secret is not searched for. The broker
// is told of the repository.
func BenchmarkCall(b *testing.B) {
	ctl, far, err := control.Pair()
	if err != nil {
		b.Fatal(err)
	}
	broker, err := control.FromFile(far)
	if err != nil {
		b.Fatal(err)
	}
	far.Close()
	b.Cleanup(func() { ctl.Close(); broker.Close() })
	go func() {
		for broker.Await(b.Context()) == nil {
			if _, _, ok, _ := broker.Waiting(); !ok {
				return
			}
		}
	}()
	for _, size := range []int{300, 10 << 10, 1 << 20} {
		text := []byte(strings.Repeat(`{"id":17,"title":"some issue","body":"with words"},`, size/50))
		for name, token := range map[string]string{"with": jwt, "without": "short"} {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				p := newProxy(b, "", token, func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }, nil)
				p.rules.touched = func(repo string) { ctl.Offer(control.Message{Type: control.TypeTouched, Repo: repo}) }
				at, _ := url.Parse(p.URL())
				client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
				for b.Loop() {
					resp, err := client.Get("http://" + p.origin.url.Host + "/git/api/v1/repos/a/b/issues?state=all")
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
	}
}

// A part is what net/http would make of it, and the forge does not know.
func TestParts(t *testing.T) {
	text := strings.Repeat("0123456789", 10_000)
	serve := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.log", time.Time{}, strings.NewReader(text))
	}
	p := newProxy(t, "", jwt, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			t.Error("the forge saw a Range")
		}
		serve(w, r)
	}, nil)
	at, _ := url.Parse(p.URL())
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
	show := func(resp *http.Response) string {
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			body = nil
		}
		return fmt.Sprint(resp.StatusCode, resp.Header.Get("Content-Range"), string(body), err)
	}
	get := func(path, ranged string) string {
		r, _ := http.NewRequest("GET", "http://"+p.origin.url.Host+"/git/api/v1"+path, nil)
		r.Header.Set("Range", ranged)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return show(resp)
	}
	for _, ranged := range []string{"bytes=0-0", "bytes=5-9", "bytes=40000-", "bytes=-7", "bytes=-200000", "bytes=99999-200000", "bytes=100000-100001", "bytes=0-99999"} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("Range", ranged)
		serve(w, r)
		if got, want := get("/repos/a/b/actions/jobs/1/logs", ranged), show(w.Result()); got != want {
			t.Errorf("%s: got %.80q, want %.80q", ranged, got, want)
		}
	}
	whole := get("/user", "lines=1-2")
	for _, faulty := range []string{"bytes=", "bytes=x-", "bytes=9-5", "bytes=--5", "bytes=0-1,5-6", "items=0-1"} {
		if got := get("/user", faulty); got != whole {
			t.Errorf("%s: got %.80q", faulty, got)
		}
	}
	// By two parts that meet within it no token comes through.
	p.tokens.swap(pat)
	text = "log " + pat + " end"
	got := get("/user", "bytes=0-20") + get("/user", "bytes=21-50")
	if strings.Contains(got, pat[:10]) || strings.Contains(got, pat[30:]) {
		t.Errorf("got %q", got)
	}
}

func BenchmarkGuarded(b *testing.B) {
	m, pool := newMarks(jwt, pat), new(buffers)
	text := []byte(strings.Repeat(`{"id":17,"title":"some issue","body":"with words"},`, (10<<10)/50))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		g := &guarded{src: io.NopCloser(bytes.NewReader(text)), marks: m, buffers: pool}
		io.Copy(io.Discard, g)
		g.Close()
	}
}

func BenchmarkNewMarks(b *testing.B) {
	for b.Loop() {
		newMarks(jwt, pat)
	}
}
