package attack

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
)

// arrival is a request as it came to the forge.
type arrival struct {
	Method, URI, Path, Host string
	Header                  http.Header
	Body                    string
}

// forge stands before the fake forge: it notes what arrives, and at some addresses
// answers as a forge would that a child has found a use for.
type forge struct {
	mu       sync.Mutex
	seen     []arrival
	words    string        // what it says at one address
	slow     int           // requests that wait
	released chan struct{} // ends their wait
}

// repository is one that the API's clients may ask for; what comes below it is up to
// the test.
const repository = "/api/v1/repos/attack/"

func (f *forge) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.note(r, string(body))
		what, ours := strings.CutPrefix(r.URL.Path, repository)
		kind, _, _ := strings.Cut(what, "/")
		switch {
		case r.Method == http.MethodTrace || strings.HasSuffix(r.URL.Path, "/info/lfs/objects/batch"):
			// As a real forge answers about large files: with the header to use for them.
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"objects":[{"actions":{"download":{"header":{"Authorization":"`+r.Header.Get("Authorization")+`"}}}}]}`)
		case ours && reflections[kind] != nil:
			reflections[kind](w, r, strings.TrimPrefix(r.Header.Get("Authorization"), "token "))
		case ours && kind == "slow":
			f.wait(r.Context().Done())
		case ours && kind == "stuck":
			f.wait(nil)
		case ours && kind == "unauthorized":
			w.WriteHeader(http.StatusUnauthorized)
		case ours && kind == "said":
			io.WriteString(w, f.said())
		case ours && kind == "elsewhere":
			http.Redirect(w, r, "http://elsewhere.localhost:3333/stolen", http.StatusFound)
		case ours:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"ok":true}`)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (f *forge) note(r *http.Request, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, arrival{r.Method, r.RequestURI, r.URL.Path, r.Host, r.Header.Clone(), body})
}

// mark is a point in time, for since.
func (f *forge) mark() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

// since returns what children have sent since mark. What the broker asks for itself is
// left out.
func (f *forge) since(mark int) (all []arrival) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.seen[mark:] {
		own := strings.HasPrefix(a.Path, "/login/oauth/") || strings.HasPrefix(a.Path, "/.well-known/") || a.Path == "/api/v1/version"
		if !own || strings.HasPrefix(a.Header.Get("Authorization"), "token ") {
			all = append(all, a)
		}
	}
	return all
}

// wait returns when gone is closed, or upon release.
func (f *forge) wait(gone <-chan struct{}) {
	f.mu.Lock()
	if f.released == nil {
		f.released = make(chan struct{})
	}
	released := f.released
	f.slow++
	f.mu.Unlock()
	select {
	case <-released:
	case <-gone:
	}
	f.mu.Lock()
	f.slow--
	f.mu.Unlock()
}

func (f *forge) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slow
}

// release ends the wait of slow requests.
func (f *forge) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.released != nil {
		close(f.released)
	}
	f.released = nil
}

// say has the forge say text at one of its addresses.
func (f *forge) say(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.words = text
}

func (f *forge) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.words
}
