package clientid

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

func ring(t testing.TB, keys ...byte) *seal.Keyring {
	t.Helper()
	var list [][]byte
	for _, k := range keys {
		list = append(list, bytes.Repeat([]byte{k}, seal.KeySize))
	}
	r, err := seal.NewKeyring(list[0], list[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustSeal(t testing.TB, keys *seal.Keyring, c model.Client) string {
	t.Helper()
	id, err := Seal(keys, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// known is what well-known clients register, and the longest id that this may give.
var known = map[string]struct {
	client model.Client
	most   int
}{
	"claude.ai":   {model.Client{AuthMethod: "client_secret_post", Name: "Claude", RedirectURIs: []string{"https://claude.ai/api/mcp/auth_callback"}}, 60},
	"Claude Code": {model.Client{AuthMethod: "none", Name: "Claude Code (forgejo)", RedirectURIs: []string{"http://localhost:54545/callback"}}, 90},
	"Cursor": {model.Client{AuthMethod: "none", Name: "Cursor", RedirectURIs: []string{
		"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback",
	}}, 70},
	"VS Code": {model.Client{AuthMethod: "none", Name: "Visual Studio Code", RedirectURIs: []string{
		"https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/",
	}}, 80},
	"mcp-remote": {model.Client{AuthMethod: "none", Name: "MCP CLI Proxy", RedirectURIs: []string{"http://localhost:3335/oauth/callback"}}, 120},
	"mcp-remote with a code": {model.Client{
		AuthMethod: "none", Name: "MCP CLI Proxy", RedirectURIs: []string{"http://localhost:3335/oauth/callback"},
		GrantTypes: []string{"urn:ietf:params:oauth:grant-type:device_code"},
	}, 190},
	"a portal with a key": {model.Client{
		AuthMethod: "private_key_jwt", Name: "Portal", SigningAlg: "ES256", RedirectURIs: []string{"https://portal.example/cb"},
		JWKS: `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`,
	}, 220},
}

func TestIDsHoldRegistrations(t *testing.T) {
	keys := ring(t, 1)
	for name, k := range known {
		id := mustSeal(t, keys, k.client)
		if again := mustSeal(t, ring(t, 1, 2), k.client); again != id {
			t.Errorf("%s: registered again it is %s, not %s", name, again, id)
		}
		want := k.client
		want.ID, want.Kind = id, model.ClientRegistered
		if got, ok := Open(keys, id); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v %v", name, got, ok)
		}
		if len(id) > k.most || !regexp.MustCompile(`^[a-z2-7]{32}\.[A-Za-z0-9_-]+$`).MatchString(id) {
			t.Errorf("%s: %d characters: %s", name, len(id), id)
		}
	}
}

// What differs in anything is another client.
func TestOtherRegistrationsAreOtherClients(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []model.Client{
		{}, {Name: "a"}, {AuthMethod: "a"}, {JWKSURI: "a"}, {SigningAlg: "a"}, {JWKS: `"a"`}, {GrantTypes: []string{"a"}},
		{RedirectURIs: []string{"a"}}, {RedirectURIs: []string{"a", "b"}}, {RedirectURIs: []string{"b", "a"}}, {RedirectURIs: []string{"a,b"}},
	} {
		id := mustSeal(t, ring(t, 1), c)
		if seen[id] {
			t.Errorf("%+v has another's id", c)
		}
		seen[id] = true
	}
	for turn := range 3 {
		c := known["Cursor"].client
		id, err := Seal(ring(t, 1), c, turn)
		if got, ok := Open(ring(t, 1), id); err != nil || !ok || seen[id] || got.Name != c.Name {
			t.Errorf("turn %d: %s %+v, %v", turn, id, got, err)
		}
		seen[id] = true
	}
}

// This id was given out by the version that brought the format. Whatever changes, clients
// hold such ids.
func TestIDsStayGood(t *testing.T) {
	const id = "waxul3f5snnila2bxkfuwtdlkgwxflew.giYcugcSPm8hXAcIAAD__w"
	c, ok := Open(ring(t, 1), id)
	if want := known["VS Code"].client; !ok || c.Name != want.Name || !reflect.DeepEqual(c.RedirectURIs, want.RedirectURIs) {
		t.Errorf("%+v %v; today it is %s", c, ok, mustSeal(t, ring(t, 1), known["VS Code"].client))
	}
}

func TestForgedIDs(t *testing.T) {
	keys := ring(t, 1)
	id := mustSeal(t, keys, known["Cursor"].client)
	other := mustSeal(t, keys, known["VS Code"].client)
	tag, payload, _ := strings.Cut(id, ".")
	otherTag, otherPayload, _ := strings.Cut(other, ".")
	forged := map[string]string{
		"empty": "", "a dot": ".", "no payload": tag, "an empty payload": tag + ".", "no tag": "." + payload, "another's payload": tag + "." + otherPayload,
		"another's tag": otherTag + "." + payload, "in capitals": strings.ToUpper(tag) + "." + payload, "twice": id + "." + payload, "padded": id + "=",
		"a new line in the tag": tag[:9] + "\n" + tag[9:] + "." + payload, "one for a character": "\n" + tag[1:] + "." + payload, "a new line at the end": id + "\n",
		"a space": " " + id, "long": id + strings.Repeat("A", MaxLen), "an old id": model.NewID(), "another key's": mustSeal(t, ring(t, 2), known["Cursor"].client),
	}
	for i := range id {
		forged[fmt.Sprintf("cut at %d", i)] = id[:i]
		for bit := range 8 {
			forged[fmt.Sprintf("bit %d of %d", bit, i)] = id[:i] + string([]byte{id[i] ^ 1<<bit}) + id[i+1:]
		}
	}
	for what, id := range forged {
		if c, ok := Open(keys, id); ok {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

func TestChangedKeys(t *testing.T) {
	id := mustSeal(t, ring(t, 1), known["Cursor"].client)
	secret := NewSecret(ring(t, 1), id)
	for _, tc := range []struct {
		keys *seal.Keyring
		want bool
	}{{ring(t, 1), true}, {ring(t, 2, 1), true}, {ring(t, 3, 2, 1), true}, {ring(t, 2), false}} {
		if _, ok := Open(tc.keys, id); ok != tc.want || IsSecret(tc.keys, id, secret) != tc.want {
			t.Errorf("the id is known: %v; want %v, and the same of its secret", ok, tc.want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	keys := ring(t, 1)
	many := func(n int) (c model.Client) {
		for i := range n {
			c.RedirectURIs = append(c.RedirectURIs, fmt.Sprintf("https://chatgpt.com/connector/oauth/%s%d", model.NewID(), i))
		}
		return c
	}
	mustSeal(t, keys, many(20))
	var long strings.Builder
	for long.Len() < 4000 {
		long.WriteString(model.NewID())
	}
	for what, c := range map[string]model.Client{
		"many URIs": many(100), "a long URI": {RedirectURIs: []string{"https://a.example/" + long.String()}},
		"what shrinks well": {RedirectURIs: []string{"https://a.example/" + strings.Repeat("a", maxJSON)}},
	} {
		if id, err := Seal(keys, c, 0); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %d characters, %v", what, len(id), err)
		}
	}
	if _, err := Seal(keys, model.Client{JWKS: "{"}, 0); err == nil || errors.Is(err, ErrTooLarge) {
		t.Errorf("keys that are no JSON: %v", err)
	}
}

func TestSecrets(t *testing.T) {
	keys := ring(t, 1)
	id := mustSeal(t, keys, known["claude.ai"].client)
	one, two := NewSecret(keys, id), NewSecret(keys, id)
	if one == two || !IsSecret(keys, id, one) || !IsSecret(keys, id, two) {
		t.Fatalf("%s %s", one, two)
	}
	if !regexp.MustCompile(`^fjs_[A-Za-z0-9_-]{64}$`).MatchString(one) {
		t.Error(one)
	}
	wrong := []string{"", "fjs_", one[4:], one + "A", one + "\n", id, NewSecret(keys, id+"x"), NewSecret(ring(t, 2), id), one[:40] + two[40:], "fjs_" + strings.Repeat("A", 22)}
	for i := range one {
		wrong = append(wrong, one[:i], one[:i]+string([]byte{one[i] ^ 1})+one[i+1:])
	}
	for _, secret := range wrong {
		if IsSecret(keys, id, secret) {
			t.Errorf("%q is taken", secret)
		}
	}
}

// FuzzOpen looks for an id that Seal did not make.
func FuzzOpen(f *testing.F) {
	keys := ring(f, 1, 2)
	made := map[string]bool{}
	for _, k := range known {
		id := mustSeal(f, keys, k.client)
		made[id] = true
		f.Add(id, NewSecret(keys, id))
	}
	f.Add(strings.Repeat("a", tagLen)+".", "fjs_")
	f.Add(mustSeal(f, ring(f, 3), model.Client{Name: "another key's"}), "")
	f.Fuzz(func(t *testing.T, id, secret string) {
		if c, ok := Open(keys, id); ok && !made[id] {
			t.Errorf("%q opens: %+v", id, c)
		}
		if IsSecret(keys, id, secret) && !made[id] {
			t.Errorf("%q is a secret of %q", secret, id)
		}
	})
}

// FuzzRoundTrip has ids made of all that may be registered, and read in them.
func FuzzRoundTrip(f *testing.F) {
	keys := ring(f, 1)
	f.Add("name", "https://a.example/cb", "http://127.0.0.1/")
	f.Add("\x00\"\\<&\u2028", "com.example:/x", "")
	f.Fuzz(func(t *testing.T, name, one, two string) {
		name, one, two = strings.ToValidUTF8(name, ""), strings.ToValidUTF8(one, ""), strings.ToValidUTF8(two, "")
		id, err := Seal(keys, model.Client{Name: name, RedirectURIs: []string{one, two}}, 0)
		if errors.Is(err, ErrTooLarge) {
			return
		}
		c, ok := Open(keys, id)
		if err != nil || !ok || c.Name != name || !reflect.DeepEqual(c.RedirectURIs, []string{one, two}) {
			t.Errorf("%q %q %q: %+v %v", name, one, two, c, err)
		}
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	keys := ring(b, 1)
	var id string
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			id = mustSeal(b, keys, known["VS Code"].client)
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Open(keys, id)
		}
	})
}
