package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func TestFind(t *testing.T) {
	all := []admin.Session{
		{ID: "aaaa111122223333", User: "alice", Client: "Claude"},
		{ID: "aaaa1111bbbbcccc", User: "bob", Client: "VS\nCode"},
		{ID: "beef", User: "carol"},
		{ID: "beefbeef", User: "carol"},
	}
	for _, tt := range []struct {
		id, want, fault string
	}{
		{id: "aaaa111122223333", want: "aaaa111122223333"},
		{id: "aaaa11112", want: "aaaa111122223333"},
		{id: "aaaa1111b", want: "aaaa1111bbbbcccc"},
		{id: "beef", want: "beef"}, // whole, although another begins so
		{id: "beefb", want: "beefbeef"},
		{id: "aaaa", fault: `"aaaa" is the beginning of several sessions: aaaa111122223333 (alice, Claude); aaaa1111bbbbcccc (bob, VS�Code)`},
		{id: "bee", fault: "at least 4 characters"}, // would be ambiguous as well
		{id: "", fault: "at least 4 characters"},
		{id: "AAAA11112", fault: "there is no session"},
		{id: "1111", fault: "there is no session"}, // within, not at the beginning
		{id: "aaaa1111222233334", fault: "there is no session"},
	} {
		got, err := sessions.find(all, tt.id)
		switch {
		case tt.fault == "" && (err != nil || got.ID != tt.want):
			t.Errorf("%q: got %q, %v; want %q", tt.id, got.ID, err, tt.want)
		case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
			t.Errorf("%q: got %q, %v; want %q", tt.id, got.ID, err, tt.fault)
		}
	}
}

// What a client registered stands in its ID; nobody wants to read or type it.
func TestShortClientIDs(t *testing.T) {
	short := strings.Repeat("a", 32)
	sealed, document := short+".giYcugcSPm8hXAcI", "https://app.example/client.json"
	var out bytes.Buffer
	printClients(&out, []admin.Client{{ID: sealed, Kind: "registered"}, {ID: document, Kind: "document"}})
	if list := out.String(); !strings.Contains(list, "\n"+short+" ") || !strings.Contains(list, "\n"+document+" ") {
		t.Error(list)
	}
	for _, client := range []string{short, sealed, document} {
		f := filter{client: client}
		if got := f.of([]admin.Session{{ClientID: sealed}, {ClientID: document}, {ClientID: "other"}}); len(got) != 1 {
			t.Errorf("%s: %+v", client, got)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0.0 kB", 999_949: "999.9 kB", 1_000_000: "1.0 MB", 2_500_000_000: "2.5 GB", 9_000_000_000_000_000: "9000.0 TB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}

// A table stays one, whatever a name takes on the screen: nothing, two columns, or too much.
func TestTableIsAligned(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out, "ID", "NAME", "END")
	for _, name := range []string{"plain", "名前", "e\u0301e\u0301", strings.Repeat("界", 30), strings.Repeat("x", 49), strings.Repeat("y", 48), "a\nb"} {
		table.row(strings.Repeat("i", len(name)), name, "end")
	}
	table.Flush()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines[1:] {
		before, found := strings.CutSuffix(line, "end")
		if want, _ := strings.CutSuffix(lines[0], "END"); !found || columns(before) != columns(want) {
			t.Errorf("%d columns, want %d: %q", columns(before), columns(want), line)
		}
	}
	if text := out.String(); len(lines) != 8 || !strings.Contains(text, " "+strings.Repeat("界", 23)+"…   end") ||
		!strings.Contains(text, " "+strings.Repeat("x", 47)+"…  end") || !strings.Contains(text, " "+strings.Repeat("y", 48)+"  end") {
		t.Error(text)
	}
}
