package forgejo

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// token makes an unsigned JWT with the given claims.
func token(claims string) string {
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestSupersedes(t *testing.T) {
	for _, tt := range []struct {
		name          string
		next, current string
		want          bool
	}{
		{"higher counter", `{"gnt":1,"cnt":3,"iat":100}`, `{"gnt":1,"cnt":2,"iat":100}`, true},
		{"lower counter", `{"gnt":1,"cnt":2,"iat":100}`, `{"gnt":1,"cnt":3,"iat":100}`, false},
		{"counter before time", `{"gnt":1,"cnt":3,"iat":99}`, `{"gnt":1,"cnt":2,"iat":100}`, true},
		{"lower counter, earlier", `{"gnt":1,"cnt":2,"iat":99}`, `{"gnt":1,"cnt":3,"iat":100}`, false},
		{"of a forge that was restored", `{"gnt":1,"cnt":2,"iat":101}`, `{"gnt":1,"cnt":9,"iat":100}`, true},
		{"later, no counter", `{"gnt":1,"iat":101}`, `{"gnt":1,"iat":100}`, true},
		{"earlier, no counter", `{"gnt":1,"iat":99}`, `{"gnt":1,"iat":100}`, false},
		{"the same", `{"gnt":1,"cnt":2,"iat":100}`, `{"gnt":1,"cnt":2,"iat":100}`, true},
		{"new grant", `{"gnt":2,"cnt":1,"iat":101}`, `{"gnt":1,"cnt":9,"iat":100}`, true},
		{"late answer of an old grant", `{"gnt":1,"cnt":9,"iat":100}`, `{"gnt":2,"cnt":1,"iat":101}`, false},
		{"unreadable next", `{}`, `{"gnt":1,"cnt":9,"iat":100}`, true},
		{"unreadable current", `{"gnt":1,"cnt":9,"iat":100}`, `"text"`, true},
	} {
		next, current := model.ForgejoTokens{RefreshToken: token(tt.next)}, model.ForgejoTokens{RefreshToken: token(tt.current)}
		if got := Supersedes(next, current); got != tt.want {
			t.Errorf("%s: Supersedes = %v", tt.name, got)
		}
	}
}

func TestReadClaimsRefuses(t *testing.T) {
	for _, s := range []string{
		"", "..", "a.b.c", token(`{"gnt":"1","iat":1}`), token(`{"gnt":1}`), token(`[1]`), token(`{"gnt":-1,"iat":1}`),
		token(`{"gnt":1,"iat":1}`) + ".more", token(`{"gnt":1,"iat":1}`) + strings.Repeat("x", maxToken),
	} {
		if c, ok := ReadClaims(s); ok {
			t.Errorf("ReadClaims(%.40q) = %v", s, c)
		}
	}
}

// What is read must be what another reader of the payload finds.
func FuzzReadClaims(f *testing.F) {
	f.Add(token(`{"gnt":1,"tt":1,"cnt":2,"exp":200,"iat":100}`))
	f.Add(token(`{"gnt":1,"gnt":2,"iat":1e2}`))
	f.Add("a.b.c")
	f.Add("....")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ReadClaims(s)
		if !ok {
			if c != (Claims{}) {
				t.Fatalf("refused and yet read %v", c)
			}
			return
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(s, ".")[1])
		if err != nil || !json.Valid(payload) {
			t.Fatalf("accepted a payload that is not JSON: %q", payload)
		}
		if c.Grant <= 0 || c.IssuedAt <= 0 {
			t.Fatalf("accepted claims without gnt and iat: %v", c)
		}
		if again, ok := ReadClaims(token(string(payload))); !ok || again != c {
			t.Fatalf("the payload read again gives %v, %v, want %v", again, ok, c)
		}
	})
}
