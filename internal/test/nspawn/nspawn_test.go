package nspawn

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain also serves as the program of TestKilledRun: a process that boots a
// container and is killed.
func TestMain(m *testing.M) {
	if root := os.Getenv("NSPAWN_TEST_BOOT"); root != "" {
		c, err := Boot(context.Background(), root)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(c.name)
		select {}
	}
	os.Exit(m.Run())
}

func testRoot(t *testing.T) string {
	t.Helper()
	if err := Check(); err != nil {
		t.Skip(err)
	}
	root, err := Root(t.Context(), "bookworm")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestContainer(t *testing.T) {
	ctx := t.Context()
	c, err := Boot(ctx, testRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	t.Run("files", func(t *testing.T) {
		if err := c.WriteFile("/srv/a/b", []byte("hello"), 0o640); err != nil {
			t.Fatal(err)
		}
		out, err := c.Run(ctx, "/bin/sh", "-c", "cat /srv/a/b; stat -c ' %a %U' /srv/a/b")
		if err != nil || out != "hello 640 root\n" {
			t.Errorf("got %q, %v", out, err)
		}
		if err := c.WriteFile("/var/run/fjmcp-escape", nil, 0o600); err == nil {
			t.Error("followed a link out of the container")
		}
	})
	t.Run("status and streams", func(t *testing.T) {
		r, err := c.Exec(ctx, Cmd{
			Argv:  []string{"/bin/sh", "-c", "cat; id -u; echo $A >&2; exit 7"},
			Stdin: strings.NewReader("in\n"), User: "nobody", Env: []string{"A=b c"},
		})
		if err != nil || r != (Result{Stdout: "in\n65534\n", Stderr: "b c\n", Code: 7}) {
			t.Errorf("got %+v, %v", r, err)
		}
		if _, err := c.Run(ctx, "/bin/false"); err == nil {
			t.Error("a failed command is no error")
		}
	})
	t.Run("network", func(t *testing.T) {
		l, err := c.Listen(ctx, "tcp", "fjmcp.localhost:8000")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.Host)
		})}
		defer srv.Close()
		go srv.Serve(l)
		if out, err := c.Run(ctx, "curl", "-sS", "http://127.0.0.1:8000/"); err != nil || out != "127.0.0.1:8000" {
			t.Errorf("inside got %q, %v", out, err)
		}
		client := http.Client{Transport: &http.Transport{DialContext: c.DialContext}}
		resp, err := client.Get("http://fjmcp.localhost:8000/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if _, err := http.Get("http://127.0.0.1:8000/"); err == nil {
			t.Error("the port is reachable from the host")
		}
	})
	t.Run("journal", func(t *testing.T) {
		if _, err := c.Run(ctx, "/bin/sh", "-c", "echo one two | systemd-cat -t nspawn-test"); err != nil {
			t.Fatal(err)
		}
		found, err := c.Journal(ctx, "SYSLOG_IDENTIFIER=nspawn-test")
		if err != nil || len(found) != 1 || found[0]["MESSAGE"] != "one two" {
			t.Errorf("got %v, %v", found, err)
		}
	})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	assertGone(t, c.name)
}

func assertGone(t *testing.T, name string) {
	t.Helper()
	roots, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, name)); !os.IsNotExist(err) {
			t.Errorf("%s/%s is left", root, name)
		}
	}
}

// A run that is killed takes its container down; one whose systemd-nspawn is
// killed as well leaves it to the next run's Sweep.
func TestKilledRun(t *testing.T) {
	root := testRoot(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NSPAWN_TEST_BOOT="+root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var name string
	if _, err := fmt.Fscanln(out, &name); err != nil || !strings.HasPrefix(name, cgroupPrefix) {
		cmd.Process.Kill()
		t.Fatalf("got %q, %v", name, err)
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	roots, _ := hierarchies()
	dir := filepath.Join(roots[0], name)
	pids := procs(dir)
	if len(pids) < 3 {
		t.Fatalf("Sweep touched the container of a live run: %d processes", len(pids))
	}
	cmd.Process.Kill()
	killSupervisor(dir)
	cmd.Wait()
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	assertGone(t, name)
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil && !zombie(pid) {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func killSupervisor(dir string) {
	for _, pid := range procs(filepath.Join(dir, "supervisor")) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func zombie(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || strings.Contains(string(status), "State:\tZ")
}

func TestParseJournal(t *testing.T) {
	got, err := parseJournal(`{"MESSAGE":[104,105],"A":["x","y"],"B":null,"C":"z"}` + "\n")
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	for name, want := range map[string]string{"MESSAGE": "hi", "A": "x\ny", "B": "", "C": "z"} {
		if got[0][name] != want {
			t.Errorf("%s = %q, want %q", name, got[0][name], want)
		}
	}
	if _, err := parseJournal("no json\n"); err == nil {
		t.Error("took garbage")
	}
}
