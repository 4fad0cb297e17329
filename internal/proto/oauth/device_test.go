package oauth

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// A code is the same however it is typed; nothing else is one.
func TestParseUserCode(t *testing.T) {
	for typed, want := range map[string]string{
		"WDJB-MJHT": "WDJBMJHT", "wdjb mjht": "WDJBMJHT", " w.d,j_b(m)j/h\\t \n": "WDJBMJHT", "WDJB\u2014MJHT": "WDJBMJHT", "WDJB\u00a0MJHT": "WDJBMJHT",
		"": "", "WDJB-MJH": "", "WDJB-MJHTT": "", "WDJA-MJHT": "", "WDJB-MJH7": "", "WDJB-MJHÄ": "", "ＷＤＪＢＭＪＨＴ": "", "WDJBMJH\u212a": "", "WDJB-MJH\xff": "",
		"WDJB-MJHT" + strings.Repeat(" ", 100): "",
	} {
		got, ok := ParseUserCode(typed)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v; want %q", typed, got, ok, want)
		}
	}
}

func FuzzUserCode(f *testing.F) {
	for _, typed := range []string{"WDJB-MJHT", "wdjbmjht", "", "\u017fdjb", "K\u0301"} {
		f.Add(typed, uint64(1))
	}
	f.Fuzz(func(t *testing.T, typed string, seed uint64) {
		code, ok := ParseUserCode(typed)
		if ok {
			again, ok := ParseUserCode(ShowUserCode(code))
			if !ok || again != code || strings.Trim(code, userCodeLetters) != "" || len(code) != UserCodeLength {
				t.Fatalf("%q is %q, shown as %q, which is %q", typed, code, ShowUserCode(code), again)
			}
		}
		// A code with anything between its letters that is no letter and no number.
		r := rand.New(rand.NewPCG(seed, 0))
		noise := strings.Map(func(c rune) rune {
			if unicode.IsLetter(c) || unicode.IsNumber(c) || c == unicode.ReplacementChar {
				return -1
			}
			return c
		}, typed)
		want, _ := ParseUserCode(NewUserCode())
		var b strings.Builder
		for i := range len(want) {
			c := want[i : i+1]
			if r.IntN(2) == 0 {
				c = strings.ToLower(c)
			}
			b.WriteString(c)
			if r.IntN(3) == 0 && b.Len()+len(noise)+UserCodeLength < 10*UserCodeLength {
				b.WriteString(noise)
			}
		}
		if got, ok := ParseUserCode(b.String()); !ok || got != want {
			t.Fatalf("%q is %q, %v; want %q", b.String(), got, ok, want)
		}
	})
}

// All letters come, about equally often: a code has the bits that it is said to have.
func TestNewUserCode(t *testing.T) {
	const codes = 5000
	seen := map[rune]int{}
	for range codes {
		code := NewUserCode()
		letters, ok := ParseUserCode(code)
		if !ok || len(code) != 9 || code[4] != '-' {
			t.Fatalf("%q", code)
		}
		for _, c := range letters {
			seen[c]++
		}
	}
	want := codes * UserCodeLength / len(userCodeLetters)
	for _, c := range userCodeLetters {
		if n := seen[c]; n < want*8/10 || n > want*12/10 {
			t.Errorf("%c came %d times of %d", c, n, want)
		}
	}
}

// What may be registered, and what comes of it.
func TestRegisteredGrantTypes(t *testing.T) {
	const uris = `"redirect_uris":["http://127.0.0.1/cb"]`
	code, both, alone := GrantTypes(false), GrantTypes(true), []string{GrantRefresh, GrantDevice}
	for _, tc := range []struct {
		body    string
		device  bool
		want    []string
		refused string
	}{
		{uris, true, code, ""},
		{uris + `,"grant_types":["authorization_code"]`, true, code, ""},
		{uris + `,"grant_types":["authorization_code","` + GrantDevice + `"]`, true, both, ""},
		{uris + `,"grant_types":["authorization_code","` + GrantDevice + `"]`, false, code, ""},
		{uris + `,"grant_types":["` + GrantDevice + `"],"response_types":["code"]`, true, alone, ""}, // as mcp-remote
		{`"grant_types":["` + GrantDevice + `"]`, true, alone, ""},
		{`"redirect_uris":[],"grant_types":["` + GrantDevice + `","implicit"]`, true, alone, ""},
		{uris + `,"grant_types":["` + GrantDevice + `"]`, false, nil, "grant_types must include authorization_code"},
		{uris + `,"grant_types":["implicit"]`, true, nil, "grant_types must include authorization_code or urn:"},
		{`"grant_types":["authorization_code","` + GrantDevice + `"]`, true, nil, "redirect_uris must list"},
		{`"redirect_uris":["http://evil.example/"],"grant_types":["` + GrantDevice + `"]`, true, nil, "cannot be registered"},
		{"", true, nil, "redirect_uris must list"},
	} {
		r, err := ParseRegistration([]byte("{"+tc.body+"}"), nil, tc.device)
		document := fmt.Sprintf(`{"client_id":"https://a.example/c","token_endpoint_auth_method":"none"%s}`, strings.TrimSuffix(","+tc.body, ","))
		c, err2 := ParseDocument("https://a.example/c", []byte(document), nil, tc.device)
		if tc.refused != "" {
			if err == nil || !strings.Contains(err.Description, tc.refused) {
				t.Errorf("%s: %v, want %q", tc.body, err, tc.refused)
			}
			if leavesOut := tc.refused == "cannot be registered"; (err2 == nil) != leavesOut {
				t.Errorf("the document %s: %+v, %v", document, c, err2)
			}
			continue
		}
		if err != nil || !slices.Equal(r.GrantTypes, tc.want) || (len(r.ResponseTypes) == 0) != !slices.Contains(tc.want, GrantCode) {
			t.Errorf("%s: %+v, %v", tc.body, r, err)
		}
		if err2 != nil || !reflect.DeepEqual(c.GrantTypes, r.Logins()) {
			t.Errorf("%s: %+v, %v", document, c, err2)
		}
		for _, grant := range []string{GrantCode, GrantDevice} {
			if MayUse(model.Client{GrantTypes: r.Logins()}, grant) != slices.Contains(tc.want, grant) {
				t.Errorf("%s: may use %s", tc.body, grant)
			}
		}
	}
}
