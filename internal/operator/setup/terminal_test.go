package setup

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	person = os.NewFile(uintptr(fd), "ptmx")
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { program.Close(); person.Close() })
	return person, program
}

// interview answers each question, and returns all that was on the screen.
func interview(t *testing.T, ctx context.Context, w *world, o Options, answers ...[2]string) (string, error) {
	t.Helper()
	person, program := openTerminal(t)
	o.Name = "MCP broker"
	s, _ := w.new(t, o)
	s.In, s.Out, s.terminal = program, program, newTerminal(program, program)
	done := make(chan error, 1)
	go func() { done <- s.run(ctx); program.Close() }()
	var screen bytes.Buffer
	seen, b := 0, make([]byte, 4096)
	for {
		n, err := person.Read(b)
		screen.Write(b[:n])
		for len(answers) > 0 && strings.Contains(screen.String()[seen:], answers[0][0]) {
			seen = screen.Len()
			echo := answers[0][0] != "not shown"
			for !echo && echoes(t, program) { // the prompt stands there first
				time.Sleep(time.Millisecond)
			}
			_, writeErr := person.WriteString(answers[0][1] + "\n")
			must(t, writeErr)
			answers = answers[1:]
		}
		if err != nil { // the program has closed its end
			return screen.String(), <-done
		}
	}
}

func echoes(t *testing.T, program *os.File) bool {
	t.Helper()
	tio, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	must(t, err)
	return tio.Lflag&unix.ECHO != 0
}

// A person is asked until an answer will do, and the token is not shown.
func TestInterview(t *testing.T) {
	w := newWorld(t)
	screen, err := interview(t, t.Context(), w, Options{},
		[2]string{"mcp.example.org: ", "http://mcp.example.org"}, [2]string{"loopback only", publicURL},
		[2]string{"URL of the forge", w.forge}, [2]string{"not shown", w.token}, [2]string{"Go on?", "y"})
	must(t, err)
	w.settled(t, 1)
	if strings.Contains(screen, w.token) {
		t.Errorf("the token is shown:\n%s", screen)
	}
}

// An application whose redirect URI was changed by hand keeps its secret, which nobody knows.
func TestInterviewByHand(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(t, w.options(t))
	must(t, err)
	id, secret := w.pair()
	screen, err := interview(t, t.Context(), w, Options{Manual: true}, [2]string{"mcp.example.org]: ", "https://new.example.org"}, [2]string{"URL of the forge", ""},
		[2]string{"Client ID [" + id + "]: ", ""}, [2]string{"not shown", ""}, [2]string{"Go on?", "yes"})
	must(t, err)
	w.settled(t, 1)
	if nowID, now := w.pair(); nowID != id || now != secret || setting(w.read(settingsFile), publicName) != "https://new.example.org" {
		t.Errorf("client ID %s, or another secret:\n%s", nowID, screen)
	}
}

func TestNoIsNo(t *testing.T) {
	w := newWorld(t)
	before := w.read(settingsFile)
	_, err := interview(t, t.Context(), w, Options{}, [2]string{"mcp.example.org: ", publicURL}, [2]string{"URL of the forge", w.forge},
		[2]string{"not shown", w.token}, [2]string{"Go on?", "n"})
	if err == nil || err.Error() != "nothing was changed" || w.read(settingsFile) != before || len(w.Apps()) != 1 {
		t.Errorf("got %v", err)
	}
}

// An interrupt while a secret is typed leaves a terminal that shows what is typed.
func TestInterruptedQuestion(t *testing.T) {
	person, program := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := newTerminal(program, program).askSecret(ctx, "Token")
		done <- err
	}()
	for echoes(t, program) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != context.Canceled || !echoes(t, program) {
		t.Errorf("got %v; shown: %t", err, echoes(t, program))
	}
	_, err := person.WriteString("\n") // lets the reader go
	must(t, err)
}

// systemd is asked for what has to change, and for nothing else.
func TestUnits(t *testing.T) {
	w := newWorld(t)
	enabled, began := "disabled", int64(0)
	var did []string
	run := func(o Options) {
		t.Helper()
		did = nil
		s, _ := w.new(t, o)
		s.Systemctl = func(_ context.Context, args ...string) (string, error) {
			switch args[0] {
			case "is-enabled":
				return enabled, nil
			case "is-active":
				return map[string]string{"enabled": "active"}[enabled], nil
			case "cat":
				return "", nil
			case "show":
				return fmt.Sprintf("ActiveState=%s\nActiveEnterTimestamp=@%d\n", map[bool]string{true: "active", false: "inactive"}[began > 0], began), nil
			}
			did = append(did, strings.Join(args, " "))
			return "", nil
		}
		must(t, s.run(t.Context()))
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(did, want) {
			t.Errorf("%s: did %q, want %q", what, did, want)
		}
	}
	run(w.options(t))
	expect("the first run", "enable --now fjmcp-broker.socket")
	enabled, began = "enabled", time.Now().Unix()+5
	run(Options{})
	expect("the second run")
	began = time.Now().Unix() - 100
	run(Options{DryRun: true})
	expect("a dry run")
	run(Options{})
	expect("a broker that began before its files were written", "restart fjmcp-broker.service")
	began = time.Now().Unix() + 100
	o := w.options(t)
	o.PublicURL = "https://new.example.org"
	run(o)
	expect("another public URL", "restart fjmcp-broker.service")
}

// The command for a host of its own makes of the shipped file one for that host.
func TestProxyCommand(t *testing.T) {
	public, err := url.Parse("https://mcp.new.example:8443")
	must(t, err)
	_, command, _ := strings.Cut(Proxy(public), "  sed ")
	command, _, found := strings.Cut(command, " >/etc/caddy/Caddyfile\n")
	if !found {
		t.Fatalf("no command in\n%s", Proxy(public))
	}
	command = strings.Replace(command, "/usr/share/doc/fjmcp-broker/examples/", "../../../packaging/caddy/", 1)
	out, err := exec.Command("sh", "-c", "sed "+command).Output()
	must(t, err)
	if !strings.Contains(string(out), "\nmcp.new.example:8443 {\n") || strings.Contains(string(out), "mcp.example.org {") {
		t.Errorf("got\n%s", out)
	}
}

// The lines for a path are those of the page, which its tests run.
func TestProxyLines(t *testing.T) {
	page, err := os.ReadFile("../../../docs/deploy-caddy.md")
	must(t, err)
	below, err := url.Parse("https://git.example.org/mcp-broker")
	must(t, err)
	lines := Proxy(below)
	from, to := strings.Index(lines, "\t@fjmcp"), strings.Index(lines, "What else")
	if from < 0 || !strings.Contains(string(page), lines[from:to]) {
		t.Errorf("not in the page:\n%s", lines)
	}
}
