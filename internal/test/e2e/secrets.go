package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
)

// secrets collects the tokens a forge issues.
type secrets struct {
	mu   sync.Mutex
	seen []string
}

func (s *secrets) add(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != "" && !slices.Contains(s.seen, token) {
		s.seen = append(s.seen, token)
	}
}

func (s *secrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// watch serves the forge and notes the tokens in what its token endpoint says.
func (s *secrets) watch(forge http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/login/oauth/access_token" {
			forge.ServeHTTP(w, r)
			return
		}
		t := &tee{ResponseWriter: w}
		forge.ServeHTTP(t, r)
		var answer struct {
			AccessToken  string `json:"access_token"`
			RefreshToken string `json:"refresh_token"`
		}
		if json.Unmarshal(t.body.Bytes(), &answer) == nil {
			s.add(answer.AccessToken)
			s.add(answer.RefreshToken)
		}
	})
}

// tee keeps a copy of a response's body.
type tee struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (t *tee) Write(p []byte) (int, error) {
	t.body.Write(p)
	return t.ResponseWriter.Write(p)
}
